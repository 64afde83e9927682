#!/usr/bin/env bash
# torch 2.13.0 (CPU): bilinear resizing with antialias of an image one pixel wide repeats one value.
#
# Guess: F.interpolate(..., mode="bilinear", antialias=True) treats both axes alike, so resizing the
#        rows of a column (12 x 1 -> 6 x 1) equals resizing its transpose (1 x 12 -> 1 x 6).
# Seen:  the column becomes six times its first value, the row is right. From a width of two on
#        both agree. So a volume may not be resized axis by axis as images of width 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.nn.functional import interpolate

print("torch", torch.__version__)


def resized(image, size):
    return interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)


for width in (1, 2):
    column = torch.arange(12.0).reshape(1, 1, 12, 1).repeat(1, 1, 1, width)
    as_rows = resized(column, (6, width))[0, 0, :, 0]
    as_columns = resized(column.transpose(2, 3).contiguous(), (width, 6))[0, 0, 0]
    print(f"width {width}: as it is {as_rows.tolist()}")
    print(f"         transposed {as_columns.tolist()}")
    right = torch.allclose(as_rows, as_columns)
    assert right == (width > 1), "this has changed"
    assert width > 1 or bool((as_rows == as_rows[0]).all()), "this has changed"
PYTHON
