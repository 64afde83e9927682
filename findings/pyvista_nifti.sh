#!/usr/bin/env bash
# pyvista 0.49.1: NIfTI values are read unscaled, and slices of a left-handed file in reverse.
#
# Guess: pyvista.read("scan.nii") gives the values in the file's units, as nibabel's get_fdata()
#        does, in the order of the file, each at its place by the header.
# Seen:  the values are the stored integers: probabilities saved as int16 come as -32768 to 32767.
#        Where the header's axes are left-handed, as for scans whose first axis points to the left,
#        the slices come in reverse. Of the place only the spacing is kept: the origin is 0 and the
#        direction the identity for both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyvista==0.49.1 vtk==9.7.2 nibabel==5.4.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import nibabel
import numpy as np
import pyvista

print("pyvista", pyvista.__version__, "nibabel", nibabel.__version__)
random = np.random.default_rng(0)
probabilities = random.random((4, 5, 6))
for side in (2, -2):
    affine = np.diag([side, 3, 4, 1.0])
    affine[:3, 3] = 10, 20, 30
    image = nibabel.Nifti1Image(probabilities, affine)
    image.set_data_dtype(np.int16)
    nibabel.save(image, "scan.nii")
    saved = nibabel.load("scan.nii")
    assert np.allclose(saved.get_fdata(), probabilities, atol=1e-4)  # nibabel scales
    stored = saved.dataobj.get_unscaled()
    grid = pyvista.read("scan.nii")
    values = np.asarray(grid.active_scalars).reshape(grid.dimensions, order="F")
    print(f"first axis {side} mm: values {values.min()} to {values.max()}", end=", ")
    print(f"nibabel {saved.get_fdata().min():.2f} to {saved.get_fdata().max():.2f}", end="; ")
    print("origin", grid.origin, "direction", grid.direction_matrix.diagonal().tolist(), end=", ")
    print("slices as stored:", np.array_equal(values, stored))
    assert np.array_equal(values, stored if side > 0 else stored[..., ::-1]), "this has changed"
    assert values.dtype == np.int16 and grid.spacing == (2, 3, 4), "this has changed"
    assert grid.origin == (0, 0, 0), "this has changed"
    assert np.array_equal(grid.direction_matrix, np.eye(3)), "this has changed"
PYTHON
