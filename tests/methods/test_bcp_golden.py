"""One whole BCP step against the official code: losses, pseudo-labels, gradients, new weights."""

import numpy as np
import pytest
import torch
from tests.helpers import golden_numbers as golden

from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.methods import bcp
from crossview.methods.bcp import BCP
from crossview.networks import official
from crossview.networks.unet import UNet
from crossview.networks.vnet import VNet
from crossview.recipe.resolve import resolve
from crossview.training.optimiser import Guard, make_optimiser
from crossview.training.options import TrainingOptions
from crossview.training.step import backpropagate

VNET = {
    theirs.replace("encoder1.", "encoder.").replace("decoder1.", "decoder."): ours
    for theirs, ours in official.official_vnet_keys(1).items()
}
UNET = official.official_unet_keys("encoder", "decoder", transposed=False)
CASES = {
    "la": ("la-8", "vnet", VNET, lambda **_: VNet(VNet.Options(filters=4, dropout=0), 1, 2)),
    "acdc": (
        "acdc-7",
        "unet_2d",
        UNET,
        lambda **_: UNet(UNet.Options(dropout=0.0, upsample="linear"), 1, 4),
    ),
}


def filled(method, container, keys):
    """The method with the golden weights of student and teacher."""
    numbers, ordered = golden.load("bcp_step"), golden.entries("bcp_step", container)
    for who in ("student", "teacher"):
        state = golden.fill(ordered, numbers[f"c_{who}"])
        getattr(method, who).load_state_dict(
            {keys[theirs]: tensor for theirs, tensor in state.items()}, strict=False
        )
    return method


def one_step(monkeypatch, case, dtype):
    """Run one optimiser step on the golden values; return the golden file's numbers by name."""
    setting, container, keys, build = CASES[case]
    numbers, ordered = golden.load("bcp_step"), golden.entries("bcp_step", container)
    options = resolve(setting, ["method.name=bcp", "method.variant=released"]).method
    method = filled(BCP(options, build), container, keys).to(dtype).train()
    labels = torch.from_numpy(numbers[f"{case}_labels"])
    image = (
        golden.inputs((8, 1, *labels.shape[1:]), numbers[f"{case}_d"])
        + 0.75 * labels[:, None].float()
    )
    image = image.to(dtype)
    (box,) = numbers[f"{case}_boxes"]
    monkeypatch.setattr(
        bcp, "random_box", lambda *_: tuple(slice(int(low), int(high)) for low, high in box)
    )
    pseudo = []
    clean = bcp.clean_async

    def kept(*arguments):
        pseudo.append(clean(*arguments))
        return pseudo[-1]

    monkeypatch.setattr(bcp, "clean_async", kept)
    guard = Guard(method, make_optimiser(method.parameters(), TrainingOptions()))
    guard.open()
    batch = Batch(image[:4], labels[:4].long(), image[4:], Randomness(1))
    terms = backpropagate(method, batch, method.stages[1], 0)
    ours = dict(method.student.named_parameters())
    parameters = [name for name, _ in ordered if "running_" not in name]
    buffers = [name for name, _ in ordered if "running_" in name]
    found = {"grad_norm": np.array([ours[keys[name]].grad.norm().item() for name in parameters])}
    guard.step(0, list(terms.values()))
    method.after_step(method.stages[1], 0)
    for who, prefix in (("student", ""), ("teacher", "teacher_")):
        state = getattr(method, who).state_dict()
        for kind, names in (("param", parameters), ("buffer", buffers)):
            found[f"{prefix}{kind}_sum"] = np.array(
                [state[keys[name]].double().sum() for name in names]
            )
            found[f"{prefix}{kind}_abssum"] = np.array(
                [state[keys[name]].double().abs().sum() for name in names]
            )
    # LA: one value per mix. ACDC: its Dice and CE; the loss is half their sum.
    mixes = numbers[f"{case}_mix"]
    assert mixes.ndim == {"la": 1, "acdc": 2}[case]
    found |= {
        "mix": np.array([value.item() for value in terms.values()]),
        "total": sum(value.item() for value in terms.values()),
    }
    found |= {
        f"pl_{half}": labels.result().numpy() for half, labels in zip("ab", pseudo, strict=True)
    }
    return found, numbers


def expected_mix(numbers, name):
    return numbers[name] if numbers[name].ndim == 1 else numbers[name].sum(1) / 2


SUMS = [f"{prefix}{kind}" for prefix in ("", "teacher_") for kind in ("param", "buffer")]


@pytest.mark.parametrize("case", CASES)
def test_float64_step_equals_the_official_one(monkeypatch, case):
    found, numbers = one_step(monkeypatch, case, torch.float64)
    np.testing.assert_allclose(found["mix"], expected_mix(numbers, f"f64_{case}_mix"), rtol=1e-8)
    np.testing.assert_allclose(found["total"], numbers[f"f64_{case}_total"], rtol=1e-8)
    np.testing.assert_allclose(
        found["grad_norm"], numbers[f"f64_{case}_grad_norm"], rtol=1e-7, atol=1e-12
    )
    for name in SUMS:
        scale = np.maximum(numbers[f"f64_{case}_{name}_abssum"], 1e-3)
        for what in ("sum", "abssum"):
            assert (
                np.abs(found[f"{name}_{what}"] - numbers[f"f64_{case}_{name}_{what}"])
                <= 1e-8 * scale
            ).all(), name


@pytest.mark.parametrize("case", CASES)
def test_float32_step_equals_the_official_one(monkeypatch, case):
    found, numbers = one_step(monkeypatch, case, torch.float32)
    for half in "ab":
        np.testing.assert_array_equal(found[f"pl_{half}"], numbers[f"{case}_pl_{half}"])
    np.testing.assert_allclose(found["mix"], expected_mix(numbers, f"{case}_mix"), rtol=2e-5)
    np.testing.assert_allclose(found["total"], numbers[f"{case}_total"], rtol=2e-5)
    np.testing.assert_allclose(
        found["grad_norm"], numbers[f"{case}_grad_norm"], rtol=2e-2, atol=1e-5
    )
    for name in SUMS:
        for what in ("sum", "abssum"):
            difference = np.abs(found[f"{name}_{what}"] - numbers[f"{case}_{name}_{what}"])
            assert (difference <= 1e-4 * numbers[f"{case}_{name}_abssum"]).all(), name
