#!/usr/bin/env bash
# zmesh 1.15.0: closing the meshes at the volume's border moves all of them by a voxel.
#
# Guess: Mesher.mesh(labels, close=True) adds the faces at the border that close=False leaves out,
#        and is the same mesh for an object inside the volume.
# Seen:  every vertex lies one voxel further along all three axes, for 2 x 3 x 5 mm voxels by
#        (2, 3, 5) mm. The shape is the same. An object that touches the border is closed, as
#        far off.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet zmesh==1.15.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import zmesh

print("zmesh", version("zmesh"))


def meshed(labels, sides, close):
    """Return the vertices of label 1, sorted, unsimplified."""
    mesher = zmesh.Mesher(sides)
    mesher.mesh(labels, close=close)
    mesh = mesher.get(1, reduction_factor=0)
    return np.unique(mesh.vertices, axis=0)


inside, whole = np.zeros((10, 10, 10), np.uint32), np.ones((4, 4, 4), np.uint32)
inside[2:5, 3:7, 4:9] = 1
for sides in ((1.0, 1.0, 1.0), (2.0, 3.0, 5.0)):
    opened, closed = (meshed(inside, sides, close) for close in (False, True))
    print(f"voxels {sides}: open {opened.min(0)} to {opened.max(0)}", end=", ")
    print(f"closed {closed.min(0)} to {closed.max(0)}")
    first, last = np.array([2, 3, 4]), np.array([4, 6, 8])  # centres of voxels
    assert np.allclose(opened.min(0), (first - 0.5) * sides)
    assert np.allclose(opened.max(0), (last + 0.5) * sides)
    assert np.allclose(closed, opened + sides), "this has changed"
    border = meshed(whole, sides, True)
    print(f"    a full volume of 4 voxels: closed {border.min(0)} to {border.max(0)}")
    assert np.allclose(border.min(0), 0.5 * np.array(sides)), "this has changed"
    assert np.allclose(border.max(0), 4.5 * np.array(sides)), "this has changed"
PYTHON
