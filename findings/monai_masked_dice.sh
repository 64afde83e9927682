#!/usr/bin/env bash
# MONAI 1.6.1: a masked Dice loss counts the voxels outside its mask as missed background.
#
# Guess: MaskedDiceLoss(to_onehot_y=True, softmax=True)(logits, labels, mask) is the Dice loss of
#        the voxels inside the mask, and 0 for a perfect prediction.
# Seen:  outside the mask the labels become 0 before they are made one-hot, so these voxels count
#        as background that nobody predicts. A perfect prediction has a loss of 0.25 if half of the
#        voxels are masked and 0.45 if 9 of 10 are. With one-hot labels, or without the background,
#        the loss is right. What is predicted outside the mask has no influence in any case.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet monai==1.6.1 torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import monai
import torch
from monai.losses import DiceLoss, MaskedDiceLoss
from torch.nn.functional import one_hot

print("MONAI", monai.__version__, "torch", torch.__version__)
classes, side = 2, 20
labels = torch.arange(side**3).reshape(1, 1, side, side, side) % classes  # half of each
encoded = one_hot(labels[:, 0], classes).movedim(-1, 1).float()
noise = torch.randn(encoded.shape, generator=torch.Generator().manual_seed(0))
for planes, seen in ((10, 0.25), (2, 0.45)):
    mask = torch.zeros(labels.shape)
    mask[:, :, :planes] = 1
    inside = mask[0, 0, :, 0, 0] == 1
    for name, logits in (("perfect", 40 * encoded - 20), ("random", noise)):
        for background in (True, False):
            how = {"softmax": True, "include_background": background}
            right = DiceLoss(**how)(logits[:, :, inside], encoded[:, :, inside]).item()
            classes_given = MaskedDiceLoss(to_onehot_y=True, **how)(logits, labels, mask).item()
            one_hot_given = MaskedDiceLoss(**how)(logits, encoded, mask).item()
            print(f"{planes} of {side} planes, {name}, background {background}:", end=" ")
            print(f"right {right:.3f}, labels {classes_given:.3f}, one-hot {one_hot_given:.3f}")
            assert abs(one_hot_given - right) < 1e-4
            assert (abs(classes_given - right) < 1e-4) == (not background), "this has changed"
            if name == "perfect":
                assert abs(right) < 1e-4
                assert not background or abs(classes_given - seen) < 1e-4, "this has changed"
PYTHON
