#!/usr/bin/env bash
# SimpleITK 2.5.7: a constant beside an integer image loses its fraction before it is used.
#
# Guess: image >= 0.5 and image * 0.5 compare and multiply with 0.5, as they do for the same values
#        in numpy, and as image / 2 does, which gives floating-point numbers.
# Seen:  the constant is cast to the image's type first. With 8-bit voxels "mask >= 0.5" is true
#        everywhere, "mask < 0.5" nowhere and "image * 0.5" is all zeros; "mask > 0.5" is right by
#        luck. The same image as floats gives numpy's answers. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import operator

import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version.VersionString())
array = np.array([[0, 1, 2, 200]], np.uint8)
image = sitk.GetImageFromArray(array)


def of(function, image, constant):
    return sitk.GetArrayFromImage(function(image, constant)).ravel().tolist()


for function, constant, expected in (
    (operator.ge, 0.5, [1, 1, 1, 1]),
    (operator.lt, 0.5, [0, 0, 0, 0]),
    (operator.gt, 0.5, [0, 1, 1, 1]),
    (operator.eq, 1.5, [0, 1, 0, 0]),
    (operator.mul, 0.5, [0, 0, 0, 0]),
    (operator.truediv, 2, [0.0, 0.5, 1.0, 100.0]),
):
    seen = of(function, image, constant)
    right = function(array, constant).ravel().tolist()
    print(f"{function.__name__} {constant}: {seen}, numpy {right}")
    assert seen == expected, "this has changed"
    assert of(function, sitk.Cast(image, sitk.sitkFloat32), constant) == right
PYTHON
