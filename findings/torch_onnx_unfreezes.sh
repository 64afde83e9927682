#!/usr/bin/env bash
# torch 2.13.0 (CPU): exporting a network to ONNX puts its frozen batch norm back into training.
#
# Guess: torch.onnx.export exports in evaluation mode and leaves each layer as it found it: a frozen
#        batch norm (norm.eval() in a network that is training) stays frozen.
# Seen:  with dynamo=False only the outermost module's mode is kept, and all inner ones are set to
#        it. So after an export in the middle of training the frozen norm counts its batches again.
#        A network in evaluation with one layer in training loses that mode in the same way.
#        torch.jit.trace and torch.export.export leave the modes alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import io

import onnx
import torch
from torch import nn

print("torch", torch.__version__, "onnx", onnx.__version__)
image = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def modes(export, outer, inner):
    """Return whether network and norm are in training after an export, and the norm's batches."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).train(outer)
    norm = network[1].train(inner)
    export(network)
    after = network.training, norm.training
    counted = int(norm.num_batches_tracked)
    network(image)
    return after, int(norm.num_batches_tracked) - counted


def to_onnx(network):
    torch.onnx.export(network, (image,), io.BytesIO(), dynamo=False)


def traced(network):
    torch.jit.trace(network, image, check_trace=False)


def exported(network):
    torch.export.export(network, (image,))


for outer, inner in ((True, False), (False, True)):
    for export in (traced, exported, to_onnx):
        after, counts = modes(export, outer, inner)
        print(f"{export.__name__:9} training before: {(outer, inner)}, after: {after}", end=", ")
        print("the next batch counts" if counts else "the next batch does not count")
        kept = after == (outer, inner) and counts == inner
        assert kept == (export is not to_onnx), "this has changed"
PYTHON
