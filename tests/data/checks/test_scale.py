"""Intensities that a normalisation would misread: fills, little signal, another scale."""

import numpy as np
import pytest
from tests.helpers.made_folder import scan, write_nifti

from crossview.data.checks.dataset import check
from crossview.data.checks.fill import fill_of


def ct(number, shape=(16, 14, 10)):
    """Air around soft tissue and some bone, in HU."""
    random = np.random.default_rng(number)
    image = random.normal(-1000, 15, shape)
    image[4:12, 3:11] = random.normal(40, 30, image[4:12, 3:11].shape)
    image[6:8, 5:7, :4] = random.normal(1000, 50, (2, 2, 4))
    return image.clip(-1024, 3000).round().astype(np.int16)


def body(number, shape=(16, 14, 10)):
    label = np.zeros(shape, np.uint8)
    label[5:9, 4 : 7 + number, 2:8] = 1
    return label


def folder(root, images):
    for number, image in enumerate(images):
        write_nifti(root / f"images/p{number}.nii.gz", image)
        write_nifti(root / f"labels/p{number}.nii.gz", body(number))
    return root


def padded(image, value):
    image = image.astype(np.int32)
    image[:2] = value
    return image.astype(np.int16)


@pytest.mark.parametrize("value", [-8192, -9999, -32768])
def test_padding_far_below_all_measured_values(tmp_path, value):
    images = [padded(ct(0), value), ct(1), padded(ct(2), value), *map(ct, range(3, 6))]
    (warning,) = check(folder(tmp_path, images)).findings
    assert warning.severity == "warning"
    assert warning.problem.what == "2 scans are padded with a value far below all others"
    lowest = images[0][2:].min()
    expected = f"p0 ({value} in 12.50 % of the voxels, the others from {lowest})"
    assert warning.problem.found.startswith(expected)
    assert warning.cases == ("p0", "p2")


@pytest.mark.parametrize("value", [-1024, -2000, -3024])
def test_the_padding_of_scanners_is_no_fault(tmp_path, value):
    assert (
        check(folder(tmp_path, [padded(ct(number), value) for number in range(3)])).findings == ()
    )


@pytest.mark.parametrize(
    ("others", "value", "found"),
    [
        ((0.0, 100.0), -9999, True),
        ((0.0, 100.0), -2000, False),
        ((-3000.0, 3000.0), -9999, False),
        ((5.0, 5.0), -9999, True),
    ],
)
def test_a_fill_is_far_in_widths_of_the_rest(others, value, found):
    channel = np.linspace(*others, 1000, dtype=np.float32)
    channel[:100] = value
    fill = fill_of(channel)
    assert (fill is not None) == found
    if fill:
        assert (fill.value, fill.share) == (value, pytest.approx(0.1))
        assert fill.rest == channel[100]


def test_a_scan_of_one_low_value_has_no_fill():
    assert fill_of(np.full(10, -9999, np.float32)) is None


def test_signal_in_too_few_voxels_to_be_clipped(tmp_path):
    images = []
    for number in range(3):
        image = np.zeros((16, 14, 10), np.int16)
        image[8, 4 + number, 2:8] = [90, 130, 80, 160, 120, 99]
        images.append(image)
    (warning,) = check(folder(tmp_path, images)).findings
    assert warning.problem.what == "3 images have a single value in all but a few voxels"
    assert warning.problem.found.startswith("p0 (signal in 0.27 %)")


@pytest.mark.parametrize(
    "aside", [lambda image: image + 1024, lambda image: (image.clip(-160, 240) + 160) * 255 // 400]
)
def test_a_scan_without_negative_values_among_ct(tmp_path, aside):
    images = [ct(0), ct(1), aside(ct(2).astype(np.int32)).astype(np.int16), ct(3)]
    (warning,) = check(folder(tmp_path, images)).findings
    assert warning.problem.what == "1 scan is not on the scale of the CT scans of this set"
    assert warning.problem.found == f"p2 ({images[2].min()} to {images[2].max()})"


def test_sets_that_are_no_ct_and_ct_alone_have_one_scale(tmp_path):
    assert check(folder(tmp_path / "ct", [ct(number) for number in range(4)])).findings == ()
    shifted = [(ct(number) + 1024).astype(np.int16) for number in range(4)]
    assert check(folder(tmp_path / "shifted", shifted)).findings == ()
    for number in range(3):
        image, label = scan(number)
        write_nifti(tmp_path / f"mri/images/p{number}.nii.gz", image)
        write_nifti(tmp_path / f"mri/labels/p{number}.nii.gz", label)
    assert check(tmp_path / "mri").findings == ()
