"""Metrics against medpy: golden values, drawn masks, and the cases that medpy leaves undecided."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from medpy.metric import binary as medpy
from scipy import ndimage
from tests.helpers.golden_numbers import load

from crossview.evaluation.metrics import Measures, distances, measure, overlap, points, surface

GOLDEN = load("metrics")
GOLDEN_CASES = sorted(key.removesuffix("_values") for key in GOLDEN if key.endswith("_values"))
DISTANCES = ("hd95", "asd", "assd")


def oracle(prediction, truth, spacing=None):
    """The five measures by medpy."""
    overlaps = [medpy.dc(prediction, truth), medpy.jc(prediction, truth)]
    return overlaps, [
        getattr(medpy, name)(prediction, truth, voxelspacing=spacing) for name in DISTANCES
    ]


def assert_equal_to_medpy(prediction, truth, spacing=None):
    found = measure(prediction, truth, spacing)
    overlaps, expected = oracle(prediction, truth, spacing)
    np.testing.assert_allclose([found.dice, found.jaccard], overlaps, rtol=0, atol=1e-12)
    np.testing.assert_allclose([found.hd95, found.asd, found.assd], expected, rtol=1e-12, atol=1e-9)


def ball(shape, centre, radius):
    grid = np.indices(shape)
    return sum((axis - middle) ** 2 for axis, middle in zip(grid, centre, strict=True)) <= radius**2


@pytest.mark.parametrize("name", GOLDEN_CASES)
def test_golden(name):
    found = measure(
        GOLDEN[f"{name}_pred"] > 0, GOLDEN[f"{name}_truth"] > 0, GOLDEN[f"{name}_spacing"]
    )
    dice, jaccard, hd95, _, asd, assd = GOLDEN[f"{name}_values"]
    if (
        name == "both_empty"
    ):  # medpy's 1.0 for the Jaccard of nothing is not kept: such a case does not count
        dice = jaccard = math.nan
    np.testing.assert_allclose([found.dice, found.jaccard], [dice, jaccard], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        [found.hd95, found.asd, found.assd], [hd95, asd, assd], rtol=1e-12, atol=1e-9
    )


def test_golden_errors_are_the_empty_cases():
    raised = json.loads(str(GOLDEN["errors"]))
    kinds = {
        name: measure(GOLDEN[f"{name}_pred"] > 0, GOLDEN[f"{name}_truth"] > 0).empty
        for name in GOLDEN_CASES
    }
    assert {name for name, kind in kinds.items() if kind} == set(raised)
    assert kinds["empty_prediction"] == "missed"
    assert kinds["empty_truth"] == "spurious"
    assert kinds["both_empty"] == "both_empty"


masks = st.integers(2, 3).flatmap(
    lambda axes: st.tuples(*[st.integers(1, 9)] * axes).flatmap(
        lambda shape: st.tuples(
            hnp.arrays(bool, shape, elements=st.booleans()),
            hnp.arrays(bool, shape, elements=st.booleans()),
            st.tuples(*[st.sampled_from([0.3, 0.625, 1.0, 1.25, 10.0])] * axes),
        )
    )
)


@settings(max_examples=150, deadline=None)
@given(masks)
def test_equal_to_medpy_on_drawn_masks(drawn):
    prediction, truth, spacing = drawn
    if prediction.any() and truth.any():
        assert_equal_to_medpy(prediction, truth)
        assert_equal_to_medpy(prediction, truth, spacing)
    else:
        assert measure(prediction, truth, spacing).empty


@settings(max_examples=40, deadline=None)
@given(masks)
def test_masks_swapped(drawn):
    prediction, truth, spacing = drawn
    forth, back = measure(prediction, truth, spacing), measure(truth, prediction, spacing)
    for name in ("dice", "jaccard", "hd95", "assd"):
        assert getattr(forth, name) == pytest.approx(getattr(back, name), rel=1e-12, nan_ok=True)


SHAPE = (40, 36, 30)
TRUTH = ball(SHAPE, (18, 17, 14), 9)
PREDICTIONS = {
    "the truth": TRUTH,
    "near": np.roll(TRUTH, (2, -1, 1), (0, 1, 2)),
    "a few voxels far away": TRUTH | ball(SHAPE, (38, 34, 28), 1),
    "small and far": ball(SHAPE, (37, 33, 27), 2),
    "everything": np.ones(SHAPE, dtype=bool),
    "noise": np.random.default_rng(0).random(SHAPE) < 0.5,
    "sparse noise": np.random.default_rng(1).random(SHAPE) < 0.002,
    "one voxel": ball(SHAPE, (0, 0, 29), 0),
}


@pytest.mark.parametrize("spacing", [None, (0.7, 1.9, 5.0)])
@pytest.mark.parametrize("prediction", PREDICTIONS.values(), ids=PREDICTIONS)
def test_distances_of_near_far_and_many_voxels_are_exact(prediction, spacing):
    assert_equal_to_medpy(prediction, TRUTH, spacing)
    assert_equal_to_medpy(TRUTH, prediction, spacing)


def test_distances_come_in_array_order():
    origin, target = PREDICTIONS["a few voxels far away"], PREDICTIONS["near"]
    expected = ndimage.distance_transform_edt(~target, sampling=(1.0, 2.0, 3.0))[origin]
    sides = np.array([1.0, 2.0, 3.0])
    found = distances(points(origin, sides), points(target, sides))
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_surface_is_the_mask_without_its_erosion():
    for mask in PREDICTIONS.values():
        eroded = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 1))
        np.testing.assert_array_equal(surface(mask), mask & ~eroded)


def test_border_voxels_are_surface():
    assert surface(np.ones((3, 3), dtype=bool)).sum() == 8
    assert surface(np.ones((2, 2, 2), dtype=bool)).all()


def test_asd_is_directed_and_assd_is_not():
    large, small = ball((30, 30), (15, 15), 10), ball((30, 30), (15, 15), 2)
    both = large & ~ball((30, 30), (15, 15), 8) | small
    forth, back = measure(small, both), measure(both, small)
    assert forth.asd == 0
    assert back.asd > 0
    assert forth.assd == pytest.approx(back.assd)


def test_empty_masks():
    some, none = ball((6, 5), (3, 2), 1), np.zeros((6, 5), dtype=bool)
    missed, spurious, both = (
        measure(none, some, (2.0, 3.0)),
        measure(some, none),
        measure(none, none),
    )
    assert (missed.dice, missed.jaccard, missed.empty) == (0, 0, "missed")
    assert (spurious.dice, spurious.jaccard, spurious.empty) == (0, 0, "spurious")
    assert both.empty == "both_empty"
    assert math.isnan(both.dice)
    assert math.isnan(both.jaccard)
    for found in (missed, spurious, both):
        assert all(math.isnan(getattr(found, name)) for name in DISTANCES)
    assert missed.diagonal == pytest.approx(math.hypot(12, 15))
    assert measure(some, some).empty == ""


def test_equal_masks():
    assert measure(TRUTH, TRUTH) == Measures(
        1, 1, 0, 0, 0, pytest.approx(math.sqrt(40**2 + 36**2 + 30**2))
    )


@settings(deadline=None)
@given(hnp.arrays(bool, (4, 3, 2)), hnp.arrays(bool, (4, 3, 2)))
def test_jaccard_follows_from_dice(prediction, truth):
    dice, jaccard = overlap(prediction, truth)
    assert math.isnan(dice) or jaccard == pytest.approx(dice / (2 - dice), abs=1e-12)


def test_wrong_input():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        measure(np.ones((2, 3), dtype=bool), np.ones((3, 2), dtype=bool))
    for spacing in [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, math.nan), (1.0, math.inf)]:
        with pytest.raises(ValueError, match="spacing"):
            measure(np.ones((2, 3), dtype=bool), np.ones((2, 3), dtype=bool), spacing)


def test_input_is_left_as_it_was():
    prediction, truth = TRUTH.copy(), PREDICTIONS["near"].copy()
    measure(prediction, truth)
    np.testing.assert_array_equal(prediction, TRUTH)
    np.testing.assert_array_equal(truth, PREDICTIONS["near"])


def test_needs_no_torch():
    code = "import sys, crossview.evaluation.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_much_faster_than_medpy():
    """The factor is about 40 here; the margin is wide because tests share their machine."""
    shape = (130, 110, 70)
    truth = ball(shape, (65, 55, 35), 30)
    prediction = np.roll(truth, (1, -2, 1), (0, 1, 2))

    def seconds(function):
        started = time.process_time()
        function()
        return time.process_time() - started

    theirs = seconds(lambda: (medpy.hd95(prediction, truth), medpy.asd(prediction, truth)))
    ours = min(seconds(lambda: measure(prediction, truth)) for _ in range(3))
    assert theirs > 5 * ours
