"""Letters at the sides of a panel."""

import numpy as np
from PIL import Image

from crossview.reporting.pictures.case import case_picture
from crossview.reporting.pictures.letters import LEAST, mark


def inked(panel: np.ndarray) -> dict[str, bool]:
    """Return the sides of a black panel that have ink."""
    height, width, _ = panel.shape
    parts = {
        "top": panel[:20, width // 2 - 10 : width // 2 + 10],
        "bottom": panel[-20:, width // 2 - 10 : width // 2 + 10],
        "left": panel[height // 2 - 10 : height // 2 + 10, :20],
        "right": panel[height // 2 - 10 : height // 2 + 10, -20:],
    }
    return {name: bool((part > 128).any()) for name, part in parts.items()}


def test_each_side_has_its_letter() -> None:
    panel = np.zeros((120, 90, 3), np.uint8)
    assert all(inked(mark(panel, ("A", "P"), ("R", "L"))).values())
    assert not panel.any()
    one, other = (mark(panel, ("A", "P"), sides) for sides in (("R", "L"), ("L", "R")))
    assert (one != other).any()
    np.testing.assert_array_equal(one[:20], other[:20])


def test_a_small_panel_is_not_hidden_by_letters() -> None:
    panel = np.zeros((LEAST - 1, 200, 3), np.uint8)
    np.testing.assert_array_equal(mark(panel, ("A", "P"), ("R", "L")), panel)


def test_only_a_scan_with_an_orientation_has_letters(tmp_path) -> None:
    image, label = np.zeros((1, 30, 30, 30), np.float32), np.zeros((30, 30, 30), np.uint8)
    inks = {}
    for name, affine in (("known", np.eye(4)), ("unknown", None)):
        case_picture(image, None, label, {}, tmp_path / f"{name}.png", affine=affine)
        with Image.open(tmp_path / f"{name}.png") as sheet:
            inks[name] = (np.asarray(sheet)[40:380] > 200).sum()
    assert inks["known"] > inks["unknown"] + 100
