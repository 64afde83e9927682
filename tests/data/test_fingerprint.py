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
