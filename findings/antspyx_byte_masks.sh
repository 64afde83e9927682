#!/usr/bin/env bash
# antspyx 0.6.3: masks of bytes, as a comparison makes them, are not dilated, and thresholded to 0.
#
# Guess: `mask = image > 0.5` can be given to ants.morphology, ants.label_clusters and
#        ants.threshold_image as a mask of the same values in float can.
# Seen:  the comparison gives an "unsigned char" image. Dilation and erosion give it back as it is,
#        thresholding gives 0 everywhere, so label_clusters finds nothing. There is no message.
#        mask.clone("float") gives what one expects.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet antspyx==0.6.3 scipy==1.15.3 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import ants
import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, generate_binary_structure

print("antspyx", version("antspyx"))
array = np.zeros((12, 12, 12), np.float32)
array[1:4, 1:4, 1:4] = array[6:11, 6:11, 6:11] = 1  # 27 and 125 voxels
ball = generate_binary_structure(3, 2)  # ITK's of radius 1
mask = ants.from_numpy(array) > 0.5
assert mask.pixeltype == "unsigned char" and np.array_equal(mask.numpy(), array)
right = {
    "dilate": binary_dilation(array, ball).sum(),
    "erode": binary_erosion(array, ball).sum(),
    "threshold_image": array.sum(),
    "label_clusters": 1 * 125 + 2 * 27,  # the larger one is 1
}


def seen(image):
    """Return the sums of what is made of a mask."""
    results = {name: ants.morphology(image, name, 1, "binary") for name in ("dilate", "erode")}
    results["threshold_image"] = ants.threshold_image(image, 0.5, 1.5)
    results["label_clusters"] = ants.label_clusters(image, 5, 0.5, 1.5)
    return {name: float(image.numpy().sum()) for name, image in results.items()}


print("right", {name: float(value) for name, value in right.items()})
print("float", seen(mask.clone("float")))
print("bytes", seen(mask))
assert seen(mask.clone("float")) == right
unchanged = {"dilate": 152, "erode": 152, "threshold_image": 0, "label_clusters": 0}
assert seen(mask) == unchanged, "this has changed"
PYTHON
