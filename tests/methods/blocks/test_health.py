import torch

from crossview.methods.blocks.health import foreground_share, mean_dice


def logits(label, classes=3):
    return torch.nn.functional.one_hot(torch.tensor([label]), classes).movedim(-1, 1).float()


def test_it_is_the_mean_of_the_classes_that_are_there():
    assert mean_dice(logits([1, 2, 0, 0]), torch.tensor([[2, 1, 0, 0]])) == 0
    assert mean_dice(logits([1, 1, 2, 0]), torch.tensor([[1, 1, 0, 2]])) == 1 / 2
    assert mean_dice(logits([1, 1, 0, 0]), torch.tensor([[0, 1, 1, 1]])) == 2 / 5


def test_nothing_found_of_nothing_there_is_zero():
    assert mean_dice(logits([0, 0]), torch.tensor([[0, 0]])) == 0


def test_only_the_region_counts():
    predicted, label = logits([1, 1, 0, 1]), torch.tensor([[1, 1, 1, 0]])
    assert mean_dice(predicted, label, torch.tensor([[1, 1, 0, 0]])) == 1
    assert mean_dice(predicted, label, torch.tensor([[0, 0, 1, 1]])) == 0


def test_share():
    assert foreground_share(torch.tensor([[0, 1, 2, 0]])) == 0.5
