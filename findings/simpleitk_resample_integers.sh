#!/usr/bin/env bash
# SimpleITK 2.5.7: resampling an integer image linearly cuts the fraction off, towards zero.
#
# Guess: sitk.Resample(image, ..., sitkLinear) of 16-bit integers gives the interpolated values
#        rounded to the nearest integer, as scipy.ndimage does.
# Seen:  2.75 becomes 2, and -9.25 becomes -9. So a CT scan resampled to another spacing is off by
#        up to one unit, upwards in air and downwards in tissue, and of a mask of ones only voxels
#        that are wholly inside are left. As floats the values are exact.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import scipy
import SimpleITK as sitk

print("SimpleITK", sitk.Version.VersionString(), "scipy", scipy.__version__)


def shifted(array):
    """Return the values a quarter of a pixel before each but the first, by SimpleITK."""
    image, nothing = sitk.GetImageFromArray(array), sitk.Transform(2, sitk.sitkIdentity)
    size = array.shape[1] - 1, array.shape[0]
    moved = sitk.Resample(image, size, nothing, sitk.sitkLinear, (0.75, 0.0))
    return sitk.GetArrayFromImage(moved)


array = np.array([[-10, -9, 0, 1, 2, 3, 10]], np.int16)
exact = array[:, :-1] * 0.25 + array[:, 1:] * 0.75
right = scipy.ndimage.shift(array, (0, -0.75), order=1)[:, :-1]
for name, values in (
    ("exact", exact),
    ("SimpleITK, floats", shifted(array.astype(np.float32))),
    ("scipy, integers", right),
    ("SimpleITK, integers", shifted(array)),
):
    print(f"{name:20}", values.ravel().tolist())
assert np.array_equal(shifted(array.astype(np.float32)), exact), "this has changed"
assert np.array_equal(right, np.round(exact)), "this has changed"
assert np.array_equal(shifted(array), np.trunc(exact)), "this has changed"

scan = np.random.default_rng(0).integers(-1000, 1000, (64, 64)).astype(np.int16)
error = shifted(scan) - (scan[:, :-1] * 0.25 + scan[:, 1:] * 0.75)
air, tissue = (float(error[sign * shifted(scan) > 0].mean()) for sign in (-1, 1))
print(f"mean error of a random scan: {air:+.2f} below 0, {tissue:+.2f} above")
assert 0.3 < air < 0.5 and -0.5 < tissue < -0.3, "this has changed"
PYTHON
