"""Heads: regions against torch's loss, a Dice by hand and nnU-Net's convention in numpy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from crossview.core.partial import IGNORED, PartialLabels
from crossview.core.regions import Region
from crossview.inference.assembly import Assembly, Wanted
from crossview.methods.heads import CLASSES, Regions

WHOLE, CORE = Region("whole", (1, 2, 3), 1), Region("core", (2, 3), 2)
ENHANCING, CYST = Region("enhancing", (3,), 3), Region("cyst", (4,), 4)
HEAD = Regions((WHOLE, CORE, ENHANCING, CYST))
RANDOM = np.random.default_rng(5)


def logits(*shape):
    return torch.from_numpy(RANDOM.normal(0, 2, shape))


def nnunet(probabilities, order):
    """Return the label map of probabilities (R, *S) as nnU-Net writes it."""
    label = np.zeros(probabilities.shape[1:], np.uint8)
    for probability, value in zip(probabilities, order, strict=True):
        label[probability > 0.5] = value
    return label


def dice_by_hand(probabilities, truth, weight):
    """Return 1 - the mean over samples and regions, voxel by voxel."""
    values = []
    for p_of, y_of, w in zip(probabilities, truth, weight, strict=True):
        for p, y in zip(p_of, y_of, strict=True):
            pairs = [*zip(*(each.flatten().tolist() for each in (p, y, w)), strict=True)]
            both = sum(w * (p + y) for p, y, w in pairs)
            values.append((2 * sum(w * p * y for p, y, w in pairs) + 1e-5) / (both + 1e-5))
    return 1 - sum(values) / len(values)


@pytest.mark.parametrize("partial", [None, PartialLabels()])
def test_the_loss_is_that_of_torch_and_a_dice_by_hand(partial):
    z, label = logits(2, 4, 3, 4, 2), torch.from_numpy(RANDOM.integers(0, 5, (2, 3, 4, 2)))
    searched = torch.ones(label.shape, dtype=torch.float64)
    if partial:
        label[:, 1] = IGNORED
        searched[:, 1] = 0
    masks = [(1, 2, 3), (2, 3), (3,), (4,)]
    truth = torch.stack([torch.isin(label, torch.tensor(each)) for each in masks], 1).double()
    weights = searched.unsqueeze(1).expand_as(truth)
    total = F.binary_cross_entropy_with_logits(z, truth, weights, reduction="sum")
    expected = (total / weights.sum() + dice_by_hand(z.sigmoid(), truth, searched)) / 2
    torch.testing.assert_close(HEAD.loss(z, label, partial), expected, rtol=1e-12, atol=0)
    if not partial:  # pseudo-labels come as masks
        torch.testing.assert_close(HEAD.loss(z, truth.to(torch.uint8)), expected)


def test_the_label_map_is_that_of_nnunet():
    z = logits(2, 4, 5, 6, 3)
    for probabilities, predicted in zip(z.sigmoid(), HEAD.predicted(z), strict=True):
        expected = nnunet(probabilities.numpy(), [1, 2, 3, 4])
        np.testing.assert_array_equal(predicted.numpy(), expected)
        np.testing.assert_array_equal(HEAD.label(probabilities).numpy(), expected)


def test_regions_inside_each_other_are_read_back_from_the_label_map():
    whole = RANDOM.random((6, 5, 4)) < 0.7
    core = whole & (RANDOM.random(whole.shape) < 0.6)
    enhancing = core & (RANDOM.random(whole.shape) < 0.5)
    masks = [whole, core, enhancing, ~whole & (RANDOM.random(whole.shape) < 0.5)]
    label = nnunet(np.array(masks).astype(float), [1, 2, 3, 4])
    np.testing.assert_array_equal([*HEAD.masks(label, 4)], masks)


def test_components_are_those_of_regions_not_of_label_values():
    label = np.array([[1, 1, 0, 2, 2, 1, 3, 1, 2, 0, 4, 0, 4, 4]], np.uint8)[None]
    cleaned = HEAD.largest(label, 4)
    # The longer piece of whole, and in it the longest of core, without which nothing enhances.
    np.testing.assert_array_equal(cleaned[0, 0], [0, 0, 0, 2, 2, 1, 1, 1, 1, 0, 0, 0, 4, 4])
    assert HEAD.largest(label[:0], 4).shape == (0, *label.shape[1:])


def test_small_pieces_are_those_of_regions():
    label = np.array([[1, 1, 0, 2, 2, 1, 3, 1, 2, 0, 4, 0, 4, 4]], np.uint8)
    # Pieces: whole 2 and 6; core 2, 1 and 1; enhancing 1; cyst 1 and 2.
    found = HEAD.without_small(label, [3, 2, 0, 2])
    np.testing.assert_array_equal(found[0], [0, 0, 0, 2, 2, 1, 1, 1, 1, 0, 0, 0, 4, 4])
    np.testing.assert_array_equal(HEAD.without_small(label, [0, 0, 2, 0])[0, 6], 2)
    np.testing.assert_array_equal(HEAD.without_small(label, [0, 0, 0, 0]), label)


def test_the_promised_dice_is_that_of_regions():
    maps = torch.tensor([[0.9, 0.8, 0.6], [0.1, 0.7, 0.2], [0.0, 0.0, 0.0], [0.3, 0.0, 0.0]])
    assembly = Assembly((3, 1), (3, 1), 0, Wanted((), expected=True), True, head=HEAD)
    assembly.add(maps[None, :, :, None])
    found = assembly.result(False)
    assert found.label[:, 0].tolist() == [1, 2, 1]
    assert found.expected == pytest.approx((2 * 2.3 / (2.3 + 3) + 2 * 0.7 / (1.0 + 1)) / 2)


def test_pseudo_labels_are_cleaned_by_region():
    z = torch.full((1, 4, 1, 8), -1.0)
    z[0, 0, 0, [0, 1, 2, 5]] = 1
    z[0, 1, 0, [0, 4, 5]] = 1
    found = HEAD.clean_async(HEAD.decided(z), 4)()
    assert found[0, 0, 0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert found[0, 1, 0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert HEAD.shown(found)[0, 0].tolist() == [1, 1, 1, 0, 2, 2, 0, 0]


def test_doubt_is_the_mean_over_regions():
    maps = torch.tensor([[[0.5], [1.0], [0.0], [0.0]], [[1.0], [1.0], [0.0], [0.0]]])
    maps = torch.stack([maps.mean(0), *maps])  # two views differ in one region of four
    for peers in (True, False):
        assembly = Assembly((1,), (1,), 0, Wanted(("disagreement",)), peers, head=HEAD)
        assembly.add(maps)
        found = assembly.result(False).maps["disagreement"][0]
        expected = (_entropy(0.75) - _entropy(0.5) / 2) / 4 if peers else _entropy(0.75) / 4
        assert found == pytest.approx(expected, abs=1e-6)


def _entropy(p):
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def test_outside_of_the_scan_no_region_is_probable():
    assembly = Assembly(
        (2, 2), (4, 2), 0, Wanted(("probability",)), True, (slice(1, 3), slice(0, 2)), HEAD
    )
    assembly.add(torch.full((1, 4, 2, 2), 0.25))
    probability = assembly.result(False).maps["probability"]
    assert probability[:, 1:3].min() == 0.25
    assert probability[:, [0, 3]].max() == 0


def test_pairs_are_counted_where_somebody_labelled():
    z = torch.tensor([[[4.0, 4.0, -4.0]], [[-4.0, -4.0, 4.0]]]).permute(1, 0, 2)
    head = Regions((Region("a", (1, 2), 1), Region("b", (2,), 2)))
    label = torch.tensor([[1, IGNORED, 2]])
    (mine, true), (second, wanted) = head.pairs(z, label, PartialLabels())
    assert (mine.tolist(), true.tolist()) == ([[True, False, False]], [[True, False, True]])
    assert (second.tolist(), wanted.tolist()) == ([[False, False, True]], [[False, False, True]])


def test_exclusive_classes_are_decided_as_before():
    z = logits(2, 3, 4, 4).float()
    maps = CLASSES.maps(CLASSES.probabilities(z))
    for of_one, predicted in zip(maps, z.argmax(1), strict=True):
        assert torch.equal(CLASSES.label(of_one).long(), predicted)
