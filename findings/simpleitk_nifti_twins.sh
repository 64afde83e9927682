#!/usr/bin/env bash
# SimpleITK 2.5.7: of scan.nii and scan.nii.gz in one folder only the first one's voxels are read.
#
# Guess: ReadImage("scan.nii.gz") reads that file and no other, header and voxels.
# Seen:  the header comes from scan.nii.gz, the voxels from scan.nii, where such a file lies beside
#        it: an image that neither file holds, without a word. nibabel reads what it was asked for.
#        So a label that was once unpacked for a look hides all later versions of the packed one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 nibabel==5.4.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk

print("SimpleITK", sitk.Version.VersionString(), "nibabel", nibabel.__version__)


def read(path):
    """Return the value of all voxels and the distance of slices, by each library."""
    ours, theirs = nibabel.load(path), sitk.ReadImage(path)
    values = np.unique(np.asarray(ours.dataobj)), np.unique(sitk.GetArrayViewFromImage(theirs))
    spacings = float(ours.header.get_zooms()[2]), theirs.GetSpacing()[2]
    return [(each.tolist(), spacing) for each, spacing in zip(values, spacings)]


for name, value, spacing in (("scan.nii", 1, 1.0), ("scan.nii.gz", 2, 3.0)):
    array, affine = np.full((4, 5, 6), value, np.int16), np.diag([1, 1, spacing, 1])
    nibabel.save(nibabel.Nifti1Image(array, affine), name)
    print("written", name, ([value], spacing))

ours, theirs = read("scan.nii.gz")
print("scan.nii.gz beside scan.nii: nibabel", ours, "SimpleITK", theirs)
assert ours == ([2], 3.0) and theirs == ([1], 3.0), "this has changed"
Path("scan.nii").unlink()
ours, theirs = read("scan.nii.gz")
print("scan.nii.gz alone:           nibabel", ours, "SimpleITK", theirs)
assert ours == theirs == ([2], 3.0)
PYTHON
