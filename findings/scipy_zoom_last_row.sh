#!/usr/bin/env bash
# scipy 1.17.1: zoom() to some sizes ends in a row of zeros.
#
# Guess: scipy.ndimage.zoom(slice, 224 / rows, order=1) ends in the slice's last row, as its first
#        row is the slice's first: the grids of both are laid over each other end to end.
# Seen:  for 26 of the sizes up to 599, among them 229 to 232 and 512, the last row is 0, whatever
#        the order of interpolation. Its coordinate is a rounding error beyond the image, and the
#        default mode ("constant") is 0 there. So a CT slice of 512 x 512 gets a black row and a
#        black column, and a mask loses them. To 128, 256 and 512 it never happens, and with
#        mode="nearest" the last row is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import scipy
from scipy.ndimage import zoom

print("scipy", scipy.__version__)


def ends_in_zero(size, target, order, **how):
    """Return whether a line of ones, zoomed from one size to another, ends in 0."""
    line = zoom(np.ones(size), target / size, order=order, **how)
    assert line.shape == (target,) and np.allclose(line[:-1], 1)
    return abs(line[-1]) < 0.5


for target, expected in ((128, 0), (192, 38), (224, 26), (256, 0), (320, 38), (512, 0)):
    counts = []
    for order in (0, 1, 3):
        zeros = [size for size in range(2, 600) if ends_in_zero(size, target, order)]
        counts.append(len(zeros))
        nearest = (ends_in_zero(size, target, order, mode="nearest") for size in zeros)
        assert not any(nearest), "this has changed"
    print(f"to {target}: zeros from {counts[0]} of the sizes 2 to 599,", zeros[-5:])
    assert counts == [expected] * 3, "this has changed"

scan = np.full((512, 512), 100, np.int16)
small = zoom(scan, 224 / 512, order=1)
print("a slice of 100, 512 x 512, zoomed to", small.shape, "ends in", small[-3:, 0].tolist())
right = np.full((224, 224), 100)
right[-1] = right[:, -1] = 0
assert np.array_equal(small, right), "this has changed"
PYTHON
