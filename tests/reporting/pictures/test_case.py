"""Pictures of cases: right sizes in 2D and 3D, nothing hidden, nothing half-written."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crossview.reporting.pictures.case import case_picture
from crossview.reporting.pictures.frame import Frame, fullest
from crossview.reporting.pictures.panels import (
    DISAGREE,
    EXTRA,
    GROUND,
    LABEL,
    MISSED,
    PREDICTION,
    outline,
    shade,
    window,
)


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    grid = np.indices(shape)
    offset = sum((axis - middle) ** 2 for axis, middle in zip(grid, centre, strict=True))
    return (offset <= radius**2).astype(np.uint8)


def drawn(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def share_of(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 12) -> float:
    return float((np.abs(pixels.astype(int) - colour).max(-1) <= tolerance).mean())


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((200, 150, 88), -1),
        ((10, 220, 200), 0),
        ((32, 32, 32), -1),
        ((64, 48), -1),
        ((256, 256), 0),
        ((5, 7, 3), -1),
    ],
)
def test_every_shape_fits_the_page(tmp_path: Path, shape: tuple[int, ...], axis: int) -> None:
    label = ball(shape, tuple(side / 2 for side in shape), max(1.0, min(shape) / 3))
    view = np.roll(label, 1, axis=-1)
    image = (label + np.random.default_rng(0).normal(0, 0.2, shape)).astype(np.float32)[None]
    case_picture(
        image,
        label,
        view,
        {"view1": view, "view2": label},
        tmp_path / "case.png",
        slice_axis=axis,
    )
    height, width, _ = drawn(tmp_path / "case.png").shape
    assert 700 <= width <= 1600
    assert 200 <= height <= 1000
    assert [file.name for file in tmp_path.iterdir()] == ["case.png"]


def test_colours_say_what_is_missed_and_where_views_differ(tmp_path: Path) -> None:
    label = ball((40, 40), (20, 14), 7)
    prediction = ball((40, 40), (20, 26), 7)
    image = np.zeros((1, 40, 40), np.float32)
    case_picture(
        image,
        label,
        prediction,
        {"view1": prediction, "view2": label},
        tmp_path / "both.png",
    )
    pixels = drawn(tmp_path / "both.png")
    assert share_of(pixels, LABEL[0]) > 1e-3
    assert share_of(pixels, PREDICTION[0]) > 1e-3
    tinted = [
        tuple(int(0.62 * channel) for channel in colour) for colour in (MISSED, EXTRA, DISAGREE)
    ]
    assert all(share_of(pixels, colour) > 3e-3 for colour in tinted)

    case_picture(image, label, label, {"network": label}, tmp_path / "perfect.png")
    pixels = drawn(tmp_path / "perfect.png")
    assert all(share_of(pixels, colour) < 1e-3 for colour in tinted)


def test_without_a_label_there_is_no_error_panel(tmp_path: Path) -> None:
    prediction = ball((30, 30), (15, 15), 8)
    image = np.zeros((1, 30, 30), np.float32)
    case_picture(image, None, prediction, {}, tmp_path / "unlabelled.png")
    case_picture(image, prediction, prediction, {}, tmp_path / "labelled.png")
    assert share_of(drawn(tmp_path / "unlabelled.png"), LABEL[0]) == 0
    assert drawn(tmp_path / "unlabelled.png").shape[1] < drawn(tmp_path / "labelled.png").shape[1]


@pytest.mark.parametrize(
    "image",
    [np.zeros((1, 16, 16, 16)), np.full((2, 16, 16, 16), np.nan), np.full((1, 16, 16, 16), np.inf)],
)
def test_empty_labels_and_bad_intensities_are_drawn(tmp_path: Path, image: np.ndarray) -> None:
    nothing = np.zeros((16, 16, 16), np.uint8)
    case_picture(
        image.astype(np.float32),
        nothing,
        nothing,
        {"a": nothing, "b": nothing},
        tmp_path / "empty.png",
    )
    assert drawn(tmp_path / "empty.png").shape[1] <= 1600


def test_a_single_voxel_stays_visible() -> None:
    mask = np.zeros((100, 100), bool)
    mask[50, 50] = True
    assert outline(mask, (384, 384), 1.6).max() > 0.5


def test_an_outline_lies_on_the_edge_and_leaves_the_inside_free() -> None:
    mask = ball((50, 50), (25, 25), 15).astype(bool)
    coverage = outline(mask, (500, 500), 2.0)
    radius = np.hypot(*(np.indices((500, 500)) - 254.5))
    assert coverage[radius < 130].max() == 0
    assert coverage[radius > 165].max() == 0
    assert (coverage.max(axis=1)[120:380] > 0.5).all()
    assert coverage.mean() < 0.02


def test_an_affine_turns_the_front_up_and_the_right_side_to_the_left() -> None:
    """In RAS voxels the last x index is the patient's right-to-left end.

    It comes first in a row; anterior and head come first too.
    """
    volume = np.zeros((4, 5, 6))
    volume[3, 4, 5] = 1
    turned = Frame.of(3, -1, np.diag([1.0, 1.0, 1.0, 1.0])).turn(volume)
    assert turned.shape == (6, 5, 4)
    assert turned[0, 0, 0] == 1
    left_posterior = Frame.of(3, -1, np.diag([-1.0, -1.0, 1.0, 1.0])).turn(volume)
    assert left_posterior[0, 4, 3] == 1


def test_thick_slices_are_shown_as_slices_in_true_proportions() -> None:
    sagittal = np.diag([6.0, 0.8, 0.8, 1.0])
    frame = Frame.of(3, -1, sagittal)
    assert frame.planes == ("sagittal", "axial", "coronal")
    assert frame.spacing == (6.0, 0.8, 0.8)
    assert frame.coarse((20, 256, 256))
    assert not Frame.of(3, -1, np.diag([1.0, 1.0, 1.2, 1.0])).coarse((100, 120, 100))


@settings(max_examples=40, deadline=None)
@given(
    st.permutations([0, 1, 2]),
    st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    st.integers(0, 2**32 - 1),
)
def test_turning_does_not_depend_on_how_a_volume_is_stored(
    order: list[int], signs: tuple[float, ...], seed: int
) -> None:
    """The same anatomy, stored with its axes permuted and reversed, is drawn the same."""
    volume = np.random.default_rng(seed).random((3, 4, 5))
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    stored, moved = volume, affine.copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            stored = np.flip(stored, axis)
            moved[:3, axis] *= -1
    stored, moved = stored.transpose(order), moved[:, [*order, 3]]
    np.testing.assert_array_equal(
        Frame.of(3, -1, moved).turn(stored), Frame.of(3, -1, affine).turn(volume)
    )


def test_slices_are_chosen_by_the_label(tmp_path: Path) -> None:
    """A large prediction far from the label does not hide what was missed.

    The outlined slice goes through the label.
    """
    label, far = ball((40, 40, 40), (10, 10, 8), 5), ball((40, 40, 40), (28, 28, 30), 9)
    image = np.random.default_rng(0).random((1, 40, 40, 40)).astype(np.float32)
    case_picture(image, label, far, {}, tmp_path / "far.png")
    pixels = drawn(tmp_path / "far.png")
    outlined = pixels[:, pixels.shape[1] // 5 : 2 * pixels.shape[1] // 5]
    assert share_of(outlined[:-40], LABEL[0], 40) > 1e-3


def test_the_fullest_slice() -> None:
    counts = np.zeros((5, 3, 3), bool)
    assert fullest(counts, 0) == 2
    assert fullest(counts, 0, otherwise=4) == 4
    counts[3] = True
    assert fullest(counts, 0) == 3


def test_windows_ignore_outliers_and_constants() -> None:
    image = np.linspace(0, 1, 10_000)
    image[0] = 1.7e6
    assert window(image)[1] < 2
    assert window(np.zeros(5)) == (0.0, 1.0)
    assert window(np.full(3, np.nan)) == (0.0, 1.0)
    assert shade(LABEL, 1) == shade(LABEL, 1 + len(LABEL)) != GROUND
