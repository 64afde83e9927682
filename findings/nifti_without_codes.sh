#!/usr/bin/env bash
# SimpleITK 2.5.7 and nibabel 5.4.2: a NIfTI file without sform and qform lies in two places.
#
# Guess: with both codes 0 ("unknown") a reader either refuses, or takes the spacing alone by one
#        rule, so that voxel (0, 0, 0) lies in the same place in both libraries.
# Seen:  SimpleITK puts the first voxel at the origin, axes towards left and back (LPS identity).
#        nibabel puts the middle of the scan at the origin, with the first axis towards the left.
#        A label written by one for a scan read by the other is shifted by half the scan.
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
image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), None)
image.header["pixdim"][1:4] = 2
image.header["sform_code"] = image.header["qform_code"] = 0
nibabel.save(image, "plain.nii")

ours, theirs = nibabel.load("plain.nii").affine, sitk.ReadImage("plain.nii")
lps = np.array(theirs.TransformIndexToPhysicalPoint((0, 0, 0)))
first = lps * (-1, -1, 1)  # in nibabel's axes: right, front, up
print("voxel (0, 0, 0): nibabel", ours[:3, 3], "SimpleITK", first)
assert np.allclose(ours, [[-2, 0, 0, 3], [0, 2, 0, -4], [0, 0, 2, -5], [0, 0, 0, 1]]), "changed"
assert np.allclose(first, 0), "this has changed"
assert np.allclose(theirs.GetDirection(), np.eye(3).ravel()), "this has changed"
PYTHON
