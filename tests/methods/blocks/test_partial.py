"""A loss over known voxels equals the loss of an image that has no others."""

from functools import partial as bound

import pytest
import torch

from crossview.core.partial import IGNORED, PartialLabels
from crossview.methods.blocks.health import mean_dice
from crossview.methods.blocks.losses import cross_entropy_batch_dice, cross_entropy_dice
from crossview.methods.blocks.partial import known

LOSSES = {
    "CML": cross_entropy_dice,
    "SSL4MIS": cross_entropy_batch_dice,
    "UA-MT": bound(cross_entropy_batch_dice, background=False),
}


@pytest.fixture
def made():
    """Logits (2, 3, 6, 4) and labels with four of six rows ignored in each image."""
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 6, 4, generator=random)
    label = torch.randint(0, 3, (2, 6, 4), generator=random)
    label[:, 2:] = IGNORED
    return logits, label


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_ignored_voxels_are_in_no_sum(made, loss):
    logits, label = (tensor.clone() for tensor in made)
    logits.requires_grad_()
    found = loss(*known(logits, label, PartialLabels()))
    torch.testing.assert_close(found, loss(logits[:, :, :2], label[:, :2]))
    (gradient,) = torch.autograd.grad(found, logits)
    assert gradient[:, :, 2:].eq(0).all()
    assert gradient[:, :, :2].ne(0).all()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_wholly_ignored_batch_has_no_gradient(made, loss):
    logits, label = made[0].requires_grad_(), torch.full_like(made[1], IGNORED)
    found = loss(*known(logits, label, PartialLabels()))
    (gradient,) = torch.autograd.grad(found, logits)
    assert found.abs() < 1e-6
    assert gradient.eq(0).all()


def test_whole_labels_are_not_touched(made):
    logits, label = made
    assert known(logits, label, None) == (logits, label, None)


def test_a_region_stays_a_region(made):
    region = torch.arange(4) < 2
    *_, weight = known(*made, PartialLabels(), region.expand(2, 6, 4).to(torch.float32))
    assert weight[:, :2, :2].eq(1).all()
    assert weight.sum() == 2 * 2 * 2


def test_health_counts_known_voxels(made):
    logits, label = made
    found = mean_dice(*known(logits, label, PartialLabels()))
    torch.testing.assert_close(found, mean_dice(logits[:, :, :2], label[:, :2]))
