"""The two Dice losses of soft segmentations."""

import pytest
import torch

from crossview.methods.blocks.losses import batch_dice_loss, classwise_dice_loss, pooled_dice_loss

LOSSES = (pooled_dice_loss, classwise_dice_loss)


def pair(classes=3):
    torch.manual_seed(0)
    return (torch.randn(2, classes, 4, 5, dtype=torch.float64).softmax(1) for _ in range(2))


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_decided_segmentations_have_no_loss_and_disjoint_ones_one(loss):
    label = torch.arange(16).view(1, 4, 4) % 2
    first = torch.stack([label == 0, label == 1], 1).double()
    assert loss(first, first).item() == pytest.approx(0, abs=1e-9)
    assert loss(first, first.flip(1)).item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_is_symmetric_and_finite_for_nothing(loss):
    first, second = pair()
    torch.testing.assert_close(loss(first, second), loss(second, first))
    nothing = torch.zeros(1, 2, 3, requires_grad=True)
    value = loss(nothing, nothing.detach())
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.autograd.grad(value, nothing)[0].isfinite().all()


def test_pooled_weighs_classes_by_their_size_and_classwise_does_not():
    truth = torch.zeros(1, 2, 1, 100, dtype=torch.float64)
    truth[:, 0, :, :99], truth[:, 1, :, 99:] = 1, 1
    missed = torch.zeros_like(truth)
    missed[:, 0] = 1
    assert pooled_dice_loss(missed, truth).item() == pytest.approx(0.01)
    assert classwise_dice_loss(missed, truth).item() == pytest.approx(0.5, abs=0.01)


def test_classwise_is_the_batch_dice_where_one_side_is_a_label():
    torch.manual_seed(0)
    logits, label = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randint(0, 3, (2, 4, 5))
    truth = torch.nn.functional.one_hot(label, 3).movedim(-1, 1).double()
    torch.testing.assert_close(
        classwise_dice_loss(logits.softmax(1), truth), batch_dice_loss(logits, label, smooth=1e-10)
    )
