#!/usr/bin/env bash
# fill-voids 2.1.2: filling holes of a 3D mask can also fill background at the volume's border.
#
# Guess: fill() fills the background that isn't connected to the border through faces, as scipy's
#        binary_fill_holes does (and a hole of one voxel is filled by both).
# Seen:  in 32 of the 4,096 masks of 2 x 2 x 3 voxels, all of which lie at the border so that there
#        are no holes, a background voxel is filled. So it is in some of 300 random masks with
#        smooth outlines, never the other way round. All 2D masks of 3 x 4 pixels are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet fill-voids==2.1.2 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import fill_voids
import numpy as np
from scipy.ndimage import binary_fill_holes, gaussian_filter

print("fill-voids", version("fill-voids"), "scipy", version("scipy"))


def masks(shape):
    """Return all masks of a shape."""
    numbers = np.arange(2 ** np.prod(shape))[:, None] >> np.arange(np.prod(shape)) & 1
    return numbers.astype(np.uint8).reshape(-1, *shape)


def filled(mask):
    """Return how many voxels fill-voids fills that are no hole, and how many it leaves."""
    seen, right = fill_voids.fill(mask) > 0, binary_fill_holes(mask)
    return np.array([(seen & ~right).sum(), (right & ~seen).sum()])


mask = np.array([[[1, 0, 1], [0, 1, 1]], [[0, 1, 1], [0, 1, 1]]], np.uint8)
print("mask  ", mask.tolist())
print("filled", fill_voids.fill(mask).tolist())
hole = np.ones((3, 3, 3), np.uint8)
hole[1, 1, 1] = 0
assert fill_voids.fill(hole).all() and binary_fill_holes(hole).all()
for shape, expected in (((2, 2, 3), 32), ((3, 2, 2), 0), ((2, 3, 2), 0), ((3, 4), 0)):
    wrong = sum(filled(each).any() for each in masks(shape))
    print(shape, f"wrong in {wrong} of {len(masks(shape))} masks")
    assert wrong == expected, "this has changed"

random = np.random.default_rng(0)
smooth = [gaussian_filter(random.random(random.integers(8, 30, 3)), 0.7) for _ in range(300)]
counts = np.array([filled((each > np.quantile(each, 0.3)).astype(np.uint8)) for each in smooth])
print(f"smooth: wrong in {(counts.sum(1) > 0).sum()} of 300, voxels {counts.sum(0).tolist()}")
assert counts[:, 0].sum() > 0 and counts[:, 1].sum() == 0, "this has changed"
PYTHON
