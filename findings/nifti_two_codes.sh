#!/usr/bin/env bash
# SimpleITK 2.5.7 and nibabel 5.4.2: a NIfTI file with two transforms lies in two places.
#
# Guess: of a file that has both a qform (the scanner's axes) and an sform (say, those of a template
#        it was aligned with) both libraries use the sform, as most tools prefer it.
# Seen:  nibabel uses the sform if its code is above 0. SimpleITK uses it only if its code is 1
#        (scanner) or there is no qform: with the code 2, 3 or 4 (aligned, Talairach, MNI) it uses
#        the qform. So in 12 of the 16 pairs of codes one library's millimetres are not the other's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 nibabel==5.4.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import nibabel
import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version.VersionString(), "nibabel", nibabel.__version__)
scanner, template = np.diag([2.0, 2, 2, 1]), np.diag([2.0, 2, 2, 1])
scanner[:3, 3], template[:3, 3] = (10, 20, 30), (-40, 50, 60)


def named(first_voxel):
    """Return the transform that puts the first voxel there."""
    names = {"qform": scanner, "sform": template}
    (name,) = [name for name, affine in names.items() if np.allclose(affine[:3, 3], first_voxel)]
    return name


def used(qform_code, sform_code):
    """Return which transform nibabel and SimpleITK use."""
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), None)
    image.set_qform(scanner, qform_code)
    image.set_sform(template, sform_code)
    nibabel.save(image, "both.nii")
    origin = np.array(sitk.ReadImage("both.nii").GetOrigin())
    return named(nibabel.load("both.nii").affine[:3, 3]), named(origin * (-1, -1, 1))


for sform_code in range(1, 5):
    seen = {used(qform_code, sform_code) for qform_code in range(1, 5)}
    print(f"sform code {sform_code}, any qform code: nibabel and SimpleITK use", *seen.copy().pop())
    assert seen == {("sform", "sform" if sform_code == 1 else "qform")}, "this has changed"
    assert used(0, sform_code) == ("sform", "sform") and used(sform_code, 0) == ("qform", "qform")
PYTHON
