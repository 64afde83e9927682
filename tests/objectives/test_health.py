import torch

from crossview.objectives.health import foreground_dice, foreground_share


def logits(label, classes=3):
    return torch.nn.functional.one_hot(torch.tensor([label]), classes).movedim(-1, 1).float()


def test_all_foreground_classes_count_as_one():
    assert foreground_dice(logits([1, 2, 0, 0]), torch.tensor([[2, 1, 0, 0]])) == 1
    assert foreground_dice(logits([1, 1, 0, 0]), torch.tensor([[0, 1, 1, 1]])) == 2 / 5


def test_nothing_found_of_nothing_there_is_zero():
    assert foreground_dice(logits([0, 0]), torch.tensor([[0, 0]])) == 0


def test_only_the_region_counts():
    predicted, label = logits([1, 1, 0, 1]), torch.tensor([[1, 1, 1, 0]])
    assert foreground_dice(predicted, label, torch.tensor([[1, 1, 0, 0]])) == 1
    assert foreground_dice(predicted, label, torch.tensor([[0, 0, 1, 1]])) == 0


def test_share():
    assert foreground_share(torch.tensor([[0, 1, 2, 0]])) == 0.5
