"""URPC equals both official scripts where its network answers alike; what its options do."""

import numpy as np
import pytest
import torch
from tests.helpers import golden_numbers as golden
from torch import nn

from crossview.core.rng import Randomness
from crossview.core.tensors import Batch, Output
from crossview.methods.urpc import URPC, rectified_consistency
from crossview.networks.vnet import VNet
from crossview.recipe.resolve import resolve


class Pyramid(nn.Module):
    """Answers with the given logits, whatever the image: the full resolution first."""

    def __init__(self, scales):
        super().__init__()
        self.scales = nn.ParameterList(scales)

    def forward(self, image):
        first, *others = self.scales
        return Output(first, first, first, tuple(others))


def golden_method(dimensions, dtype):
    """A method whose network gives the golden logits of both scripts, and their batch of 2 + 2."""
    numbers, name = golden.load("urpc"), f"u{dimensions}d"
    label = torch.from_numpy(numbers[f"{name}_labels"]).long()
    network = Pyramid([torch.from_numpy(numbers[f"{name}_logits{k}"]).to(dtype) for k in range(4)])
    options = resolve("acdc-7", ["method.name=urpc"]).method.model_copy(
        update={"steps": {2: 30000, 3: 60000}[dimensions]}
    )
    image = torch.zeros(2, 1, *label.shape[1:])
    return URPC(options, lambda scales: network).train(), Batch(image, label, image, Randomness(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", [0, 450])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_equals_the_official_scripts(dimensions, step, dtype):
    numbers, name = golden.load("urpc"), f"u{dimensions}d_it{step}"
    method, made = golden_method(dimensions, dtype)
    terms = method.loss(made, method.stages[0], step)
    prefix, tolerance = ("f64_", 1e-8) if dtype == torch.float64 else ("", 1e-5)
    expected = {
        key: numbers[f"{prefix}{name}_{key}"]
        for key in ("total", "supervised", "consistency", "weight")
    }
    np.testing.assert_allclose(sum(terms.values()).item(), expected["total"], rtol=tolerance)
    np.testing.assert_allclose(terms["labelled"].item(), expected["supervised"], rtol=2 * tolerance)
    np.testing.assert_allclose(
        terms["consistency"].item(), expected["weight"] * expected["consistency"], rtol=tolerance
    )
    np.testing.assert_allclose(method.options.weight(step), expected["weight"], rtol=1e-12)
    sum(terms.values()).backward()
    for k, logits in enumerate(method.network.scales):
        assert golden.largest_difference(logits.grad, numbers[f"{name}_grad{k}"]) < 1e-4


def pyramid(scales=3, seed=0, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    return [
        torch.randn(2, 3, 5, 4, generator=random, dtype=dtype, requires_grad=True)
        for _ in range(scales)
    ]


def test_scales_that_agree_have_no_consistency_loss():
    (logits,) = pyramid(1)
    loss, disagreement = rectified_consistency([logits, logits.clone(), logits.clone()])
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert disagreement.abs().max() < 1e-12


def test_the_disagreement_is_the_divergence_from_the_mean():
    scales = pyramid()
    _, disagreement = rectified_consistency(scales)
    softmax = torch.stack([logits.softmax(1) for logits in scales])
    mean = softmax.mean(0)
    torch.testing.assert_close(disagreement, (mean * (mean / softmax).log()).sum(2))
    assert not disagreement.requires_grad


def test_a_voxel_that_the_scales_dispute_counts_less():
    """A disputed voxel's share of the squared term is below its share of the plain mean."""
    agreed, disputed = torch.tensor([0.3, 0.0]), torch.tensor([9.0, -9.0])
    first = torch.stack([agreed, disputed], 1)[None].double()
    second = torch.stack([-agreed, -disputed], 1)[None].double()
    loss, disagreement = rectified_consistency([first, second])
    p, q = first.softmax(1), second.softmax(1)
    plain = ((p - q) / 2).square().mean()
    assert loss - disagreement.mean() < 0.9 * plain


def test_the_gradient_is_the_derivative():
    assert torch.autograd.gradcheck(lambda *scales: rectified_consistency(scales)[0], pyramid(2))


def test_probabilities_that_underflow_stay_finite():
    scales = [
        torch.tensor([[300.0], [-300.0]])[None].requires_grad_(),
        torch.tensor([[-300.0], [300.0]])[None].requires_grad_(),
    ]
    loss, _ = rectified_consistency(scales)
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, scales))
    everywhere = [torch.tensor([[300.0], [-300.0]])[None].requires_grad_() for _ in range(2)]
    loss, _ = rectified_consistency(everywhere)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, everywhere))


def test_the_mean_can_be_detached():
    scales = pyramid()
    plain, detached = (rectified_consistency(scales, detach)[0] for detach in (False, True))
    torch.testing.assert_close(plain, detached)
    gradients = [torch.autograd.grad(loss, scales[0])[0] for loss in (plain, detached)]
    assert not torch.allclose(*gradients)
    mean = torch.stack([logits.detach().softmax(1) for logits in scales]).mean(0)
    moved = [scales[0]] + [logits.detach() for logits in scales[1:]]
    by_hand = detached_by_hand(moved, mean)
    torch.testing.assert_close(gradients[1], torch.autograd.grad(by_hand, scales[0])[0])


def detached_by_hand(scales, mean):
    losses = []
    for logits in scales:
        p = logits.softmax(1)
        v = (mean * (mean / p).log()).sum(1)
        losses.append(
            (v.neg().exp()[:, None] * (mean - p).square()).mean() / (v.neg().exp().mean() + 1e-8)
            + v.mean()
        )
    return sum(losses) / len(losses)


def make(levels=3, **options):
    torch.manual_seed(0)

    def build(scales):
        return VNet(VNet.Options(filters=2, levels=levels), channels=1, classes=3, scales=scales)

    return URPC(URPC.Options(name="urpc", **options), build).train()


def batch(**looked_at):
    random = torch.Generator().manual_seed(1)
    image = torch.randn(2, 1, 16, 16, 16, generator=random)
    label = torch.randint(0, 3, (2, 16, 16, 16), generator=random)
    return Batch(
        image, label, torch.randn(3, 1, 16, 16, 16, generator=random), Randomness(7), **looked_at
    )


@pytest.mark.parametrize(
    ("levels", "scales", "heads"), [(2, 3, 1), (3, 3, 2), (5, 3, 3), (5, 1, 1)]
)
def test_as_many_scales_as_the_network_has(levels, scales, heads):
    method = make(levels, scales=scales)
    assert len(method.network.heads) == heads
    terms = method.loss(batch(watch=True), method.stages[0], 0)
    assert len([name for name in method.health if name.endswith("disagreement")]) == heads + 1
    gradients = torch.autograd.grad(terms["consistency"], list(method.network.heads.parameters()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_labels_reach_every_scale_and_consistency_the_unlabelled_images_alone():
    method, _ = golden_method(2, torch.float32)
    label = torch.zeros(2, 10, 8, dtype=torch.long)
    made = Batch(torch.zeros(2, 1, 10, 8), label, torch.zeros(2, 1, 10, 8), Randomness(1))
    terms = method.loss(made, method.stages[0], 0)
    for name, reached in (("labelled", slice(0, 2)), ("consistency", slice(2, 4))):
        for logits, gradient in zip(
            method.network.scales,
            torch.autograd.grad(terms[name], list(method.network.scales), retain_graph=True),
            strict=True,
        ):
            inside = torch.zeros(len(logits), dtype=torch.bool)
            inside[reached] = True
            assert (gradient.flatten(1).abs().sum(1) > 0).tolist() == inside.tolist()


def test_the_full_resolution_alone_predicts():
    method = make().eval()
    image = batch().image
    views = method.views(image)
    assert list(views) == ["network"]
    assert torch.equal(views["network"], method.network(image).logits)


def test_the_picture_shows_where_scales_disagree():
    method = make()
    method.loss(batch(show=True), method.stages[0], 0)
    assert (
        method.show["unlabelled prediction"].shape
        == method.show["disagreement of scales"].shape
        == (3, 16, 16, 16)
    )
    assert method.show["disagreement of scales"].max() > 0


@pytest.mark.parametrize(("setting", "released"), [("la-8", "last"), ("acdc-7", "validation")])
def test_the_release_differs_by_its_selection_alone(setting, released):
    ours, theirs = (
        resolve(setting, ["method.name=urpc", f"method.variant={variant}"])
        for variant in ("corrected", "released")
    )
    assert (ours.training.selection, theirs.training.selection) == ("last", released)
    assert ours.method.model_dump(exclude={"variant"}) == theirs.method.model_dump(
        exclude={"variant"}
    )
