"""SS-Net's smoothness, memory and contrast equal the official code; what its options do."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.helpers import golden_numbers as golden
from tests.helpers.stand_ins import Answers
from torch import nn

from crossview.core.rng import Randomness
from crossview.core.tensors import Batch, Output
from crossview.methods import ss_net as module
from crossview.methods.blocks.losses import batch_dice_loss, cross_entropy
from crossview.methods.ss_net import SSNet
from crossview.networks.official import official_vnet_keys
from crossview.networks.unet import UNet
from crossview.networks.vnet import VNet
from crossview.recipe.resolve import resolve

LA, ACDC = (
    resolve(setting, ["method.name=ss_net", "method.variant=released"]).method
    for setting in ("la-8", "acdc-7")
)


class Small(nn.Module):
    """The network of the golden smoothness: convolution, batch norm, ReLU, convolution."""

    def __init__(self, dimensions, classes):
        super().__init__()
        convolution, norm = {2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}[
            dimensions
        ]
        self.conv1, self.bn, self.last = (
            convolution(1, 6, 3, padding=1),
            norm(6),
            convolution(6, classes, 1),
        )

    def forward(self, image):
        features = self.bn(self.conv1(image)).relu()
        return Output(self.last(features), features, features)


def golden_smoothness(monkeypatch, dimensions, dtype):
    """The method on the golden network, its images, and the directions it finds."""
    numbers, name = golden.load("ssnet_vat"), f"v{dimensions}d"
    options, classes = {2: (ACDC, 4), 3: (LA, 2)}[dimensions]
    method = SSNet(options, lambda: Small(dimensions, classes))
    state = golden.fill(golden.entries("ssnet", f"small_{name}"), numbers["c"])
    method.network.load_state_dict(
        {key.replace("conv2", "last"): value for key, value in state.items()}, strict=False
    )
    draw = torch.from_numpy(numbers[f"{name}_rand"]).to(dtype) - 0.5
    monkeypatch.setattr(module, "uniform_noise", lambda image, generator: draw)
    found, original = [], module.adversarial_direction
    monkeypatch.setattr(
        module, "adversarial_direction", lambda *a: found.append(original(*a)) or found[-1]
    )
    return method.to(dtype).train(), torch.from_numpy(numbers[f"{name}_x"]).to(dtype), found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_smoothness_equals_the_official_one(monkeypatch, dimensions, dtype):
    numbers = golden.load("ssnet_vat")
    method, image, directions = golden_smoothness(monkeypatch, dimensions, dtype)
    value = method.smoothness(image, Batch(image, image, image, Randomness(1)))
    value.backward()
    exact = dtype == torch.float64
    name = f"{'f64_' if exact else ''}v{dimensions}d"
    # In float64 the official 2D Dice casts its target to float32,
    # and the direction is recovered by a subtraction.
    tolerance = (1e-6 if dimensions == 2 else 1e-8) if exact else 1e-4
    np.testing.assert_allclose(value.item(), numbers[f"{name}_lds"], rtol=tolerance)
    assert golden.largest_difference(directions[0], numbers[f"{name}_direction"]) < (
        1e-6 if exact else 1e-3
    )
    for kind in ("mean", "var"):
        found = getattr(method.network.bn, f"running_{kind}")
        np.testing.assert_allclose(
            found, numbers[f"{name}_running_{kind}"], rtol=1e-10 if exact else 1e-6, atol=1e-7
        )
    for key, parameter in method.network.named_parameters():
        expected = numbers[f"{name}_grad_{key.replace('last', 'conv2').replace('.', '_')}"]
        # A bias before batch norm has no gradient but rounding noise.
        if key != "conv1.bias":
            assert golden.largest_difference(parameter.grad, expected) < (
                10 * tolerance if exact else 1e-3
            ), key


def golden_contrast(classes, dtype, **options):
    """Return the method with the official heads, on given features: projections do nothing."""
    numbers = golden.load("ssnet_contrast")
    method = SSNet(
        ACDC.model_copy(update=options),
        lambda: UNet(UNet.Options(filters=2, levels=2, dropout=0), 1, classes),
    )
    state = golden.fill(golden.entries("ssnet", f"heads_k{classes}"), numbers["c"])
    for heads, official in (
        (method.selectors, "selector_"),
        (method.memory_selectors, "selector_memory"),
    ):
        for index, head in enumerate(heads, 1):
            prefix = f"contrastive_class_{official}{index}."
            own = {
                key.removeprefix(prefix): value
                for key, value in state.items()
                if key.startswith(prefix)
            }
            head.load_state_dict(own, strict=False)
    method.projection, method.prediction = nn.Identity(), nn.Identity()
    features, label, predicted, predicted_label = (
        torch.from_numpy(numbers[f"k{classes}_{key}"])
        for key in ("features", "labels", "pred", "pred_labels")
    )
    method.to(dtype).train()
    method.remember(features.to(dtype), label)
    return method, predicted.to(dtype).requires_grad_(), predicted_label


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [2, 4])
def test_memory_and_contrast_equal_the_official_ones(classes, dtype):
    numbers, name = golden.load("ssnet_contrast"), f"k{classes}"
    method, predicted, label = golden_contrast(classes, dtype)
    for index in range(1, classes):
        np.testing.assert_allclose(
            method.memory.of(index), numbers[f"{name}_memory{index}"], rtol=1e-6, atol=1e-7
        )
    loss = method.contrast(predicted, label)
    exact = dtype == torch.float64
    np.testing.assert_allclose(
        loss.item(),
        numbers[f"f64_{name}_loss" if exact else f"{name}_loss"],
        rtol=1e-7 if exact else 1e-5,
    )
    loss.backward()
    assert golden.largest_difference(predicted.grad, numbers[f"{name}_loss_grad"]) < 1e-4
    entries = [
        entry for entry, _ in golden.entries("ssnet", f"heads_{name}") if "running_" not in entry
    ]
    for entry, expected in zip(entries, numbers[f"{name}_head_grad_norm"], strict=True):
        head, _, rest = entry.removeprefix("contrastive_class_selector_").partition(".")
        if head.startswith("memory"):
            assert (
                np.isnan(expected) or expected < 1e-6
            )  # rounding noise of weights that are always 1
        elif head == "0":
            assert np.isnan(expected)
        else:
            found = method.selectors[int(head) - 1].get_parameter(rest).grad.norm().item()
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-6), entry


def test_the_highest_scores_are_remembered_unless_released():
    (lowest, *_), (highest, *_) = (
        golden_contrast(2, torch.float64, memory_keeps=keeps) for keeps in ("lowest", "highest")
    )
    features = torch.from_numpy(golden.load("ssnet_contrast")["k2_features"]).double()
    scores = highest.selectors[0](features).squeeze(1)
    ordered = features[scores.argsort(descending=True)]
    torch.testing.assert_close(highest.memory.of(1), ordered[:32])
    torch.testing.assert_close(lowest.memory.of(1), ordered.flip(0)[:32])


def test_scores_of_the_memory_weigh_it():
    with_scores, predicted, label = golden_contrast(
        4, torch.float64, memory_scores=True, contrast_mean="contributing"
    )
    found = with_scores.contrast(predicted, label)
    expected = []
    for index in range(1, 4):
        f, m = predicted[label == index], with_scores.memory.of(index)
        cosine = nn.functional.normalize(f) @ nn.functional.normalize(m).T
        a = with_scores.selectors[index - 1](f.detach()).sigmoid()
        b = with_scores.memory_selectors[index - 1](nn.functional.normalize(m)).sigmoid().T
        expected.append(((1 - cosine) * (a / a.mean()) * (b / b.mean())).mean())
    torch.testing.assert_close(found, torch.stack(expected).mean())
    gradients = torch.autograd.grad(found, list(with_scores.memory_selectors.parameters()))
    assert sum(gradient.abs().sum() for gradient in gradients) > 0


def official_keys():
    """Map the names of SS-Net's official V-Net and heads to those of the method.

    The official heads of the background and of the memory have no effect.
    """
    keys = {}
    for theirs, ours in official_vnet_keys(1).items():
        keys[theirs.replace("encoder1", "encoder").replace("decoder1", "decoder")] = (
            f"network.{ours}"
        )
    for theirs, ours in (
        ("projection_head", "projection"),
        ("prediction_head", "prediction"),
        ("contrastive_class_selector_1", "selectors.0"),
    ):
        for layer in (0, 1, 3):
            parts = (
                ("weight", "bias", "running_mean", "running_var")
                if layer == 1
                else ("weight", "bias")
            )
            keys |= {f"{theirs}.{layer}.{part}": f"{ours}.{layer}.{part}" for part in parts}
    return keys


def test_a_whole_step_equals_the_official_script(monkeypatch):
    """Compare with train_ss_3d.py's step: float64, small crops, no dropout, given noise, SGD 0.01.

    terms: total, Dice, smoothness, contrast of the labelled and of the unlabelled half, unweighted.
    """
    numbers, step = golden.load("ssnet_step"), 4500
    method = SSNet(LA, lambda: VNet(VNet.Options(dropout=0), channels=1, classes=2))
    ordered, keys = golden.entries("ssnet_step", "vnet_ssnet"), official_keys()
    state = golden.fill(ordered, numbers["c"])
    method.load_state_dict(
        {keys[name]: state[name] for name, _ in ordered if name in keys}, strict=False
    )
    method.double().train()
    shape, label = numbers["shape"], torch.from_numpy(numbers["labels"]).long()
    draw = (0.5 + 0.5 * golden.wave(shape, numbers["d"], 1)).astype(np.float32)
    monkeypatch.setattr(
        module, "uniform_noise", lambda image, generator: torch.from_numpy(draw).double() - 0.5
    )
    image = golden.inputs(shape, numbers["d"])
    image[:2, 0] += 0.75 * label
    image = image.double()
    optimiser = torch.optim.SGD(method.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    found = {}
    for part in method.loss(
        Batch(image[:2], label, image[2:], Randomness(1)), method.stages[0], step
    ):
        sum(part.values()).backward()
        found |= {name: value.item() for name, value in part.items()}

    total, dice, smoothness, *contrasts = numbers["terms"]
    weight = LA.weight(step)
    expected = {
        "labelled": dice,
        "smoothness": weight * smoothness,
        "contrast": 0.1 * weight * sum(contrasts),
    }
    assert found == pytest.approx(expected, rel=1e-9)
    assert sum(found.values()) == pytest.approx(total, rel=1e-9)
    np.testing.assert_allclose(method.memory.of(1), numbers["memory"], rtol=1e-7, atol=1e-10)
    ours = dict(method.named_parameters())
    parameters = [name for name, _ in ordered if "running_" not in name]
    for name, norm in zip(parameters, numbers["grad_norm"], strict=True):
        if name in keys:
            assert ours[keys[name]].grad.norm().item() == pytest.approx(
                norm, rel=1e-6, abs=1e-12
            ), name
    optimiser.step()
    after = method.state_dict()
    for (name, _), expected_sum in zip(ordered, numbers["abssum"], strict=True):
        if name in keys:
            assert after[keys[name]].abs().sum().item() == pytest.approx(expected_sum, rel=1e-9), (
                name
            )


def make(classes=3, dimensions=2, **options):
    torch.manual_seed(0)

    def build():
        if dimensions == 3:
            return VNet(VNet.Options(filters=4, levels=2, dropout=0.5), channels=1, classes=classes)
        return UNet(UNet.Options(filters=4, levels=2, dropout=0.1), channels=1, classes=classes)

    return SSNet(SSNet.Options(name="ss_net", **options), build).train()


def batch(classes=3, dimensions=2, **looked_at):
    random = torch.Generator().manual_seed(1)
    image, unlabelled = (torch.randn(2, 1, *(16,) * dimensions, generator=random) for _ in range(2))
    label = torch.randint(0, classes, (2, *(16,) * dimensions), generator=random)
    return Batch(image, label, unlabelled, Randomness(7), **looked_at)


def terms(method, made, step=0):
    torch.manual_seed(0)
    found = {}
    for part in method.loss(made, method.stages[0], step):
        found |= part
    return found


def test_the_contrast_is_averaged_over_the_classes_that_contribute():
    method, predicted, label = golden_contrast(4, torch.float64)
    missing = label != 2
    some = {}
    for over in ("contributing", "all"):
        method.options = method.options.model_copy(update={"contrast_mean": over})
        some[over] = method.contrast(predicted[missing], label[missing])
    torch.testing.assert_close(some["contributing"] * 2, some["all"] * 4)


def test_without_a_class_in_common_the_contrast_is_zero():
    method, predicted, label = golden_contrast(2, torch.float32)
    assert method.contrast(predicted, torch.zeros_like(label)) == 0
    method.memory.count.zero_()
    assert method.contrast(predicted, label) == 0


def test_only_rightly_predicted_foreground_is_remembered():
    method, made = make(classes=3), batch(classes=3)
    h = torch.randn(4, 4, 16, 16)
    predicted = made.label.clone()
    predicted[made.label == 2] = 1
    logits = torch.cat(
        [nn.functional.one_hot(predicted, 3).movedim(-1, 1).float(), torch.zeros(2, 3, 16, 16)]
    )
    right = method.projection.eval()(h[:2].movedim(1, -1)[made.label == 1])
    method.separation(Output(logits, h, h), torch.cat([made.label, made.label]), 2, made)
    assert method.memory.count.tolist() == [32, 0]
    distance = (method.memory.of(1)[:, None] - right).abs().amax(2).amin(1)
    assert distance.max() < 1e-5


def test_a_class_that_is_absent_keeps_its_memory():
    method = make()
    method.remember(torch.randn(5, 4), torch.tensor([1, 1, 1, 2, 2]))
    before = method.memory.of(2).clone()
    method.remember(torch.randn(2, 4), torch.tensor([1, 1]))
    assert method.memory.count.tolist() == [2, 2]
    assert torch.equal(method.memory.of(2), before)
    method.remember(torch.randn(0, 4), torch.zeros(0))
    assert torch.equal(method.memory.of(2), before)


def test_the_memory_travels_with_the_weights():
    method, made = make(), batch()
    terms(method, made)
    other = make()
    other.load_state_dict(method.state_dict())
    assert method.memory.count.sum() > 0
    for index in (1, 2):
        assert torch.equal(other.memory.of(index), method.memory.of(index))
    assert terms(other, made) == terms(method, made)


def test_projecting_for_the_memory_leaves_the_statistics_of_the_projection():
    method = make()
    before = {name: value.clone() for name, value in method.projection.named_buffers()}
    method.remember(torch.randn(50, 4), torch.ones(50))
    assert all(
        torch.equal(value, before[name]) for name, value in method.projection.named_buffers()
    )
    assert method.projection.training


def test_features_are_those_after_dropout(monkeypatch):
    method, made = make(dimensions=3), batch(dimensions=3)
    seen = []
    monkeypatch.setattr(method, "contrast", lambda h, label: seen.append(h) or h.sum())
    next(method.loss(made, method.stages[0], 0))
    silent = seen[0].reshape(2, -1, 4).eq(0).all(1)  # channels that dropout took whole
    assert 0 < silent.sum() < silent.numel()


@pytest.mark.parametrize(("positions", "expected"), [(0, 512), (100, 100), (10**6, 512)])
def test_the_contrast_can_be_of_some_positions(monkeypatch, positions, expected):
    method, made = make(contrast_positions=positions), batch()
    seen = []
    monkeypatch.setattr(method, "contrast", lambda h, label: seen.append((h, label)) or h.sum())
    for _ in range(2):
        torch.manual_seed(0)
        next(method.loss(made, method.stages[0], 0))
    assert [len(label) for _, label in seen] == [expected] * 4
    assert all(torch.equal(seen[half][0], seen[half + 2][0]) for half in (0, 1))
    if positions == 100:
        assert not torch.equal(seen[0][1], seen[1][1])


def test_one_position_is_refused():
    with pytest.raises(ValidationError, match="at least 2"):
        SSNet.Options(name="ss_net", contrast_positions=1)


def test_losses_of_labelled_images():
    logits, label = torch.randn(2, 3, 16, 16, dtype=torch.float64), batch().label
    classwise = batch_dice_loss(logits, label, smooth=1e-10)
    torch.testing.assert_close(make().supervised(logits, label), classwise)
    torch.testing.assert_close(
        make(cross_entropy=True).supervised(logits, label),
        (classwise + cross_entropy(logits, label)) / 2,
    )
    p, t = logits.softmax(1)[:, 1:], torch.stack([label == 1, label == 2], 1)
    torch.testing.assert_close(
        make(dice="pooled").supervised(logits, label), 1 - 2 * (p * t).sum() / (p.sum() + t.sum())
    )


def test_a_flat_answer_is_smooth_and_a_direction_is_sought():
    method, made = make(), batch()
    image = torch.cat([made.image, made.unlabelled])
    value = method.smoothness(image, replace(made, show=True))
    change = method.show["adversarial change"]
    assert change.shape == made.unlabelled.shape
    torch.testing.assert_close(
        change.flatten(1).norm(dim=1), torch.full((2,), 10.0), rtol=1e-4, atol=0
    )
    smaller = make(radius=0.01).smoothness(image, made)
    assert 0 < value.item() < 1
    assert 0 < smaller.item() < 1
    method.network = Answers(
        torch.tensor([100.0, -100, -100]).view(1, 3, 1, 1).expand(4, 3, 16, 16)
    )
    with pytest.raises(RuntimeError):  # an answer that does not depend on the image has no gradient
        method.smoothness(image, made)


def test_the_adversarial_change_is_worse_than_noise_of_its_length():
    """After some training, the direction costs more agreement than a random one (no dropout)."""
    torch.manual_seed(0)
    method = SSNet(
        SSNet.Options(name="ss_net"),
        lambda: UNet(UNet.Options(filters=4, levels=2, dropout=0), channels=1, classes=2),
    )
    optimiser = torch.optim.SGD(method.network.parameters(), lr=0.1, momentum=0.9)
    image = torch.randn(4, 1, 16, 16)
    image[:, :, 4:12, 4:12] += 1.5
    label = torch.zeros(4, 16, 16, dtype=torch.long)
    label[:, 4:12, 4:12] = 1
    for _ in range(40):
        optimiser.zero_grad()
        method.supervised(method.network(image).logits, label).backward()
        optimiser.step()
    made = Batch(image[:2], label[:2], image[2:], Randomness(1))
    found = method.smoothness(image, made).item()
    with torch.no_grad():
        target = method.probabilities(image)
        noises = [torch.randn_like(image) for _ in range(5)]
        changed = [
            image + 10 * noise / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1) for noise in noises
        ]
        random = max(
            method.divergence(method.probabilities(other), target).item() for other in changed
        )
    assert found > random


def test_perturbed_passes_leave_the_running_statistics():
    method, made = make(), batch()
    image = torch.cat([made.image, made.unlabelled])
    counted = method.network.encoder[0].norm1.num_batches_tracked
    method.smoothness(image, made)
    assert counted == 1
    assert all(
        layer.track_running_stats for layer in method.modules() if isinstance(layer, nn.BatchNorm2d)
    )


def test_the_smoothness_leaves_the_weights_gradients_to_the_loss():
    method, made = make(), batch()
    method.smoothness(torch.cat([made.image, made.unlabelled]), made)
    assert all(parameter.grad is None for parameter in method.parameters())


def test_noise_depends_on_the_step_alone():
    method, made = make(), batch()
    one, again = terms(method, made), terms(method, made)
    other = terms(method, replace(made, rng=Randomness(7, 0, 1)))
    assert one["smoothness"] == again["smoothness"] != other["smoothness"]


def test_the_weight_ramps_both_regularisers():
    options = {"steps": 1000, "consistency_weight": 1.0, "ramp_share": 1.0}
    first, last = (terms(make(**options), batch(), step) for step in (0, 1000))
    assert first["labelled"] == last["labelled"]
    for name in ("contrast", "smoothness"):
        assert last[name].item() == pytest.approx(first[name].item() * math.exp(5), rel=1e-4)


def test_watching_says_how_full_the_memory_is():
    method = make()
    terms(method, batch(watch=True, show=True))
    assert 0 < method.health["memory fill"].item() <= 1
    assert {"labelled Dice", "unlabelled foreground share"} < set(method.health)
    assert {"unlabelled prediction", "adversarial change"} == set(method.show)


def test_the_release_has_its_defects_as_plain_keys():
    ours = resolve("la-8", ["method.name=ss_net"])
    assert (ours.method.memory_keeps, ours.method.memory_scores, ours.method.contrast_mean) == (
        "highest",
        True,
        "contributing",
    )
    assert (LA.memory_keeps, LA.memory_scores, LA.contrast_mean) == ("lowest", False, "all")
    assert (ours.training.schedule, ours.training.selection) == ("polynomial", "last")
    released = resolve("la-8", ["method.name=ss_net", "method.variant=released"]).training
    assert (released.schedule, released.selection) == ("step", "test")
    assert not len(SSNet(LA, lambda: UNet(UNet.Options(), 1, 2)).memory_selectors)
