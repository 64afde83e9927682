"""Masks with grey edges are told from maps of classes."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from crossview.data.checks.grey_edges import has_grey_edges

ROWS, COLUMNS = np.mgrid[:160, :160]

MASK = 255 * (
    ((ROWS - 60) ** 2 + (COLUMNS - 70) ** 2 < 30**2) | (abs(ROWS - 130) + abs(COLUMNS - 40) < 15)
).astype(np.uint8)

SQUARE = np.zeros((160, 160), np.uint8)
SQUARE[30:90, 40:130] = 255


def grey(label):
    values, counts = np.unique(label, return_counts=True)
    return has_grey_edges(label, dict(zip(values.tolist(), counts.tolist(), strict=True)))


def as_jpeg(mask, quality):
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file))


def smoothed(mask, sigma):
    return ndimage.gaussian_filter(mask.astype(float), sigma).round().astype(np.uint8)


def resized(mask, factor, how):
    side = int(160 * factor)
    return np.asarray(Image.fromarray(mask).resize((side, side), how))


@pytest.mark.parametrize("mask", [MASK, SQUARE], ids=["round", "square"])
@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_smoothed_masks(mask, sigma):
    assert grey(smoothed(mask, sigma))
    volume = np.repeat(mask[None], 8, axis=0)
    volume[0] = volume[-1] = 0
    assert grey(np.stack([smoothed(plane, sigma) for plane in volume]))
    assert grey(np.moveaxis(smoothed(volume, (1, sigma, sigma)), 0, -1))


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95])
def test_masks_once_saved_as_jpeg(quality):
    assert grey(as_jpeg(MASK, quality))


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.3, 2])
@pytest.mark.parametrize("how", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_resized_masks(factor, how):
    assert grey(resized(MASK, factor, how))


def test_of_three_structures_too():
    levels = np.where(ndimage.binary_erosion(MASK, iterations=8), 255, MASK // 2).astype(np.uint8)
    assert not grey(levels)
    assert grey(smoothed(levels, 1))


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 127, 255), (0, 1, 254, 255)])
def test_masks_of_few_values_are_left_to_the_rule_of_gaps(values):
    assert not grey(np.array(values, np.uint8)[MASK // 255 * (len(values) - 1)])


@pytest.mark.parametrize("classes", [17, 40, 117])
@pytest.mark.parametrize("shape", [(64, 64), (200, 200), (32, 32, 32), (48, 48, 48)])
def test_maps_of_many_classes(classes, shape):
    """Voronoi cells inside a ball, down to a few voxels each."""
    random = np.random.default_rng(classes)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    seeds = random.random((classes - 1, len(shape))) * shape
    cells = ((grid[..., None, :] - seeds) ** 2).sum(-1).argmin(-1) + 1
    radius = ((2 * grid / shape - 1) ** 2).sum(-1)
    label = np.where(radius < 0.4, cells, 0).astype(np.uint8)
    assert len(np.unique(label)) > 8
    assert not grey(label)


def test_small_structures_in_a_large_one():
    random = np.random.default_rng(0)
    label = np.zeros((64, 64, 64), np.uint8)
    label[5:59, 5:59, 5:59] = 117
    for value in range(1, 117):
        corner, sides = random.integers(8, 52, 3), random.integers(1, 4, 3)
        label[tuple(map(slice, corner, corner + sides))] = value
    assert not grey(label)


def test_classes_at_random():
    assert not grey(np.random.default_rng(0).integers(0, 40, (30, 30, 30)).astype(np.uint8))
