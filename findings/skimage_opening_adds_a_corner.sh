#!/usr/bin/env bash
# scikit-image 0.26.0: opening a mask of small objects adds pixels in the array's first corner.
#
# Guess: isotropic_opening removes what is narrower than the ball and adds nothing: a mask of one
#        pixel becomes empty. Dilating an empty mask leaves it empty.
# Seen:  the small object is removed, and pixels around the first corner are set, as many as the
#        radius reaches: 1 in 2D for a radius of 1, 73 in 3D for 5. So it is for every mask that
#        the erosion empties. Eroding or closing a mask without background clears that corner. The
#        footprint's functions (opening with ball(1)) do neither, and an object that survives the
#        erosion is opened rightly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" -W error - <<'PYTHON'
import numpy as np
import scipy
import skimage
from skimage import morphology

print("scikit-image", skimage.__version__, "scipy", scipy.__version__)


def corner(shape, radius):
    """Return the voxels within a radius of the one before the first, along the first axis."""
    grid = np.indices(shape)
    grid[0] += 1
    return (grid**2).sum(0) <= radius**2


for shape, radius in (((8, 8), 1), ((9, 9), 3), ((12, 13, 14), 5)):
    nothing, small = np.zeros(shape, bool), np.zeros(shape, bool)
    middle = tuple(side // 2 for side in shape)
    small[middle] = True
    opened = morphology.isotropic_opening(small, radius)
    print(f"{shape}, radius {radius}: one voxel opened: {opened.sum()}", end=" ")
    print(f"voxels, the first at {np.argwhere(opened)[0].tolist()}", end=", ")
    ball = morphology.disk(radius) if len(shape) == 2 else morphology.ball(radius)
    print("with a footprint", morphology.opening(small, ball).sum())
    assert not morphology.opening(small, ball).any()
    assert np.array_equal(opened, corner(shape, radius)), "this has changed"
    dilated = morphology.isotropic_dilation(nothing, radius)
    assert np.array_equal(dilated, corner(shape, radius)), "this has changed"
    for function in (morphology.isotropic_closing, morphology.isotropic_erosion):
        left = function(~nothing, radius)
        print(f"    without background {function.__name__} clears {(~left).sum()}")
        assert np.array_equal(~left, corner(shape, radius)), "this has changed"
    large = small.copy()
    large[tuple(slice(place - 1, place + 2) for place in middle)] = True
    survives = morphology.isotropic_opening(large, 1)
    assert survives.any() and not (survives & ~large).any()
PYTHON
