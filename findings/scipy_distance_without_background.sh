#!/usr/bin/env bash
# scipy 1.17.1: the distance to a background that isn't there is the distance to a voxel outside.
#
# Guess: distance_transform_edt of a mask without a background voxel (a patch inside an organ) gives
#        infinity, an error, or a warning: there is no voxel to be near to.
# Seen:  finite distances to the voxel (-1, 0), outside the array, growing from the first row to the
#        last. Flipped, the same patch has other distances. A signed distance map of such a patch
#        looks like a slope. The edt package gives infinity.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scipy==1.17.1 edt==3.1.2 numpy==2.4.6
"$folder/venv/bin/python" -W error - <<'PYTHON'
from importlib.metadata import version

import edt
import numpy as np
import scipy
from scipy.ndimage import distance_transform_edt

print("scipy", scipy.__version__, "edt", version("edt"))
for shape in ((3, 4), (5, 6, 7)):
    inside = np.ones(shape, np.uint8)
    distances, nearest = distance_transform_edt(inside, return_indices=True)
    print(shape, "nearest background", nearest.reshape(len(shape), -1).T[-1].tolist(), end=", ")
    print("along the first axis", distances[(slice(None),) + (0,) * (len(shape) - 1)].tolist())
    grid = np.indices(shape)
    grid[0] += 1
    assert np.allclose(distances, np.sqrt((grid**2).sum(0))), "this has changed"
    assert np.isinf(edt.edt(inside)).all(), "this has changed"
    inside[(0,) * len(shape)] = 0  # one voxel of background, and both agree
    assert np.allclose(distance_transform_edt(inside), edt.edt(inside))
PYTHON
