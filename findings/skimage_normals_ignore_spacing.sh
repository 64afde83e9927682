#!/usr/bin/env bash
# scikit-image 0.26.0: marching_cubes scales vertices by the spacing, but not their normals.
#
# Guess: with spacing=(3, 0.7, 0.7) vertices and normals are both in millimetres, so that a normal
#        is at right angles to the surface there.
# Seen:  the normals are those of the voxel grid, the same numbers for every spacing. On an
#        ellipsoid sampled with 3 x 0.7 x 0.7 mm half are more than 20 degrees off, and some 40.
#        With equal spacings they are right to 4 degrees. Whoever shades a surface, moves it along
#        its normals or measures along them goes wrong for scans with thick slices.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-image==0.26.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import skimage
from skimage.measure import marching_cubes

print("scikit-image", skimage.__version__)
inside = 8.5 - np.sqrt(((np.indices((21, 21, 21)) - 10) ** 2).sum(0))  # a ball of voxels


def degrees(vectors, others):
    """Return the angles between lines along these vectors."""
    cosines = (vectors * others).sum(1)
    cosines /= np.linalg.norm(vectors, axis=1) * np.linalg.norm(others, axis=1)
    return np.degrees(np.arccos(np.clip(np.abs(cosines), 0, 1)))


_, _, on_the_grid, _ = marching_cubes(inside, 0)
for spacing in ((1, 1, 1), (2, 2, 2), (2, 1, 1), (3, 0.7, 0.7)):
    sides = np.array(spacing)
    vertices, _, normals, _ = marching_cubes(inside, 0, spacing=spacing)
    outward = (vertices - 10 * sides) / sides**2  # the gradient of the ellipsoid's equation
    scaled = normals / sides  # a gradient scales by the inverse
    off, mended = degrees(normals, outward), degrees(scaled, outward)
    print(f"spacing {spacing}: off by {np.median(off):.1f} (median) to {off.max():.1f} degrees")
    print(f"    divided by the spacing: {np.median(mended):.1f} to {mended.max():.1f} degrees")
    assert np.allclose(normals, on_the_grid), "this has changed"
    assert (np.median(off) > 10) == (len(set(spacing)) > 1), "this has changed"
    assert np.median(mended) < 2
PYTHON
