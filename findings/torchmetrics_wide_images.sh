#!/usr/bin/env bash
# torchmetrics 1.9.0: the Hausdorff distance of masks depends on empty columns beside them.
#
# Guess: hausdorff_distance of two masks stays as it is if both get empty columns at their right.
# Seen:  for a square image it is right. With two columns more it is wrong without a word for all of
#        200 pairs of boxes, as 9 instead of 3, and with two rows more it raises an IndexError.
#        Places in the image are counted by its rows instead of its columns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torchmetrics==1.9.0 torch==2.13.0 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import torch
import torchmetrics
from scipy.ndimage import binary_erosion, distance_transform_edt
from torchmetrics.functional.segmentation import hausdorff_distance

print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__)


def edge(mask):
    return mask & ~binary_erosion(mask)


def right(one, other):
    """Return the Hausdorff distance of the edges of two masks, by scipy."""
    there = distance_transform_edt(~edge(other))[edge(one)]
    back = distance_transform_edt(~edge(one))[edge(other)]
    return max(there.max(), back.max())


def seen(one, other):
    masks = (torch.tensor(each)[None, None].int() for each in (one, other))
    return hausdorff_distance(*masks, num_classes=1, include_background=True).item()


def box(shape, top, left, height, width):
    mask = np.zeros(shape, bool)
    mask[top : top + height, left : left + width] = True
    return mask


for shape in ((14, 14), (14, 16)):
    pair = box(shape, 2, 2, 4, 4), box(shape, 2, 5, 4, 4)
    print(f"boxes 3 apart in {shape}: {seen(*pair):.2f}, scipy {right(*pair):.2f}")
    random, wrong = np.random.default_rng(0), 0
    for _ in range(200):
        pair = [box(shape, *random.integers(1, 6, 2), *random.integers(2, 6, 2)) for _ in range(2)]
        wrong += abs(seen(*pair) - right(*pair)) > 1e-3
    print(f"random boxes in {shape}: wrong for {wrong} of 200")
    assert (wrong == 0) == (shape == (14, 14)) and (wrong == 0 or wrong == 200), "this has changed"
try:
    seen(box((16, 14), 2, 2, 4, 4), box((16, 14), 2, 5, 4, 4))
except IndexError as error:
    print("boxes in (16, 14):", error)
else:
    raise SystemExit("this has changed: no error for a tall image")
PYTHON
