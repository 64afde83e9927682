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


@pytest.mark.parametrize("value", [32767, 9999])
def test_padding_far_above_all_measured_values(tmp_path, value):
    images = [padded(ct(number).clip(-1024, 800), value) for number in range(3)]
    (warning,) = check(folder(tmp_path, images)).findings
    assert warning.problem.what == "3 scans are padded with a value far above all others"
    expected = f"p0 ({value} in 12.50 % of the voxels, the others up to {images[0][2:].max()})"
    assert warning.problem.found.startswith(expected)


@pytest.mark.parametrize("value", [-32768, 32767])
def test_a_few_voxels_are_no_padding(tmp_path, value):
    images = [ct(number) for number in range(3)]
    images[0].reshape(-1)[:5] = value
    (warning,) = check(folder(tmp_path, images)).findings
    assert "single voxels far outside the intensity range" in warning.problem.what
    assert warning.cases == ("p0",)


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
        ((0.0, 1000.0), 9999, True),
        ((0.0, 4000.0), 4095, False),
        ((0.0, 30_000.0), 65_535, False),
        ((0.0, 100.0), 8000, False),
    ],
)
def test_a_fill_is_far_in_widths_of_the_rest(others, value, found):
    channel = np.linspace(*others, 1000, dtype=np.float32)
    channel[:100] = value
    fill = fill_of(channel)
    assert (fill is not None) == found
    if fill:
        assert (fill.value, fill.share) == (value, pytest.approx(0.1))
        assert fill.rest == (channel[100] if value < others[0] else channel[-1])


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


ASIDE = {
    "stored values": lambda image: image + 1024,
    "stored values, padded": lambda image: padded(image + 1024, -2000).astype(np.float32),
    "a window as bytes": lambda image: ((image.clip(-160, 240) + 160) * 255 / 400).round(),
    "a narrow window": lambda image: image.clip(-40, 80),
    "standardised": lambda image: (image - image.mean()) / image.std(),
    "thousandths": lambda image: image / 1000,
    "the intercept twice": lambda image: image - 1024,
    "the slope twice": lambda image: image * 4,
}

ALIKE = {
    "cropped to a body with fat": lambda image: np.where(image < -900, image + 900, image),
    "a wide window": lambda image: image.clip(-160, 240),
    "noise below air": lambda image: np.where(image < -900, 4 * image + 3000, image),
    "padded twice": lambda image: np.pad(
        image[2:-1], ((2, 1), (0, 0), (0, 0)), constant_values=((-3024, -2048), (0, 0), (0, 0))
    ),
    "padded, with edges of interpolation": lambda image: padded(
        np.concatenate([image[:2], image[2:3] * 0 - 2000, image[3:]]), -3024
    ).astype(np.float32),
}


@pytest.mark.parametrize("aside", ASIDE.values(), ids=ASIDE)
def test_a_scan_on_another_scale_than_the_ct_of_the_set(tmp_path, aside):
    images = [ct(0), ct(1), aside(ct(2).astype(np.float32)).astype(np.float32), ct(3)]
    (warning,) = check(folder(tmp_path, images)).findings
    assert warning.problem.what == "1 scan is not on the scale of the CT scans of this set"
    assert warning.problem.found == f"p2 ({images[2].min():.7g} to {images[2].max():.7g})"


@pytest.mark.parametrize("alike", ALIKE.values(), ids=ALIKE)
def test_ct_without_air_or_with_padding_is_on_the_scale(tmp_path, alike):
    images = [ct(0), ct(1), alike(ct(2).astype(np.float32)).astype(np.float32), ct(3)]
    assert check(folder(tmp_path, images)).findings == ()


def test_sets_that_are_no_ct_and_ct_alone_have_one_scale(tmp_path):
    assert check(folder(tmp_path / "ct", [ct(number) for number in range(4)])).findings == ()
    shifted = [(ct(number) + 1024).astype(np.int16) for number in range(4)]
    assert check(folder(tmp_path / "shifted", shifted)).findings == ()
    for number in range(3):
        image, label = scan(number)
        write_nifti(tmp_path / f"mri/images/p{number}.nii.gz", image)
        write_nifti(tmp_path / f"mri/labels/p{number}.nii.gz", label)
    assert check(tmp_path / "mri").findings == ()
