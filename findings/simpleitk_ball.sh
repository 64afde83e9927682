#!/usr/bin/env bash
# SimpleITK 2.5.7 and scikit-image 0.26.0: balls of one radius are not one size.
#
# Guess: BinaryDilate with its default kernel, a ball, and radius r adds the voxels at most r away,
#        as skimage.morphology.ball(r) does: a voxel and radius 1 give 7 voxels.
# Seen:  it adds those at most r + 0.5 away: 19 voxels for radius 1, 81 instead of 33 for radius 2,
#        and in 2D the "ball" of radius 1 is the full 3 x 3 box. So "dilate by one voxel" reaches
#        diagonal neighbours, and erosion, opening and closing differ alike.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 scikit-image==0.26.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import SimpleITK as sitk
import skimage
from skimage.morphology import ball, disk, erosion

print("SimpleITK", sitk.Version.VersionString(), "scikit-image", skimage.__version__)
for dimension, element in ((2, disk), (3, ball)):
    for radius in (1, 2, 3, 5):
        middle = np.zeros((2 * radius + 3,) * dimension, np.uint8)
        middle[(radius + 1,) * dimension] = 1
        image = sitk.BinaryDilate(sitk.GetImageFromArray(middle), [radius] * dimension)
        seen = sitk.GetArrayFromImage(image) > 0
        distance = np.sqrt(((np.indices(middle.shape) - radius - 1) ** 2).sum(0))
        print(f"{dimension}D, radius {radius}: {seen.sum()} voxels,", end=" ")
        print(f"scikit-image {element(radius).sum()}")
        assert element(radius).sum() == (distance <= radius).sum()
        assert np.array_equal(seen, distance <= radius + 0.5), "this has changed"

distance = np.sqrt(((np.indices((21, 21, 21)) - 10) ** 2).sum(0))
organ = (distance <= 6.5).astype(np.uint8)
ours = sitk.GetArrayFromImage(sitk.BinaryErode(sitk.GetImageFromArray(organ), [1, 1, 1]))
theirs = erosion(organ, ball(1))
print(f"an organ of {organ.sum()} voxels, eroded by 1: {ours.sum()}, scikit-image {theirs.sum()}")
assert ours.sum() < theirs.sum(), "this has changed"
PYTHON
