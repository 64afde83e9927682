#!/usr/bin/env bash
# MONAI 1.6.1: simulated low resolution shifts the image against its label, always the same way.
#
# Guess: RandSimulateLowResolution, which leaves the label alone, blurs an image in place: a ramp
#        has steps that go up and down alike, and keeps its mean.
# Seen:  content moves towards the end of every axis by 0.5 voxels for zooms of 0.5 to 0.9 in the
#        default range, and by 1.5 for 0.25: downsampling (mode "nearest") takes the voxel at a
#        block's start, and upsampling puts it in the block's middle. With
#        downsample_mode="area" or "trilinear" it stays in place.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet monai==1.6.1 torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import monai
import torch
from monai.transforms import RandSimulateLowResolution

print("MONAI", monai.__version__, "torch", torch.__version__)
ramp = torch.arange(60.0).expand(1, 60, 60, 60)  # a voxel's value is its place on the last axis
for zoom, expected in ((0.9, 0.5), (0.8, 0.5), (0.75, 0.5), (0.5, 0.5), (0.25, 1.5)):
    moved = {}
    for mode in ("nearest", "area", "trilinear"):
        low = RandSimulateLowResolution(prob=1, zoom_range=(zoom, zoom), downsample_mode=mode)
        for axes in ((1, 2, 3), (3, 2, 1)):  # the ramp along the last axis and along the first
            image = ramp.permute(0, *axes).contiguous()
            change = (image - low(image)).permute(0, *axes)[..., 10:-10]
            moved[mode] = round(change.mean().item(), 2) + 0.0
    print(f"zoom {zoom}: moved by", moved, "voxels")
    assert abs(moved["nearest"] - expected) < 0.02, "this has changed"
    assert abs(moved["area"]) < 0.02 and abs(moved["trilinear"]) < 0.02
PYTHON
