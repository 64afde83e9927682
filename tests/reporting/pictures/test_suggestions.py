"""The picture of the scans to label next."""

import numpy as np
import pytest
from PIL import Image

from crossview.evaluation.doubt import Suggestion
from crossview.inference.predict import Prediction
from crossview.reporting.pictures.panels import Panel, Row, _wrap, compose
from crossview.reporting.pictures.suggestions import MARGIN, SIDE, Shown, suggestion_sheet


def shown(rank, shape, views=2, classes=3):
    random = np.random.default_rng(rank)
    labels = {
        f"view{i + 1}": random.integers(0, classes, shape).astype(np.uint8) for i in range(views)
    }
    label = random.integers(0, classes, shape).astype(np.uint8)
    probability = np.eye(classes, dtype=np.float32)[label].transpose(len(shape), *range(len(shape)))
    prediction = Prediction(
        label, probability, labels, label, random.random(shape).astype(np.float32)
    )
    return Shown(
        Suggestion(rank, f"scan {rank}", "scan.nii.gz", 0.4, rank, 9, "", float("nan")),
        random.normal(size=(1, *shape)),
        prediction,
    )


@pytest.mark.parametrize(("shape", "panels"), [((20, 24, 18), 3), ((20, 24), 1)])
@pytest.mark.parametrize("views", [0, 2])
def test_a_row_a_scan_and_a_panel_a_plane(tmp_path, shape, panels, views):
    path = tmp_path / "sheet.png"
    suggestion_sheet(
        [shown(1, shape, views), shown(2, shape, views)], path, names={1: "left", 2: "right"}
    )
    with Image.open(path) as image:
        width, height = image.size
    assert width == pytest.approx(MARGIN + panels * SIDE, abs=60)
    assert height > SIDE
    assert not list(tmp_path.glob("*.part"))


def test_the_slice_where_the_views_disagree_is_drawn(tmp_path):
    quiet = shown(1, (20, 20, 20))
    for array in (quiet.prediction.disagreement, *quiet.prediction.views.values()):
        array[:] = 0
    loud = shown(1, (20, 20, 20))
    for array in (loud.prediction.disagreement, *loud.prediction.views.values()):
        array[:] = 0
    loud.prediction.views["view2"][5, 5:15, 5:15] = 1
    for name, each in (("quiet", quiet), ("loud", loud)):
        suggestion_sheet([each], tmp_path / f"{name}.png")
    tinted = [
        np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int) for name in ("quiet", "loud")
    ]
    pink = [((picture[..., 0] - picture[..., 1]) > 40)[: SIDE + 60].sum() for picture in tinted]
    assert pink[1] > pink[0] + 1000


def test_a_name_is_shown_to_its_last_letter():
    """A name of one word without a space, as exports have it, is broken and not cut."""
    made = [
        compose([Row((Panel(np.zeros((320, 320, 3), np.uint8)),), name)], 320, margin=MARGIN)
        for name in ("1. " + "hospital_a_" * 6 + end for end in "xy")
    ]
    assert made[0].tobytes() != made[1].tobytes()
    assert _wrap("1. " + "w" * 40, 100)[0] == "1."
    assert "".join(_wrap("w" * 40, 100)) == "w" * 40


def test_a_long_and_odd_title_fits_the_sheet():
    rows = [Row((Panel(np.zeros((40, 40, 3), np.uint8), "caption"),), "\x00<é>\n" * 100)]
    sheets = [compose(rows, 40, title, margin=200) for title in ("short", "\x00<é>\n" * 100)]
    assert sheets[0].size == sheets[1].size
