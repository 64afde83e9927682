#!/usr/bin/env bash
# trimesh 5.2.0: the surface of a voxel grid ignores the grid's place and its voxels' size.
#
# Guess: VoxelGrid(mask, transform=affine).marching_cubes lies in millimetres, as the same grid's
#        volume, bounds, points and as_boxes() do.
# Seen:  its vertices are counted in voxels from the array's corner. For voxels of 1 x 2 x 3 mm the
#        volume is that of voxels of 1 mm: 40 instead of 241, where the boxes have 270. After
#        surface.apply_transform(grid.transform) it is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet trimesh==5.2.0 scikit-image==0.26.0 scipy==1.17.1 \
    numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import trimesh
from trimesh.voxel import VoxelGrid

print("trimesh", trimesh.__version__)
mask = np.zeros((6, 7, 8), bool)
mask[1:4, 2:5, 1:6] = True
for sides, origin in (((1, 1, 1), (0, 0, 0)), ((1, 2, 3), (0, 0, 0)), ((2, 2, 2), (10, 20, 30))):
    affine = np.diag([*sides, 1.0])
    affine[:3, 3] = origin
    grid = VoxelGrid(mask, transform=affine)
    boxes, surface = grid.as_boxes(), grid.marching_cubes
    moved = surface.copy()
    moved.apply_transform(affine)
    print(f"voxels {sides} from {origin}: grid {grid.volume:.0f} mm3", end=", ")
    print(f"boxes {boxes.volume:.0f}, surface {surface.volume:.1f}, moved {moved.volume:.1f}")
    print(f"    boxes {boxes.bounds.tolist()}, surface {surface.bounds.tolist()}")
    assert np.allclose(boxes.bounds, grid.bounds) and np.allclose(moved.bounds, grid.bounds)
    assert np.isclose(boxes.volume, grid.volume) and np.isclose(grid.volume, 45 * np.prod(sides))
    assert 0.85 < moved.volume / grid.volume < 1
    assert surface.bounds.tolist() == [[0.5, 1.5, 0.5], [3.5, 4.5, 5.5]], "this has changed"
PYTHON
