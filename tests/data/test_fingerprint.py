"""The fingerprint: what is measured of training scans, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from crossview.data.case import Case
from crossview.data.checks.case import inspect
from crossview.data.fingerprint import largest_share, take


def case(name, image, label=None, spacing=(1.0, 1.0, 2.0)):
    return Case(
        name,
        name,
        Path(f"{name}.nii"),
        lambda: image,
        None if label is None else lambda: label,
        spacing=spacing,
    )


def image(seed=0, low=0.0, high=200.0, shape=(1, 8, 8, 6)):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def label(*shape):
    classes = np.zeros(shape or (8, 8, 6), np.uint8)
    classes[1:4, 1:4], classes[5:7, 5] = 1, 2
    return classes


def fingerprint(*cases, channel_names=None, class_names=()):
    return take(inspect(cases, None), channel_names, class_names)


def test_what_is_measured():
    scans = [image(seed) for seed in range(3)]
    found = fingerprint(
        case("a", scans[0], label()),
        case("b", scans[1], label()),
        case("c", scans[2], spacing=(1.0, 1.0, 3.0)),
    )
    assert (found.labelled, found.classes, found.channels, found.axes, found.ct) == (
        2,
        3,
        1,
        3,
        False,
    )
    assert found.shapes == ((8, 8, 6),) * 3
    assert found.spacings[2] == (1.0, 1.0, 3.0)
    assert found.pieces == {1: 1.0, 2: 1.0}
    assert len(found.places) == 2
    np.testing.assert_array_equal(
        (found.places[0][2] * (8, 8, 6)).astype(int), np.argwhere(label() == 2)
    )
    inside = np.concatenate([scan[0][label() > 0] for scan in scans[:2]])
    assert found.foreground[0] == pytest.approx(
        (*np.percentile(inside, (0.5, 99.5)), inside.mean(), inside.std()), rel=1e-3
    )
    told = found.as_json()
    assert [(row["case"], row["labelled"], row["spacing"]) for row in told["cases"]][1:] == [
        ("b", True, [1, 1, 2]),
        ("c", False, [1, 1, 3]),
    ]
    assert (told["labelled"], told["unlabelled"]) == (2, 1)


@pytest.mark.parametrize(
    ("low", "high", "names", "ct"),
    [
        (-1000, 1500, None, True),
        (0, 1500, None, False),
        (-1000, 20000, None, False),
        (0, 1500, ("CT",), True),
        (-1000, 1500, ("MRI",), False),
    ],
)
def test_ct_is_told_by_name_or_by_hounsfield_units(low, high, names, ct):
    found = fingerprint(
        case("a", image(0, low, high), label()), case("b", image(1, low, high)), channel_names=names
    )
    assert found.ct is ct
    assert found.ct_told_by == ("dataset.json" if names else "the intensities")


def ct(seed, filler=None):
    """A CT with a round field of view in a wide margin, filled with ``filler`` if given."""
    scan = image(seed, -1000, 1500, (1, 20, 20, 6))
    x, y = np.ogrid[-10:10, -10:10]
    if filler is not None:
        scan[:, x**2 + y**2 > 60] = filler
    return scan


@pytest.mark.parametrize("filler", [-3024, -8192, -9999, -32768])
def test_ct_is_told_whatever_fills_what_was_not_scanned(filler):
    there = np.zeros((20, 20, 6), np.uint8)
    there[8:12, 8:12] = 1
    reaching = there.copy()
    reaching[0, 0] = 1  # a label that reaches into the margin
    padded = [ct(0, filler), ct(1, filler), ct(2, filler)]
    found = fingerprint(
        case("a", padded[0], reaching), case("b", padded[1], there), case("c", padded[2])
    )
    assert (found.ct, found.ct_told_by) == (True, "the intensities")
    expected = fingerprint(case("a", ct(0), there), case("b", ct(1), there), case("c", ct(2)))
    if filler < -3100:
        assert found.foreground == expected.foreground


def test_values_far_below_air_are_no_padding_where_there_are_many():
    wide = [image(seed, -9000, 3000) for seed in range(2)]
    assert not fingerprint(case("a", wide[0], label()), case("b", wide[1])).ct


def test_edges_blurred_by_resampling_do_not_hide_a_filler():
    scan = ct(0, -8192)
    scan[0, 9, :2, :3] = [[-7000.5, -5000.25, -3300.125], [-6000, -4000, -3900]]
    found = fingerprint(case("a", scan, label(20, 20, 6)), case("b", ct(1, -8192)))
    assert found.ct


@pytest.mark.parametrize(("row", "labelled"), [(2, False), (0, True)])
def test_a_label_in_the_constant_border_is_noted(row, labelled):
    scan, there = image(), np.zeros((8, 8, 6), np.uint8)
    scan[:, :2] = 7
    there[row, 3, 3] = 1
    found = fingerprint(case("a", scan, there), case("b", image(1)))
    assert found.border_labelled is labelled


def test_named_classes_count_though_they_never_occur():
    assert (
        fingerprint(case("a", image(), label()), class_names=("background", "x", "y", "z")).classes
        == 4
    )


@pytest.mark.parametrize(("size", "share"), [(0, 1.0), (1, 10 / 11), (2, 10 / 12)])
def test_the_largest_piece(size, share):
    mask = np.zeros((12, 9), bool)
    mask[:5, :2] = True
    mask[8, 4 : 4 + size] = True
    assert largest_share(mask) == pytest.approx(share)
    assert largest_share(np.repeat(mask[..., None], 3, axis=-1)) == pytest.approx(share)
