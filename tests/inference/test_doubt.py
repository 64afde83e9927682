"""Disagreement and entropy, voxel by voxel."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from crossview.inference.doubt import disagreement, entropy, normalised_entropy


def probabilities(seed, classes=3, views=2):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(classes, 20, generator=generator).mul(4).softmax(0) for _ in range(views)]


def test_views_that_agree_have_none_however_unsure_they_are():
    view = torch.tensor([[0.5, 0.9, 1.0], [0.5, 0.1, 0.0]])
    assert disagreement([view, view]).tolist() == [0, 0, 0]


def test_views_that_are_sure_of_different_classes_have_one():
    assert disagreement([torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]])]).item() == 1


def test_it_is_the_divergence_from_the_mean():
    p, q = probabilities(3)
    middle = (p + q) / 2
    divergence = sum((each * (each / middle).log2()).sum(0) for each in (p, q)) / 2
    torch.testing.assert_close(disagreement([p, q]), divergence, rtol=1e-4, atol=1e-6)


def test_three_views_give_the_mean_over_pairs():
    p, q, r = probabilities(4, views=3)
    pairs = [disagreement(list(pair)) for pair in ((p, q), (p, r), (q, r))]
    torch.testing.assert_close(disagreement([p, q, r]), sum(pairs) / 3)


@given(st.integers(0, 999), st.integers(2, 5))
def test_it_is_symmetric_and_within_0_and_1(seed, classes):
    p, q = probabilities(seed, classes)
    found = disagreement([p, q])
    assert torch.equal(found, disagreement([q, p]))
    assert found.min() >= 0
    assert found.max() <= 1


def test_entropy_is_in_bits_and_normalised_by_the_number_of_classes():
    even = torch.full((4, 1), 0.25)
    assert math.isclose(entropy(even).item(), 2, rel_tol=1e-6)
    assert math.isclose(normalised_entropy(even).item(), 1, rel_tol=1e-6)
    assert normalised_entropy(torch.tensor([[0.0], [1.0]])).item() == 0
