#!/usr/bin/env bash
# SimpleITK 2.5.7 and nibabel 5.4.2: the unit of a NIfTI file's space changes the spacing in one only.
#
# Guess: both readers give the numbers of the header and leave its unit (xyzt_units) to the caller,
#        so a scan of 500 micrometres has the spacing 500 in both.
# Seen:  nibabel gives 500. SimpleITK gives 0.5: it divides spacing and origin by 1,000. Written
#        again by SimpleITK the file has the unit millimetre, and nibabel gives 0.5 too. So a scan
#        and its label, one of them saved again, differ by a factor of 1,000 in a reader that takes
#        the affine as it stands.
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
affine = np.diag([500.0, 500.0, 500.0, 1.0])
affine[:3, 3] = 1000, 2000, 3000
image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), affine)
image.header.set_xyzt_units("micron")
nibabel.save(image, "micron.nii")

ours, theirs = nibabel.load("micron.nii"), sitk.ReadImage("micron.nii")
print("nibabel  ", ours.header.get_zooms(), ours.affine[:3, 3])
print("SimpleITK", theirs.GetSpacing(), theirs.GetOrigin())
assert np.allclose(ours.header.get_zooms(), 500), "this has changed"
assert np.allclose(theirs.GetSpacing(), 0.5), "this has changed"
assert np.allclose(theirs.GetOrigin(), (-1, -2, 3)), "this has changed"

sitk.WriteImage(theirs, "again.nii")
again = nibabel.load("again.nii")
print("written again", again.header.get_zooms(), again.header.get_xyzt_units()[0])
assert np.allclose(again.header.get_zooms(), 0.5) and again.header.get_xyzt_units()[0] == "mm"
PYTHON
