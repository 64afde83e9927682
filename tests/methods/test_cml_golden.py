"""One whole CML step against the official code: losses, pseudo-labels, gradients, new weights."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.helpers import golden_numbers as golden

from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.methods import cml, heads
from crossview.methods.cml import CML
from crossview.methods.method import Stage
from crossview.networks import official
from crossview.networks.unet import UNet
from crossview.networks.vnet import VNet
from crossview.training.optimiser import Guard, make_optimiser
from crossview.training.options import TrainingOptions
from crossview.training.step import backpropagate

PRETRAIN, TRAIN = Stage("pretrain", 1, unlabelled=False), Stage("train", 1, unlabelled=True)


def la(numbers):
    options = CML.Options(name="cml", box=2 / 3, discrepancy_weight=0.2, unlabelled_weight=1.0)
    method = CML(
        options,
        lambda upsample: VNet(
            VNet.Options(filters=int(numbers["n_filters"]), dropout=0, upsample=upsample), 1, 2
        ),
    )
    ordered = golden.entries("cml_step_la", next(iter(golden_containers("cml_step_la"))))
    state = golden.fill(ordered, numbers["c"])
    keys = [official.official_vnet_keys(view) for view in (1, 2)]
    states = official.from_official_vnet(state)
    return method, ordered, keys, states, 0.75


def acdc(numbers, shared):
    options = CML.Options(
        name="cml",
        box=0.5,
        discrepancy_weight=0.1,
        unlabelled_weight=0.5,
        upsample=("linear", "transposed"),
        shared_views=shared,
    )
    method = CML(
        options, lambda upsample: UNet(UNet.Options(dropout=(0,) * 5, upsample=upsample), 1, 4)
    )
    ordered = golden.entries("cml_unet", "unet_released" if shared else "two_pairs")
    state = golden.fill(ordered, numbers["c"])
    names = (
        [("encoder", "decoder1", False)]
        if shared
        else [("encoder1", "decoder1", False), ("encoder2", "decoder2", True)]
    )
    keys = [
        official.official_unet_keys(encoder, decoder, transposed)
        for encoder, decoder, transposed in names
    ]
    return method, ordered, keys, official.from_official_unet(state, shared=shared), 0.5


def golden_containers(file) -> Iterator[str]:
    import json

    yield from json.loads((golden.FOLDER / f"entries_{file}.json").read_text())


CASES = {
    "la": ("cml_step_la", "", la),
    "acdc": ("cml_step_acdc", "two_", lambda numbers: acdc(numbers, shared=False)),
    "acdc-released": ("cml_step_acdc", "released_", lambda numbers: acdc(numbers, shared=True)),
}


def one_step(monkeypatch, case, stage, dtype):
    """Run one optimiser step on the golden values; return the golden file's numbers by name."""
    file, prefix, make = CASES[case]
    numbers = golden.load(file)
    method, ordered, keys, states, weight = make(numbers)
    for view, state in zip((method.view1, method.view2), states, strict=True):
        if view is not None:
            view.load_state_dict(state, strict=False)
    method.to(dtype).train()
    labels = torch.from_numpy(numbers["labels"])
    image = (
        golden.inputs((8, 1, *numbers["spatial"]), numbers["d"]) + weight * labels[:, None].float()
    )
    image, label = image.to(dtype), labels[:4].long()

    name = "pre" if stage is PRETRAIN else "self"
    boxes = iter(numbers[f"{prefix}{name}_boxes"])
    monkeypatch.setattr(
        cml, "random_box", lambda *_: tuple(slice(int(low), int(high)) for low, high in next(boxes))
    )
    seen = {"sup": [], "dis": []}
    for room, function, into in (
        (heads, "cross_entropy_dice", "sup"),
        (cml, "feature_discrepancy", "dis"),
    ):
        original = getattr(room, function)
        monkeypatch.setattr(
            room, function, lambda *a, original=original, into=into: _kept(original(*a), seen[into])
        )
    pseudo = []
    clean = heads.clean_async
    monkeypatch.setattr(heads, "clean_async", lambda *a: _kept_labels(clean(*a), pseudo))

    optimiser = make_optimiser(method.parameters(), TrainingOptions())
    guard = Guard(method, optimiser)
    guard.open()
    batch = Batch(image[:4], label, image[4:] if stage.unlabelled else None, Randomness(1))
    terms = backpropagate(method, batch, stage, 0)
    views = [view for view in (method.view1, method.view2) if view is not None]
    gradients = {}
    for view, names in zip(views, keys, strict=True):
        ours = dict(view.named_parameters())
        gradients |= {
            theirs: ours[mine].grad.norm().item() for theirs, mine in names.items() if mine in ours
        }
    guard.step(0, list(terms.values()))
    after = {}
    for view, names in zip(views, keys, strict=True):
        ours = view.state_dict()
        after |= {theirs: ours[mine] for theirs, mine in names.items()}
    order = [entry for entry, _ in ordered]
    parameters = [entry for entry in order if "running_" not in entry]
    buffers = [entry for entry in order if "running_" in entry]
    before = golden.fill(ordered, numbers["c"])
    values = {entry: after.get(entry, before[entry]).double() for entry in order}
    found = {
        "total": sum(value.item() for value in terms.values()),
        "sup": np.array([value.item() for value in seen["sup"]]),
        "dis": np.array([value.item() for value in seen["dis"]]),
        "grad_norm": np.array([gradients.get(entry, np.nan) for entry in parameters]),
        "param_sum": np.array([values[entry].sum() for entry in parameters]),
        "param_abssum": np.array([values[entry].abs().sum() for entry in parameters]),
        "buffer_sum": np.array([values[entry].sum() for entry in buffers]),
        "buffer_abssum": np.array([values[entry].abs().sum() for entry in buffers]),
    }
    if stage.unlabelled:
        found |= {"loss_l": terms["labelled"].item(), "loss_u": terms["unlabelled"].item()}
        found |= {f"pl{i}": labels().numpy() for i, labels in enumerate(pseudo, 1)}
    return (
        found,
        {key: numbers[f"{prefix}{name}_{key}"] for key in found},
        numbers,
        f"f64_{prefix}{name}_",
    )


def _kept(value, into):
    into.append(value.detach())
    return value


def _kept_labels(labels, into):
    into.append(labels.result)
    return labels


def steps():
    for case in CASES:
        for stage in (PRETRAIN, TRAIN):
            if (case, stage) != ("acdc-released", PRETRAIN):
                yield pytest.param(case, stage, id=f"{case}-{stage.name}")


@pytest.mark.parametrize(("case", "stage"), list(steps()))
def test_float64_step_equals_the_official_one(monkeypatch, case, stage):
    found, _, numbers, prefix = one_step(monkeypatch, case, stage, torch.float64)
    for key in ("total", "sup", "dis"):
        np.testing.assert_allclose(
            found[key], numbers[prefix + key], rtol=1e-7 if key == "total" else 1e-8
        )
    np.testing.assert_allclose(
        found["grad_norm"], numbers[prefix + "grad_norm"], rtol=1e-7, atol=1e-12
    )
    for kind in ("param", "buffer"):
        scale = numbers[f"{prefix}{kind}_abssum"]
        for what in ("sum", "abssum"):
            difference = np.abs(found[f"{kind}_{what}"] - numbers[f"{prefix}{kind}_{what}"])
            assert (difference <= 1e-8 * np.maximum(scale, 1e-3)).all()


@pytest.mark.parametrize(("case", "stage"), list(steps()))
def test_float32_step_equals_the_official_one(monkeypatch, case, stage):
    found, expected, _, _ = one_step(monkeypatch, case, stage, torch.float32)
    for key in ("total", "sup", "dis", "loss_l", "loss_u"):
        if key in found:
            np.testing.assert_allclose(found[key], expected[key], rtol=2e-5)
    for key in ("pl1", "pl2"):
        if key in found:
            np.testing.assert_array_equal(found[key], expected[key])
    np.testing.assert_allclose(found["grad_norm"], expected["grad_norm"], rtol=2e-2, atol=1e-5)
    for kind, tolerance in (("param", 2e-4), ("buffer", 1e-4)):
        for what in ("sum", "abssum"):
            difference = np.abs(found[f"{kind}_{what}"] - expected[f"{kind}_{what}"])
            assert (difference <= tolerance * expected[f"{kind}_abssum"]).all()
