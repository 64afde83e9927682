#!/usr/bin/env bash
# connected-components-3d 4.1.1: a boolean 2D mask gets labels on its background.
#
# Guess: a boolean mask gives the same components as the same mask stored as uint8, since both hold
#        0 and 1 only; the README of the library counts booleans among the types it accepts.
# Seen:  with 8 neighbours, a boolean mask can get a component's number on pixels outside the mask,
#        while the number of components is right. 8 of the 512 masks of 3 x 3 pixels are wrong,
#        96 of the 4,096 with 4 rows and 3 columns, and none with 4 columns; as uint8 none is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet connected-components-3d==4.1.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import cc3d
import numpy as np

print("connected-components-3d", version("connected-components-3d"))


def outside(mask):
    """Count the pixels outside a mask that belong to a component."""
    components = cc3d.connected_components(mask, connectivity=8)
    return int(np.count_nonzero(components[np.asarray(mask) == 0]))


mask = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 1]])
print("the mask:", mask.tolist())
print("as bool: ", cc3d.connected_components(mask.astype(bool), connectivity=8).tolist())
print("as uint8:", cc3d.connected_components(mask.astype(np.uint8), connectivity=8).tolist())

for (rows, columns), expected in {(3, 3): 8, (4, 3): 96, (3, 4): 0, (4, 4): 0}.items():
    pixels = rows * columns
    masks = [
        np.array([number >> bit & 1 for bit in range(pixels)]).reshape(rows, columns)
        for number in range(2**pixels)
    ]
    as_bool = sum(outside(each.astype(bool)) > 0 for each in masks)
    as_uint8 = sum(outside(each.astype(np.uint8)) > 0 for each in masks)
    print(f"{rows} x {columns}: background labelled in {as_bool} as bool, {as_uint8} as uint8")
    assert (as_bool, as_uint8) == (expected, 0), "this has changed"
PYTHON
