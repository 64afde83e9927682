#!/usr/bin/env bash
# torch 2.13.0 (CPU): in bfloat16 the gradient of a layer norm's bias stops growing at 256.
#
# Guess: a sum over many positions is gathered in float32 and rounded once, in the backward pass as
#        in the forward one, so that 4,096 ones give 4,096 in every layer.
# Seen:  group norm, batch norm, instance norm, a linear layer and a convolution give 4,096. Layer
#        norm gives 256 per thread, as 256 + 1 is 256 in bfloat16, even if its own parameters and
#        so the gradient are float32. grid_sample gives its 2D input 64 of 1,024 per pixel. Under
#        autocast both run in float32 and are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch import nn
from torch.nn.functional import grid_sample

print("torch", torch.__version__)
torch.set_num_threads(1)
half = torch.bfloat16


def gradient(layer, image, dtype=half):
    """Return the bias' gradient of the sum of a layer's output, which counts its positions."""
    layer.to(dtype)(image.to(half)).float().sum().backward()
    return layer.bias.grad.float().unique().tolist()


image = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))
last = image.movedim(1, -1)
for name, layer, of in (
    ("group norm", nn.GroupNorm(2, 4), image),
    ("batch norm", nn.BatchNorm2d(4), image),
    ("instance norm", nn.InstanceNorm2d(4, affine=True), image),
    ("convolution", nn.Conv2d(4, 4, 3, padding=1), image),
    ("linear layer", nn.Linear(4, 4), last),
):
    seen = gradient(layer, of)
    print(f"{name:30}", seen)
    assert seen == [4096], "this has changed"
for dtype in (half, torch.float32):
    seen = gradient(nn.LayerNorm(4), last, dtype)
    print(f"layer norm, {dtype}", seen)
    assert seen == [256], "this has changed"

norm = nn.LayerNorm(4)
with torch.autocast("cpu", half):
    result = norm(last)
result.float().sum().backward()
print("layer norm under autocast", norm.bias.grad.unique().tolist())
assert norm.bias.grad.unique().tolist() == [4096]

for dtype, expected in ((torch.float32, [1024]), (half, [64])):
    pixels = torch.ones(1, 1, 2, 2, dtype=dtype, requires_grad=True)
    middle = torch.zeros(1, 64, 64, 2, dtype=dtype)  # every sample is the mean of the four pixels
    grid_sample(pixels, middle, align_corners=False).float().sum().backward()
    print("grid_sample", dtype, pixels.grad.unique().tolist())
    assert pixels.grad.unique().tolist() == expected, "this has changed"
PYTHON
