#!/usr/bin/env bash
# SimpleITK 2.5.7: a NIfTI-2 file is not recognised.
#
# Guess: a library that reads NIfTI-1 reads NIfTI-2 (2011) too, as nibabel does; the difference is
#        a longer header, needed for more than 32,767 voxels along an axis.
# Seen:  no reader is found for the file ("Unable to determine ImageIO reader"). The same array in
#        NIfTI-1 is read.
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
array = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), "one.nii")
nibabel.save(nibabel.Nifti2Image(array, np.eye(4)), "two.nii")
assert np.array_equal(np.asarray(nibabel.load("two.nii").dataobj), array)
assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage("one.nii")).T, array)
try:
    sitk.ReadImage("two.nii")
except RuntimeError as error:
    print("SimpleITK:", str(error).strip().splitlines()[-1])
else:
    raise SystemExit("NIfTI-2 is read: this has changed")
PYTHON
