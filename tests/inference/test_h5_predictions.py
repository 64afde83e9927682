"""h5 scans in the published layouts."""

import h5py
import numpy as np
import pytest
from tests.helpers.predicting import read_scan, write_scan

from crossview.core.errors import UserError


def read(path, **options):
    return read_scan(path, normalisation="z_score", nifti_axes=(2, 1, 0), **options)


@pytest.fixture
def file(tmp_path):
    def write(**arrays):
        path = tmp_path / "scan.h5"
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
        return path

    return write


def values(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "dimensions"),
    [((6, 5, 4), (3,)), ((6, 5, 4), (2, 3)), ((6, 5), (2, 3)), ((6, 5), (2,))],
)
def test_volumes_and_slices_are_read_as_they_are(file, shape, dimensions):
    image = values(*shape)
    # h5 files are normalised and ordered already: the keys for NIfTI don't apply.
    np.testing.assert_array_equal(read(file(image=image), dimensions=dimensions).image, image[None])


def test_the_answer_is_one_h5_file(file, tmp_path):
    path = file(image=values(6, 5, 4), label=np.ones((6, 5, 4), np.uint8))
    label, probability = np.full((6, 5, 4), 2, np.uint8), values(3, 6, 5, 4)
    write_scan(read(path), {"probability": probability, "label": label}, tmp_path / "out")
    with h5py.File(tmp_path / "out" / "scan.h5") as written:
        assert set(written) == {"label", "probability"}
        assert written["label"].dtype == np.uint8
        np.testing.assert_array_equal(written["label"], label)
        np.testing.assert_array_equal(written["probability"], probability)
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["scan.h5"]


@pytest.mark.parametrize(
    "arrays",
    [
        {"image": values(6, 5)},
        {"image": values(2, 6, 5, 4)},
        {"volume": values(6, 5, 4)},
        {"image": values(6, 0, 4)},
        {"image": np.full((6, 5, 4), np.nan)},
    ],
    ids=["slice", "series", "no image", "empty", "NaN"],
)
def test_what_is_no_volume_is_refused(file, arrays):
    path = file(**arrays)
    with pytest.raises(UserError) as caught:
        read(path)
    (told,) = caught.value.problems
    assert told.where == str(path)
    assert all((told.what, told.found, told.expected, told.fix))


def test_a_file_that_is_cut_off_is_refused(file):
    path = file(image=values(20, 20, 20))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match="cut off"):
        read(path)


def test_a_model_of_more_channels_takes_no_h5(file):
    with pytest.raises(UserError, match="wrong number of channels"):
        read(file(image=values(6, 5, 4)), channels=2)


def test_a_model_that_resamples_takes_no_file_without_voxel_sides(file):
    path = file(image=values(6, 5, 4))
    with pytest.raises(UserError, match="needs the scan's voxel spacing"):
        read(path, spacing=(1, 1, 1))
