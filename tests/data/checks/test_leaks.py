"""What is in a folder twice, in training and in test: images saved again, and patients."""

import numpy as np
import pytest
from tests.helpers.made_folder import make_folder, write_nifti

from crossview.data.checks.dataset import check

SHAPE = (24, 20, 12)


def values(number, shape=SHAPE):
    random = np.random.default_rng(number)
    return random.normal(1000, 200, shape).round().clip(1, None)


def mask(number, shape=SHAPE):
    label = np.zeros(shape, np.uint8)
    label[4:12, 3 : 8 + number, 2:9] = 1
    return label


def write(root, name, image, label):
    write_nifti(root / f"images/{name}.nii.gz", image)
    write_nifti(root / f"labels/{name}.nii.gz", label)


@pytest.fixture
def root(tmp_path):
    """Four labelled scans a0 to a3."""
    for number in range(4):
        write(tmp_path, f"a{number}", values(number).astype(np.int16), mask(number))
    return tmp_path


def rescaled(image):
    return (image * 32767 / image.max()).round().astype(np.int16)


def as_bytes(image):
    return (image / image.max() * 255).round().astype(np.uint8)


def as_floats(image):
    return ((image - image.mean()) / image.std()).astype(np.float32)


def padded(image):
    return np.pad(image, ((2, 3), (0, 4), (1, 1))).astype(np.int16)


def evened(image):
    """Return what dcm2niix adds beside a series that lacks a slice: the slice is interpolated."""
    between = ((image[..., 5] + image[..., 6]) / 2).round()
    return np.insert(image, 6, between, axis=-1).astype(np.int16)


@pytest.mark.parametrize("again", [rescaled, as_bytes, as_floats, padded, evened])
def test_a_test_scan_that_is_a_training_scan_saved_again(root, again):
    image = again(values(1))
    write(root, "other", image, mask(9, image.shape))
    assert "show the same scans" in check(root).warnings[0].problem.what
    (root / "split.toml").write_text('test = ["other"]\n')
    (error,) = check(root).errors
    assert error.problem.what == (
        "2 images show the same scans as others, saved with other intensities, margins or slices, "
        "across training, validation and test"
    )
    assert error.problem.found == "a1 = other"
    assert error.cases == ("a1", "other")


def test_a_copy_with_its_label_is_told_once(root):
    write(root, "other", as_bytes(values(1)), mask(1))
    assert ["same scans" in found.problem.what for found in check(root).findings] == [True]


def test_names_of_dcm2niix_tell_the_patient(root):
    image = evened(values(7))[..., ::2]  # no slice is shared enough to tell
    write(root, "a1_Eq_1", image, mask(2, image.shape))
    (root / "split.toml").write_text('test = ["a1_Eq_1"]\n')
    (warning,) = check(root).findings
    assert warning.problem.what == (
        "1 patient may be in more than one of training, validation and test"
    )
    assert warning.problem.found == "a1 (training: a1; test: a1_Eq_1)"


@pytest.mark.parametrize(
    ("form", "patient"),
    [
        ("SC-HF-I-{}-IM-0001-{:04}", "SC-HF-I-2"),
        ("p{}_s{:03}", "p2"),
        ("patient{}_slice_{:02}", "patient2"),
    ],
)
def test_slices_of_one_patient_in_training_and_test(tmp_path, form, patient):
    names = [form.format(*divmod(number, 4)) for number in range(4, 12)]
    for number, name in enumerate(names):
        write(tmp_path, name, values(number).astype(np.int16), mask(number))
    listed = ", ".join(f'"{name}"' for name in names[6:])
    (tmp_path / "split.toml").write_text(f"test = [{listed}]\n")
    (warning,) = check(tmp_path).findings
    assert warning.severity == "warning"
    assert warning.cases == tuple(names[4:])
    assert warning.problem.found == (
        f"{patient} (training: {names[4]} and 1 more; test: {names[6]} and 1 more)"
    )


def test_scans_of_their_own_are_no_leak(tmp_path):
    root = make_folder(tmp_path, labelled=6)
    (root / "split.toml").write_text('test = ["case04", "case05"]\n')
    assert check(root).findings == ()
