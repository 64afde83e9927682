#!/usr/bin/env bash
# MONAI 1.6.1: the generalized Dice loss of a patch without foreground is 0, whatever is predicted.
#
# Guess: where no voxel is labelled and all are predicted, the loss is 1, as DiceLoss has it, and
#        its gradient lowers the logits.
# Seen:  GeneralizedDiceLoss is exactly 0 and has no gradient, with sigmoid=True and with
#        softmax=True, include_background=False alike: patches without foreground teach nothing,
#        and a mean over a batch looks better for them. With batch=True they count as soon as
#        one patch of the batch has foreground. With the background as a class it is near 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet monai==1.6.1 torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import monai
import torch
from monai.losses import DiceLoss, GeneralizedDiceLoss

print("MONAI", monai.__version__, "torch", torch.__version__)


def loss_and_gradient(loss, logits, labels):
    """Return a loss and the sum of its gradient's magnitudes."""
    logits = logits.clone().requires_grad_()
    value = loss(logits, labels)
    value.backward()
    return value.item(), logits.grad.abs().sum().item()


shape = (1, 1, 8, 8, 8)
one, none = torch.ones(shape), torch.zeros(shape)
classes = torch.cat([one, none], 1)  # all background
for place in (0.0, 2.0):  # predicted half, and nearly wholly, as foreground
    cases = {
        "sigmoid": ({"sigmoid": True}, place * one, none),
        "softmax without background": (
            {"softmax": True, "include_background": False},
            torch.cat([-place * one, place * one], 1),
            classes,
        ),
    }
    for name, (how, logits, labels) in cases.items():
        seen = loss_and_gradient(GeneralizedDiceLoss(**how), logits, labels)
        plain = loss_and_gradient(DiceLoss(**how), logits, labels)
        print(f"logit {place}, {name}: generalized {seen[0]:.3f}, plain Dice {plain[0]:.3f}")
        assert seen == (0, 0), "this has changed"
        assert plain[0] > 0.99 and plain[1] > 0
    how = {"softmax": True}
    logits = torch.cat([-place * one, place * one], 1)
    seen = loss_and_gradient(GeneralizedDiceLoss(**how), logits, classes)
    print(f"logit {place}, softmax with background: {seen[0]:.3f}, gradient {seen[1]:.3f}")
    assert seen[0] > 0.3 and seen[1] > 0

some = none.clone()
some[..., :2] = 1
pair, logits = torch.cat([some, none]), torch.cat([40 * some - 20, 4 * one])
by_patch = loss_and_gradient(GeneralizedDiceLoss(sigmoid=True), logits, pair)
as_one = loss_and_gradient(GeneralizedDiceLoss(sigmoid=True, batch=True), logits, pair)
print(f"a perfect patch and a false one: {by_patch[0]:.3f}, with batch=True {as_one[0]:.3f}")
assert by_patch[0] < 1e-4 and as_one[0] > 0.5, "this has changed"
PYTHON
