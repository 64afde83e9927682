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


def test_classes_nobody_looked_for_are_added_up(made):
    """The loss by its formula: of p0 + p2 where the label is of the set, and 0 of class 2."""
    logits, label = made[0], made[1].clone()
    partial = PartialLabels(((0, 2),))
    label[0, 0] = partial.value((0, 2))  # a row of the first image, whose other rows are whole
    p = logits.double().softmax(1)
    p[0, 0, 0], p[0, 2, 0] = p[0, 0, 0] + p[0, 2, 0], 0
    truth = torch.where(label == partial.value((0, 2)), 0, label)[:, :2]
    p = p[:, :, :2]
    one_hot = torch.nn.functional.one_hot(truth, 3).movedim(-1, 1).double()
    entropy = -(p.clamp(min=1e-300).log() * one_hot).sum(1).mean()
    overlap, both = (p * one_hot).sum((2, 3)), (p + one_hot).sum((2, 3))
    dice = 1 - ((2 * overlap + 1e-5) / (both + 1e-5)).mean()
    found = cross_entropy_dice(*known(logits, label, partial))
    torch.testing.assert_close(found.double(), (entropy + dice) / 2, rtol=1e-6, atol=1e-6)


def test_a_set_has_no_opinion_on_its_own_classes(made):
    logits, partial = made[0].clone().requires_grad_(), PartialLabels(((0, 1), (0, 2)))
    label = torch.full_like(made[1], partial.value((0, 2)))
    found = cross_entropy_dice(*known(logits, label, partial))
    (gradient,) = torch.autograd.grad(found, logits)
    p = logits.detach().softmax(1)
    # Both logits are pulled in proportion to their probabilities: their shares do not change.
    torch.testing.assert_close(gradient[:, 0] * p[:, 2], gradient[:, 2] * p[:, 0])
    assert gradient[:, 1].gt(0).all()
    everything = PartialLabels(((0, 1, 2),))
    label.fill_(everything.value((0, 1, 2)))
    assert cross_entropy_dice(*known(logits, label, everything)).abs() < 1e-6
