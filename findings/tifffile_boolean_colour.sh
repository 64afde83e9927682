#!/usr/bin/env bash
# tifffile 2026.3.3: a boolean colour image does not survive its own writer and reader.
#
# Guess: imwrite(array, photometric="rgb") of a boolean array (4, 10, 3) is read back by imread as
#        it was, as boolean grey images and uint8 colour images are.
# Seen:  the writer packs eight columns of a channel into a byte (24 bytes), where a row of the
#        format holds 10 x 3 bits in turn (16 bytes). What is read back is another image. The same
#        array as uint8, and each channel alone as booleans, come back right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import tifffile

print("tifffile", tifffile.__version__)
image = np.zeros((4, 10, 3), bool)
image[1, 2, 0] = image[2, 3] = image[3, 9, 2] = True


def read_back(array, **how):
    tifffile.imwrite("image.tif", array, **how)
    return tifffile.imread("image.tif")


colour = read_back(image, photometric="rgb")
with tifffile.TiffFile("image.tif") as file:
    page = file.pages[0]
    count = sum(page.databytecounts)
print("written", int(image.sum()), "true values in", count, "bytes; read", int(colour.sum()))
assert page.bitspersample == 1 and page.samplesperpixel == 3, "this has changed"
assert count == 24 and not np.array_equal(colour, image), "this has changed"
assert np.array_equal(read_back(image.astype(np.uint8), photometric="rgb"), image)
for channel in range(3):
    assert np.array_equal(read_back(image[..., channel]), image[..., channel])
PYTHON
