"""CPS equals the official script where its networks answer alike; what its options do."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.helpers import golden_numbers as golden
from tests.helpers.stand_ins import Answers, certain, small_unet
from torch import nn

from crossview.core.errors import UserError
from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.methods import cps as module
from crossview.methods.blocks.losses import cross_entropy
from crossview.methods.cps import CPS
from crossview.networks.vnet import VNet
from crossview.recipe.resolve import resolve
from crossview.training.device import autocast

RELEASED = resolve("acdc-7", ["method.name=cps", "method.variant=released"]).method


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", [0, 600])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_equals_the_official_script(dimensions, step, dtype):
    numbers, name = golden.load("teachers"), f"cps{dimensions}d_it{step}"
    networks = iter(
        torch.from_numpy(numbers[f"d{dimensions}_{who}"]).to(dtype)
        for who in ("student", "student2")
    )
    method = CPS(RELEASED, lambda: Answers(next(networks)))
    label = torch.from_numpy(numbers[f"d{dimensions}_labels"]).long()
    image = torch.zeros(5, 1, *label.shape[1:])
    terms = method.train().loss(
        Batch(image[:2], label, image[2:], Randomness(1)), method.stages[0], step
    )
    prefix, tolerance = ("f64_", 1e-8) if dtype == torch.float64 else ("", 1e-5)
    assert method.options.weight(step) == pytest.approx(numbers[f"f64_{name}_weight"], rel=1e-12)
    sum(terms.values()).backward()
    for i, network in enumerate((method.network1, method.network2), 1):
        loss = terms[f"network{i} labelled"] + terms[f"network{i} unlabelled"]
        np.testing.assert_allclose(loss.item(), numbers[f"{prefix}{name}_loss{i}"], rtol=tolerance)
        assert golden.largest_difference(network.logits[0].grad, numbers[f"{name}_grad{i}"]) < 1e-4


def make(**options):
    torch.manual_seed(0)
    return CPS(CPS.Options(name="cps", **options), small_unet()).train()


def batch(unlabelled=4):
    random = torch.Generator().manual_seed(1)
    image, without = (
        torch.randn(2, 1, 16, 16, generator=random),
        torch.randn(unlabelled, 1, 16, 16, generator=random),
    )
    return Batch(image, torch.randint(0, 3, (2, 16, 16), generator=random), without, Randomness(7))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_networks_start_kaiming_and_xavier_normal(dimensions):
    def build():
        if dimensions == 3:
            return VNet(VNet.Options(filters=8, levels=3), channels=1, classes=2)
        return small_unet()()

    method = CPS(CPS.Options(name="cps"), build)
    kinds = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    for network, spread in (
        (method.network1, lambda fan_in, fan_out: (2 / fan_in) ** 0.5),
        (method.network2, lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5),
    ):
        values = []
        for convolution in (part for part in network.modules() if isinstance(part, kinds)):
            fan_in, fan_out = convolution.weight[0].numel(), convolution.weight[:, 0].numel()
            values.append((convolution.weight / spread(fan_in, fan_out)).flatten())
        values = torch.cat(values).detach()
        assert values.std() == pytest.approx(1, abs=0.1)
        assert values.abs().max() > 2.5  # no uniform draw goes so far
        transposed = [part for part in network.modules() if isinstance(part, nn.ConvTranspose3d)]
        assert all(
            part.weight.abs().max() <= part.weight[0].numel() ** -0.5 + 1e-6 for part in transposed
        )  # torch's own draw


def test_the_default_initialisation_is_torchs():
    method = make(initialisation="default")
    for network in (method.network1, method.network2):
        for part in network.modules():
            if isinstance(part, nn.Conv2d):
                assert part.weight.abs().max() <= part.weight[0].numel() ** -0.5 + 1e-6
    first, second = method.network1.state_dict(), method.network2.state_dict()
    assert not torch.equal(first["last.weight"], second["last.weight"])


def test_each_network_is_taught_by_the_other_and_not_through_it():
    method = make(consistency_weight=1.0, ramp_share=0)
    terms = method.loss(batch(), method.stages[0], 0)
    for own, other in ((1, 2), (2, 1)):
        unlabelled = terms[f"network{own} unlabelled"]
        mine = torch.autograd.grad(
            unlabelled, list(getattr(method, f"network{own}").parameters()), retain_graph=True
        )
        theirs = torch.autograd.grad(
            unlabelled,
            list(getattr(method, f"network{other}").parameters()),
            retain_graph=True,
            allow_unused=True,
        )
        assert sum(gradient.abs().sum() for gradient in mine) > 0
        assert all(gradient is None for gradient in theirs)


def test_the_answer_is_the_mean_or_network_1():
    method, image = make().eval(), batch().image
    views = method.views(image)
    assert list(views) == ["network1", "network2"]
    torch.testing.assert_close(
        method.combine(method.views(image)),
        ((views["network1"] + views["network2"]) / 2).softmax(1),
    )
    alone = make(answer="network1").eval()
    torch.testing.assert_close(alone.combine(alone.views(image)), views["network1"].softmax(1))


def test_cutmix_mixes_images_and_the_others_labels_alike(monkeypatch):
    method = make(cutmix=True, consistency_weight=1.0, ramp_share=0)
    box = (slice(2, 10), slice(3, 11))
    monkeypatch.setattr(module, "random_box", lambda *_: box)
    random = torch.Generator().manual_seed(3)
    labels = [torch.randint(0, 3, (4, 16, 16), generator=random) for _ in range(2)]
    logits = [torch.randn(4, 3, 16, 16, generator=random, dtype=torch.float64) for _ in range(2)]
    method.network1, method.network2 = (
        Answers(z, certain(label, 3)) for z, label in zip(logits, labels, strict=True)
    )
    made = replace(batch(), show=True)
    terms = method.loss(made, method.stages[0], 0)
    seen, unmixed = method.network1.asked
    assert torch.equal(unmixed, made.unlabelled)
    expected = made.unlabelled[:2].clone()
    expected[:, :, 2:10, 3:11] = made.unlabelled[2:, :, 2:10, 3:11]
    assert torch.equal(seen, torch.cat([made.image, expected]))
    assert torch.equal(method.show["unlabelled mix"], expected)
    for own, other in ((0, 1), (1, 0)):
        target = labels[other][:2].clone()
        target[:, 2:10, 3:11] = labels[other][2:, 2:10, 3:11]
        torch.testing.assert_close(
            terms[f"network{own + 1} unlabelled"], cross_entropy(logits[own][2:], target)
        )


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_every_term_of_cutmix_has_a_gradient(precision):
    method = make(cutmix=True)
    with autocast(torch.device("cpu"), precision):
        terms = method.loss(batch(), method.stages[0], method.options.steps)
    assert len(terms) == 4
    for name, term in terms.items():
        parameters = list(getattr(method, name.split()[0]).parameters())
        gradients = torch.autograd.grad(term, parameters, retain_graph=True)
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert gradients[0].abs().sum() > 0


def test_cutmix_needs_an_even_unlabelled_batch_and_is_told_before_anything_is_made():
    odd = ["method.name=cps", "training.unlabelled_batch=3", "training.labelled_batch=1"]
    with pytest.raises(UserError, match=r"unlabelled_batch[^$]*3[^$]*an even number") as error:
        resolve("demo", [*odd, "method.cutmix=true"])
    assert len(error.value.problems) == 1, "the labelled batch is not mixed"
    assert resolve("demo", odd).training.unlabelled_batch == 3
    assert len(make().loss(batch(unlabelled=3), make().stages[0], 0)) == 4


def test_asking_for_the_stages_imports_no_compiler():
    """torch draws normal weights without memory by its compiler, whose import takes seconds."""
    code = (
        "import sys; from crossview.recipe.resolve import resolve; "
        "resolve('la-8', ['method.name=cps']); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_shown_and_watched():
    method, made = make(), replace(batch(), show=True, watch=True)
    method.loss(made, method.stages[0], 0)
    assert {name: len(label) for name, label in method.show.items()} == {
        "target by network1": 4,
        "target by network2": 4,
    }
    assert set(method.health) == {
        f"network{i} {what}" for i in (1, 2) for what in ("labelled Dice", "pseudo-label share")
    }
