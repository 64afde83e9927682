"""Tests of grids in the viewer: every voxel is where its file says."""

import io

import nibabel as nib
import numpy as np
import pytest

from crossview.reporting.viewer.grid import LARGEST, Grid


def read(volume: bytes):
    return nib.Nifti1Image.from_stream(io.BytesIO(volume))


def test_a_scan_with_an_affine_is_kept_as_it_is(monkeypatch):
    monkeypatch.setattr("crossview.reporting.viewer.grid.SMALL", 0)
    affine = np.array([[0, -2, 0, 5], [1, 0, 0, -7], [0, 0, 3, 1], [0, 0, 0, 1.0]])
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    grid = Grid.of(array.shape, affine)
    found = read(grid.volume(array))
    assert np.array_equal(found.get_fdata(), array)
    assert np.array_equal(found.affine, affine)
    assert grid.oriented


def test_small_volumes_are_split_about_the_centres_of_their_voxels():
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = 10, 20, 30
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4) * 10
    grid = Grid.of(array.shape, affine)
    for smooth in (False, True):
        found = read(grid.volume(array, smooth=smooth))
        assert found.shape == (6, 9, 12)
        # The middle part of each voxel has its value and its place.
        assert np.array_equal(found.get_fdata()[1::3, 1::3, 1::3], array)
        place = np.array([1, 2, 3])
        assert np.allclose(found.affine @ [*(3 * place + 1), 1], affine @ [*place, 1], atol=1e-5)
    linear = read(grid.volume(array, smooth=True)).get_fdata()
    assert linear[1, 1, 2] == pytest.approx(10 / 3, abs=0.5)
    assert np.array_equal(read(grid.volume(array)).get_fdata()[0:3, 0:3, 0:3], np.zeros((3, 3, 3)))


@pytest.mark.parametrize(("axis", "right", "down"), [(-1, 0, 1), (0, 2, 1)])
def test_without_an_affine_rows_run_downwards(monkeypatch, axis, right, down):
    monkeypatch.setattr("crossview.reporting.viewer.grid.SMALL", 0)
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    grid = Grid.of(array.shape, None, slice_axis=axis, spacing=(1, 2, 3))
    found = read(grid.volume(array))
    assert not grid.oriented
    assert found.shape[0] == array.shape[right]
    assert found.shape[1] == array.shape[down]
    # x runs to the right and y upwards: the first row is on top, at the largest y.
    first = np.take(np.take(array, 0, down), 0, 0 if axis == 0 else 1)
    top = found.get_fdata()[:, -1, 0]
    assert np.array_equal(top, first)
    assert found.header.get_zooms()[0] == (1, 2, 3)[right]


def test_an_image_stands_upright_and_keeps_its_colours():
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0, 2] = 200, 100, 50  # top right
    grid = Grid.of((2, 3))
    found = read(grid.volume(picture))
    assert found.shape == (3, 2, 1)
    assert found.header["datatype"] == 128  # RGB24
    assert tuple(np.asarray(found.dataobj)[2, 1, 0]) == (200, 100, 50)
    assert grid.note == ""


def test_what_a_browser_cannot_hold_is_thinned_and_said():
    grid = Grid.of((10, 2 * LARGEST + 1))
    volume = read(grid.volume(np.arange(10 * (2 * LARGEST + 1)).reshape(10, -1).astype(np.float32)))
    assert max(volume.shape) <= LARGEST
    assert volume.header.get_zooms()[0] == 3
    assert "one pixel in 3 is shown" in grid.note


def test_the_planes_cut_the_structure_where_most_of_it_is():
    mask = np.zeros((5, 6, 7), bool)
    mask[3, 4, 5] = mask[3, 4, 2] = mask[3, 1, 5] = mask[0, 4, 5] = True
    affine = np.diag([2.0, 2, 2, 1])
    assert Grid.of(mask.shape, affine).centre(mask) == [6, 8, 10]
    assert Grid.of(mask.shape, affine).centre(mask & False) == [4, 6, 6]
