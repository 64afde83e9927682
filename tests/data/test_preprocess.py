"""Raw scans to a network's grid and back: nothing shifts, and impossible scans are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crossview.core.errors import UserError
from crossview.data import preprocess
from crossview.data.preprocess import (
    Preprocessing,
    deviation,
    normalised,
)
from crossview.data.resampling import resampled, resampled_label

shapes = st.lists(st.integers(1, 9), min_size=2, max_size=3).map(tuple)


def values(*shape, seed=0):
    return (np.random.default_rng(seed).normal(size=shape) * 100).astype(np.float32)


def smooth(*shape):
    """A volume without detail below three voxels, scaled to 0..1."""
    volume = ndimage.gaussian_filter(values(*shape), 4)
    return (volume - volume.min()) / np.ptp(volume)


def ball(*shape):
    """Two classes: a ball, and its half."""
    places = np.indices(shape)
    away = sum(
        ((axis - (side - 1) / 2) / (side * 0.35)) ** 2
        for axis, side in zip(places, shape, strict=True)
    )
    return ((away < 1) * (1 + (places[0] > shape[0] / 2))).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(shapes, st.floats(0.3, 3))
def test_voxels_of_the_right_size_are_not_touched(shape, side):
    spacing = (side,) * len(shape)
    raw = Preprocessing(spacing=spacing)
    image, label = values(2, *shape), ball(*shape)
    np.testing.assert_array_equal(raw.image(image, spacing), image)
    assert raw.label(label, spacing) is label
    maps = torch.from_numpy(image)
    assert resampled(maps, shape) is maps


@settings(max_examples=60, deadline=None)
@given(shapes, st.data())
def test_the_grid_has_the_same_extent_in_mm(shape, data):
    sides = st.lists(st.floats(0.5, 4), min_size=len(shape), max_size=len(shape)).map(tuple)
    spacing, target = data.draw(sides), data.draw(sides)
    raw = Preprocessing(spacing=target)
    found = raw.image(values(1, *shape), spacing).shape[1:]
    assert found == raw.shape(shape, spacing) == raw.label(ball(*shape), spacing).shape
    for there, side, here, wanted in zip(shape, spacing, found, target, strict=True):
        assert here == 1 or abs(there * side - here * wanted) <= wanted / 2 + 1e-6


@settings(max_examples=40, deadline=None)
@given(shapes, st.data())
def test_resampling_keeps_constants_and_stays_within_the_values(shape, data):
    target = tuple(data.draw(st.integers(1, 12)) for _ in shape)
    maps = torch.from_numpy(values(2, 1, *shape))
    found = resampled(maps, target)
    assert found.shape == (2, 1, *target)
    assert maps.min() - 1e-3 <= found.min()
    assert found.max() <= maps.max() + 1e-3
    torch.testing.assert_close(
        resampled(torch.full((1, *shape), 7.0), target), torch.full((1, *target), 7.0)
    )


@pytest.mark.parametrize("factor", [(0.6, 0.6, 0.6), (1.4, 1.4, 1.4), (1, 1, 2.5), (0.8, 0.8, 2)])
def test_a_smooth_volume_comes_back(factor):
    volume = smooth(40, 36, 30)
    raw = Preprocessing(spacing=factor)
    there = raw.image(volume[None], (1, 1, 1))
    back = resampled(torch.from_numpy(there), volume.shape).numpy()[0]
    assert np.abs(back - volume).mean() < 0.01
    label = ball(40, 36, 30)
    round_trip = resampled_label(raw.label(label, (1, 1, 1)), label.shape)
    for value in (1, 2):
        assert (
            2
            * np.sum((round_trip == value) & (label == value))
            / np.sum((round_trip == value) + 0 + (label == value))
            > 0.95
        )


@settings(max_examples=40, deadline=None)
@given(shapes, st.data())
def test_labels_never_get_a_class_that_was_not_there(shape, data):
    target = tuple(data.draw(st.floats(0.4, 3)) for _ in shape)
    label = np.random.default_rng(1).choice([0, 2, 7, 255], shape).astype(np.uint8)
    found = Preprocessing(spacing=target).label(label, (1,) * len(shape))
    assert found.dtype == np.uint8
    assert set(np.unique(found)) <= set(np.unique(label))


def test_an_axis_of_spacing_0_stays():
    assert Preprocessing(spacing=(0, 1, 1)).shape((7, 10, 20), (6, 0.5, 2)) == (7, 5, 40)


def test_normalisation():
    volume = values(6, 5, 4) + 500
    score, range_ = normalised(volume, "z_score"), normalised(volume, "min_max")
    np.testing.assert_allclose([score.mean(), score.std()], [0, 1], atol=1e-5)
    np.testing.assert_allclose([range_.min(), range_.max()], [0, 1], atol=1e-6)
    assert score.dtype == range_.dtype == np.float32
    assert normalised(volume, "none") is volume
    for way in ("z_score", "min_max", "z_score_clipped"):
        assert not normalised(np.full((6, 5), 7, np.float32), way).any()


def test_an_outlier_does_not_squeeze_the_clipped_score():
    volume = values(20, 20, 10)
    volume[3, 4, 5] = 1.7e6
    assert normalised(volume, "z_score").std(where=volume < 1e6) < 0.1
    clipped = normalised(volume, "z_score_clipped")
    np.testing.assert_allclose([clipped.mean(), clipped.std()], [0, 1], atol=1e-5)
    assert clipped.max() < 4


def test_fixed_numbers_standardise_each_channel():
    image = (
        np.stack([np.linspace(-1000, 3000, 60), np.linspace(0, 1, 60)])
        .reshape(2, 5, 4, 3)
        .astype(np.float32)
    )
    found = Preprocessing("foreground", ((-200, 300, 50, 100), (0, 1, 0.5, 0.25))).image(
        image, None
    )
    np.testing.assert_allclose(found[0], (image[0].clip(-200, 300) - 50) / 100, rtol=1e-6)
    np.testing.assert_allclose(found[1], (image[1] - 0.5) / 0.25, rtol=1e-6)
    with pytest.raises(UserError, match="2 channels"):
        Preprocessing("foreground", ((0, 1, 0, 1),)).image(image, None)


def test_a_case_is_read_on_the_models_grid(make_case):
    case = replace(make_case("a", values(1, 8, 8, 4), ball(8, 8, 4)), spacing=(1, 1, 2))
    wrapped = Preprocessing("z_score", spacing=(2, 2, 2)).case(case)
    assert wrapped.read_image().shape == (1, 4, 4, 4)
    assert wrapped.read_label().shape == (4, 4, 4)
    assert (wrapped.id, wrapped.spacing) == ("a", (2, 2, 2))
    assert not Preprocessing().case(case.without_label()).labelled


@pytest.mark.parametrize("spacing", [None, (1, 1), (0, 1, 1), (float("nan"), 1, 1), (-1, 1, 1)])
def test_voxel_sides_that_can_not_be_are_refused(make_case, spacing):
    wrapped = Preprocessing(spacing=(1, 1, 1)).case(
        replace(make_case("a", values(1, 8, 8, 4)), spacing=spacing)
    )
    with pytest.raises(UserError, match="needs the scan's voxel spacing") as caught:
        wrapped.read_image()
    assert "a (" in caught.value.problems[0].where


def test_a_scan_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(preprocess, "LARGEST", 1000)
    with pytest.raises(UserError, match="20 x 20 x 20 voxels"):
        Preprocessing(spacing=(0.5, 0.5, 0.5)).shape((10, 10, 10), (1, 1, 1))


@pytest.mark.parametrize(
    ("shape", "spacing", "found"),
    [
        ((64, 64, 32), (5e-4, 5e-4, 2e-3), "1 x 1 x 1 voxels"),  # µm taken for mm
        ((64, 64, 32), (0.004, 0.005, 2), "1 x 1 x 64 voxels"),
        ((64, 1, 32), (5e-4, 1, 2e-3), "1 x 1 x 1 voxels"),
    ],
)
def test_a_scan_that_would_collapse_is_refused(shape, spacing, found):
    with pytest.raises(UserError, match="would be too small") as error:
        Preprocessing(spacing=(0.5, 1, 1)).shape(shape, spacing, "a.nii")
    (problem,) = error.value.problems
    assert problem.where == "a.nii"
    assert found in problem.found


@pytest.mark.parametrize("shape", [(64, 64, 2), (64, 64, 1), (64, 1, 1), (1, 1, 1), (4, 4, 2)])
def test_few_slices_are_no_collapse(shape):
    assert Preprocessing(spacing=(1, 1, 5)).shape(shape, (1, 1, 2)) == (*shape[:2], 1)
    assert Preprocessing(spacing=(2, 2, 2)).shape((2, 2, 2), (1, 1, 1)) == (1, 1, 1)


def test_a_scan_without_a_border_is_normalised_as_ever():
    volume = values(2, 9, 8, 7)
    found, former = (
        Preprocessing(way).image(volume, None) for way in ("z_score_unpadded", "z_score_clipped")
    )
    np.testing.assert_array_equal(found, former)


@pytest.mark.parametrize("shape", [(2, 24, 20), (1, 14, 12, 10)])
@pytest.mark.parametrize("times", [1.5, 2, 3])
@pytest.mark.parametrize("value", [0, -32768, 300])
def test_padding_does_not_change_the_rest(shape, times, value):
    scan = np.asfortranarray(values(*shape) + 500)  # as a NIfTI file is laid out
    sides = [round((times - 1) * side) for side in shape[1:]]
    before = [side // 3 for side in sides]
    after = [side - first for side, first in zip(sides, before, strict=True)]
    wide = np.pad(scan, [(0, 0), *zip(before, after, strict=True)], constant_values=value)
    box = tuple(slice(a, a + n) for a, n in zip(before, shape[1:], strict=True))
    for spacing in ((), (0.8,) * len(box)):
        raw = Preprocessing("z_score_unpadded", spacing=spacing)
        found = raw.image(np.asfortranarray(wide), (1,) * len(box))
        np.testing.assert_array_equal(found, raw.image(scan, (1,) * len(box)))
        assert raw.box(wide) == box


@pytest.mark.parametrize("first", ["image", "label"])
def test_training_sees_image_and_label_without_padding(make_case, first):
    image, label = values(1, 6, 5, 4), ball(6, 5, 4)
    widths = [(2, 3), (0, 4), (1, 0)]
    case = make_case("a", np.pad(image, [(0, 0), *widths]), np.pad(label, widths))
    raw = Preprocessing("z_score_unpadded", spacing=(2, 1, 1))
    found, plain = (
        raw.case(replace(each, spacing=(1, 1, 1))) for each in (case, make_case("b", image, label))
    )
    if first == "label":
        found.read_label()
    np.testing.assert_array_equal(found.read_image(), plain.read_image())
    np.testing.assert_array_equal(found.read_label(), plain.read_label())
    whole = Preprocessing("z_score_clipped").case(case)
    assert whole.read_image().shape[1:] == whole.read_label().shape == (11, 9, 5)


def test_a_label_of_another_shape_is_not_cut_to_fit(make_case):
    case = make_case("a", np.pad(values(1, 6, 5, 4), 2), ball(6, 5, 4))
    found = Preprocessing("z_score_unpadded").case(case)
    assert found.read_label().shape == (6, 5, 4)
    other = make_case(
        "a", np.pad(values(1, 6, 5, 4), [(0, 0), (2, 2), (2, 2), (2, 2)]), ball(12, 12, 12)
    )
    assert Preprocessing("z_score_unpadded").case(other).read_label().shape == (12, 12, 12)


@pytest.mark.parametrize("way", ["z_score_clipped", "z_score_unpadded"])
def test_what_little_a_black_scan_shows_is_kept(way):
    """40 of 32,000 voxels, 0.125 %: both percentiles are 0."""
    scan = np.zeros((1, 40, 40, 20), np.float32)
    scan[0, 5:35:3, 7, 4:16:3] = 100
    raw = Preprocessing(way)
    found, signal = raw.image(scan, None), scan[:, *raw.box(scan)] > 0
    assert np.isfinite(found).all()
    assert found[signal].min() > 2 > 0 >= found[~signal].max()


@pytest.mark.parametrize("way", ["z_score", "min_max", "z_score_clipped", "z_score_unpadded"])
def test_a_spread_too_small_for_its_number_type_is_none(way):
    scan = np.zeros((8, 8), np.float32)
    scan[3, 3] = np.float32(1e-45)
    assert np.isfinite(normalised(scan, way)).all()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(3,), (40, 30, 21), (130, 120, 110), (96, 201, 77)])
def test_the_deviation_is_numpys_to_the_last_bit(shape, order):
    values = np.random.default_rng(1).normal(50, 100, shape)
    channel = np.asarray(values, np.float32, order=order)
    assert deviation(channel) == channel.std(dtype=np.float64)
    assert deviation(channel[1:]) == channel[1:].std(dtype=np.float64)
    assert deviation(np.full(shape, 7, np.float32)) == 0
