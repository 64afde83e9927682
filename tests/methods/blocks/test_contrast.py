"""Memory of features and weighted distance; test_ss_net compares both with the official ones."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from crossview.methods.blocks.contrast import ClassMemory, weighted_distance


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 100))
def test_the_distance_is_the_weighted_mean_over_all_pairs(features, memories, seed):
    random = torch.Generator().manual_seed(seed)
    f, m = (
        torch.randn(count, 4, generator=random, dtype=torch.float64)
        for count in (features, memories)
    )
    s, t = (
        torch.rand(count, generator=random, dtype=torch.float64) + 0.1
        for count in (features, memories)
    )
    a, b = s / s.mean(), t / t.mean()
    pairs = (1 - F.normalize(f) @ F.normalize(m).T) * a[:, None] * b[None]
    torch.testing.assert_close(weighted_distance(f, m, s, t), pairs.mean())


def test_the_distance_runs_from_zero_to_two():
    vector, ones = torch.randn(1, 8).expand(3, 8), torch.ones(3)
    assert weighted_distance(vector, 5 * vector, ones, ones).item() == pytest.approx(0, abs=1e-6)
    assert weighted_distance(vector, -vector, ones, ones).item() == pytest.approx(2, abs=1e-6)


def test_the_gradient_turns_features_towards_the_memory():
    torch.manual_seed(0)
    features, memory = torch.randn(5, 4, requires_grad=True), torch.randn(1, 4).expand(3, 4)
    (gradient,) = torch.autograd.grad(
        weighted_distance(features, memory, torch.ones(5), torch.ones(3)), features
    )
    nearer = F.cosine_similarity(features - gradient, memory[:1]) > F.cosine_similarity(
        features, memory[:1]
    )
    assert nearer.all()


def test_features_of_length_zero_have_a_finite_gradient():
    features = torch.zeros(2, 4, requires_grad=True)
    value = weighted_distance(features, torch.ones(2, 4), torch.ones(2), torch.ones(2))
    assert torch.autograd.grad(value, features)[0].isfinite().all()


def test_low_precision_features_are_weighed_in_float32():
    torch.manual_seed(0)
    features = torch.randn(3000, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = weighted_distance(
            features, features, torch.rand(3000).bfloat16(), torch.rand(3000).bfloat16()
        )
    assert value.dtype == torch.float32


def test_the_memory_keeps_what_is_stored_until_there_is_something_new():
    memory = ClassMemory(classes=4, capacity=3, width=2)
    assert memory.of(1).shape == (0, 2)
    assert memory.fill() == 0
    memory.store(2, torch.ones(3, 2))
    memory.store(2, torch.zeros(0, 2))
    assert torch.equal(memory.of(2), torch.ones(3, 2))
    memory.store(2, torch.full((1, 2), 7.0))
    assert memory.of(2).tolist() == [[7, 7]]
    assert memory.fill().item() == pytest.approx(1 / 9)
    assert memory.of(1).shape == memory.of(3).shape == (0, 2)


def test_the_memory_is_state_and_all_of_it_floating():
    """The guard against steps without a finite loss restores floating buffers."""
    memory, other = ClassMemory(3, 3, 2), ClassMemory(3, 3, 2)
    memory.store(1, torch.ones(2, 2))
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.of(1), memory.of(1))
    assert set(dict(memory.named_buffers())) == set(memory.state_dict())
    assert all(buffer.is_floating_point() for buffer in memory.buffers())
    buffers = list(memory.buffers())
    memory.store(2, torch.ones(2, 2))
    assert all(old is new for old, new in zip(buffers, memory.buffers(), strict=True))
