#!/usr/bin/env bash
# MONAI 1.6.1: smoothing darkens the borders of an image, and sharpening makes them glow.
#
# Guess: GaussianSmooth treats borders as scipy.ndimage.gaussian_filter does by default, by
#        reflection, so that an image of one value stays as it is.
# Seen:  zeros are assumed around the image: 100 becomes 36 in the corners of a 2D image and 21 in
#        those of a volume (sigma 2). GaussianSharpen turns 100 into 419 in a corner. Neither has an
#        option for borders, and the random versions for training do the same at every border of a
#        patch. MedianSmooth leaves the image as it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet monai==1.6.1 torch==2.13.0 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import monai
import numpy as np
import torch
from monai.transforms import GaussianSharpen, GaussianSmooth, MedianSmooth, RandGaussianSmooth
from scipy.ndimage import gaussian_filter

print("MONAI", monai.__version__, "torch", torch.__version__)
plane, volume = torch.full((1, 24, 24), 100.0), torch.full((1, 24, 24, 24), 100.0)
always = RandGaussianSmooth((2, 2), (2, 2), (2, 2), prob=1)
for name, transform, image, expected in (
    ("smooth 2D", GaussianSmooth(2.0), plane, 35.8),
    ("smooth 3D", GaussianSmooth(2.0), volume, 21.5),
    ("smooth 3D, random", always, volume, 21.5),
    ("sharpen 2D", GaussianSharpen(), plane, 418.8),
    ("median 2D", MedianSmooth(1), plane, 100.0),
):
    result = np.asarray(transform(image))[0]
    corner, middle = float(result[(0,) * result.ndim]), float(result[(12,) * result.ndim])
    print(f"{name:18} corner {corner:.1f}, middle {middle:.1f}")
    assert abs(corner - expected) < 0.1 and abs(middle - 100) < 1, "this has changed"
scipys = gaussian_filter(plane[0].numpy(), 2.0)
print(f"scipy 2D           corner {scipys[0, 0]:.1f}, middle {scipys[12, 12]:.1f}")
assert np.allclose(scipys, 100)
PYTHON
