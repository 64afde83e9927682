"""The contract of a method, in 2D and 3D, with two and four classes, in float32 and bf16."""

import copy
import itertools
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from crossview.core.partial import IGNORED, PartialLabels
from crossview.core.plugins import LOADED
from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.methods import METHODS, find
from crossview.methods.plugin import checked_terms
from crossview.networks.unet import UNet
from crossview.networks.vnet import VNet
from crossview.recipe.resolve import resolve
from crossview.runs.prepare import prepare
from crossview.training.device import autocast
from crossview.training.optimiser import Guard, make_optimiser
from crossview.training.options import TrainingOptions
from crossview.training.step import backpropagate

NAMES = [*METHODS, *LOADED]
TENTH_STEPS = Path(__file__).parents[1] / "golden" / "tenth_steps.json"
SIDES = {2: (16, 16), 3: (8, 8, 8)}
PAIRS = [(2, 2, "float32"), (3, 2, "bf16"), (2, 4, "bf16"), (3, 4, "float32")]
ALL = [case for case in itertools.product((2, 3), (2, 4), ("float32", "bf16")) if case not in PAIRS]
KINDS = [pytest.param(*case, id="-".join(map(str, case))) for case in PAIRS] + [
    pytest.param(*case, id="-".join(map(str, case)), marks=pytest.mark.slow) for case in ALL
]


def make(name, dimensions, classes, dropout=0.1, **options):
    """Return a method with networks of 2 filters and 2 levels."""
    torch.manual_seed(3)
    method, network = find(name), {2: UNet, 3: VNet}[dimensions]

    def build(upsample="linear", scales=0):
        keys = {"filters": 2, "levels": 2, "dropout": dropout, "upsample": upsample}
        return network(network.Options(**keys), channels=1, classes=classes, scales=scales)

    return method(method.Options(name=name, **options), build)


def batch(dimensions, classes, step, unlabelled):
    """Return a learnable batch: one bright block per class."""
    random = torch.Generator().manual_seed(step)
    label = torch.randint(
        0, classes, (4, *(side // 4 for side in SIDES[dimensions])), generator=random
    )
    for axis in range(1, dimensions + 1):
        label = label.repeat_interleave(4, axis)
    image = label[:, None].float() + 0.3 * torch.randn(label[:, None].shape, generator=random)
    without = (
        image.flip(0) + 0.3 * torch.randn(image.shape, generator=random) if unlabelled else None
    )
    return Batch(image, label, without, Randomness(5, 0, step))


class Trainer:
    """Training steps without the loop."""

    def __init__(self, method, precision):
        self.method, self.precision = method, precision
        self.optimiser = make_optimiser(method.parameters(), TrainingOptions(learning_rate=0.05))
        self.guard = Guard(method, self.optimiser)

    def step(self, stage, step, made):
        self.method.train()
        torch.manual_seed(1000 + step)
        self.optimiser.zero_grad()
        self.guard.open()
        terms = backpropagate(self.method, made, stage, step, self.forward)
        self.guard.step(step, list(terms.values()))
        self.method.after_step(stage, step)
        return terms

    def forward(self):
        return autocast(torch.device("cpu"), self.precision)


def warmed(name, dimensions, classes, precision, steps=5):
    """Return a method after some steps of its last stage, and its trainer."""
    method = make(name, dimensions, classes)
    trainer = Trainer(method, precision)
    stage = method.stages[-1]
    method.begin(stage)
    for step in range(steps):
        trainer.step(stage, step, batch(dimensions, classes, step, stage.unlabelled))
    return method, trainer, stage, steps


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dimensions", "classes", "precision"), KINDS)
class TestEveryMethod:
    def test_each_term_is_finite_and_reaches_the_networks(
        self, name, dimensions, classes, precision
    ):
        # Mid-ramp, and late enough that a teacher is certain of something (UA-MT's mask).
        method, trainer, stage, _ = warmed(name, dimensions, classes, precision, steps=25)
        step = stage.steps // 2
        torch.manual_seed(0)
        made = batch(dimensions, classes, step, stage.unlabelled)
        parts = checked_terms(method, made, stage, step)
        parameters = [parameter for parameter in method.parameters() if parameter.requires_grad]
        while True:
            with trainer.forward():
                part = next(parts, None)
            if part is None:
                break
            for term, value in part.items():
                assert value.ndim == 0, term
                assert value.dtype in (torch.float32, torch.float64), term
                assert torch.isfinite(value), term
                assert value.item() != 0, f"{term} is a constant zero"
                gradients = torch.autograd.grad(
                    value, parameters, retain_graph=True, allow_unused=True
                )
                size = sum(gradient.abs().sum() for gradient in gradients if gradient is not None)
                assert torch.isfinite(size), f"{term} has a gradient that is not finite"
                assert size > 0, f"{term} has no gradient"

    def test_predictions_are_probabilities(self, name, dimensions, classes, precision):
        method, _, _, _ = warmed(name, dimensions, classes, precision, steps=2)
        method.eval()
        image = batch(dimensions, classes, 50, unlabelled=False).image
        with torch.no_grad(), autocast(torch.device("cpu"), precision):
            views = method.views(image)
            probability = method.combine(views)
        assert probability.shape == (4, classes, *SIDES[dimensions])
        assert probability.dtype == torch.float32
        torch.testing.assert_close(
            probability.sum(1), torch.ones(4, *SIDES[dimensions]), rtol=1e-5, atol=1e-5
        )
        assert all(view.shape == probability.shape for view in views.values())

    def test_training_goes_on_exactly_from_its_state(self, name, dimensions, classes, precision):
        method, trainer, stage, step = warmed(name, dimensions, classes, precision)
        weights, optimiser = (
            copy.deepcopy(method.state_dict()),
            copy.deepcopy(trainer.optimiser.state_dict()),
        )
        other = make(name, dimensions, classes)
        resumed = Trainer(other, precision)
        other.load_state_dict(weights)
        resumed.optimiser.load_state_dict(optimiser)
        for later in (step, step + 1):
            made = batch(dimensions, classes, later, stage.unlabelled)
            trainer.step(stage, later, made)
            resumed.step(stage, later, made)
        for key, value in method.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_a_method_learns(name):
    _, trainer, stage, _ = warmed(name, 2, 2, "float32", steps=0)
    first = [
        sum(trainer.step(stage, k, batch(2, 2, k, stage.unlabelled)).values()).item()
        for k in range(3)
    ]
    for k in range(3, 60):
        trainer.step(stage, k, batch(2, 2, k, stage.unlabelled))
    last = [
        sum(trainer.step(stage, k, batch(2, 2, k, stage.unlabelled)).values()).item()
        for k in range(60, 63)
    ]
    assert sum(last) < 0.9 * sum(first)


@pytest.mark.parametrize("name", NAMES)
def test_showing_and_watching_do_not_change_the_loss(name):
    losses = []
    for looked_at in (False, True):
        method, trainer, stage, step = warmed(name, 2, 4, "float32", steps=3)
        made = replace(batch(2, 4, step, stage.unlabelled), show=looked_at, watch=looked_at)
        losses.append({key: value.item() for key, value in trainer.step(stage, step, made).items()})
        assert looked_at or not method.show
    assert losses[0] == losses[1]


def supervised_terms(name, made, **options):
    """Return the terms that name labels, and the gradient of their sum in the networks."""
    method = make(name, 2, 4, **options).train()
    stage, step = method.stages[-1], method.stages[-1].steps // 2
    torch.manual_seed(0)
    terms = {}
    for part in checked_terms(method, made, stage, step):
        # Discrepancy is of features; a mix holds pseudo-labels in its other part.
        terms |= {key: value for key, value in part.items() if key.endswith("labelled")}
        terms |= {key: value for key, value in part.items() if key.startswith("labels ")}
    terms = {key: value for key, value in terms.items() if "unlabelled" not in key}
    assert terms, "a method has a term of its labels"
    parameters = [each for each in method.parameters() if each.requires_grad]
    return terms, torch.autograd.grad(
        sum(terms.values()), parameters, allow_unused=True, materialize_grads=True
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_wholly_ignored_batch_teaches_nothing_by_its_label(name):
    options = {"unlabelled_weight": 0.0} if name == "bcp" else {}
    made = batch(2, 4, 1, unlabelled=True)
    _, gradients = supervised_terms(name, made, **options)
    assert any(gradient.ne(0).any() for gradient in gradients)
    ignored = replace(made, label=torch.full_like(made.label, IGNORED), partial=PartialLabels())
    terms, gradients = supervised_terms(name, ignored, **options)
    assert all(value.abs() < 1e-5 for value in terms.values())
    assert all(gradient.eq(0).all() for gradient in gradients)


@pytest.mark.parametrize("name", METHODS)
def test_partial_labels_without_an_ignored_voxel_are_whole_ones(name):
    made = replace(batch(2, 4, 1, unlabelled=True), watch=True)
    whole, _ = supervised_terms(name, made)
    partly, _ = supervised_terms(name, replace(made, partial=PartialLabels()))
    assert whole.keys() == partly.keys()
    for key, value in whole.items():
        torch.testing.assert_close(partly[key], value)


@pytest.mark.parametrize("name", METHODS)
def test_classes_nobody_looked_for_reach_the_loss(name):
    """Background that may be class 3 teaches something else than background, or class 3."""
    partial = PartialLabels(((0, 3),))
    made = replace(batch(2, 4, 1, unlabelled=True), watch=True)
    found = []
    for value in (partial.value((0, 3)), 0, 3):
        label = made.label.where((made.label > 0) & (made.label < 3), value)
        terms, gradients = supervised_terms(name, replace(made, label=label, partial=partial))
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        found.append(sum(terms.values()).item())
    assert found[0] < min(found[1:]), "of more classes, more is right"


def la_folder(root, changed=()):
    """Write six training cases and a test case as LA does; ``changed`` cases get other labels."""
    random = np.random.default_rng(0)
    names = [f"CASE{number}" for number in range(7)]
    root.mkdir()
    (root / "train.list").write_text("\n".join(names[:6]) + "\n")
    (root / "test.list").write_text(names[6] + "\n")
    for number, name in enumerate(names):
        folder = root / "2018LA_Seg_Training Set" / name
        folder.mkdir(parents=True)
        label = np.zeros((18, 18, 10), np.uint8)
        label[5:12, 6:14, 3:8] = 1
        with h5py.File(folder / "mri_norm2.h5", "w") as file:
            file["image"] = (random.normal(size=label.shape) + 2 * label).astype(np.float32)
            file["label"] = 1 - label if number in changed else label
    return root


@pytest.fixture(scope="module")
def la_folders(tmp_path_factory):
    """Return the data, then with other labels of unlabelled, then of labelled cases."""
    folder = tmp_path_factory.mktemp("la")
    return (
        la_folder(folder / "a"),
        la_folder(folder / "b", changed=(4, 5)),
        la_folder(folder / "c", changed=range(4)),
    )


@pytest.mark.parametrize("name", NAMES)
def test_terms_do_not_depend_on_labels_of_unlabelled_cases(la_folders, name):
    """A batch has no field for such labels; this tests from the files on."""
    sets = [
        "data.labelled=4",
        "data.patch=[16,16,8]",
        "inference.stride=[8,8,4]",
        "network.filters=2",
        "network.levels=2",
    ]
    recipe = resolve("la-8", [f"method.name={name}", "training.precision=float32", *sets])
    found = []
    for root in la_folders:
        torch.manual_seed(0)
        method = recipe.build_method(channels=1).train()
        stage = method.stages[-1]
        made = prepare(recipe, root).stream.batch(
            len(method.stages) - 1, stage.steps // 2, unlabelled=stage.unlabelled
        )
        torch.manual_seed(1)
        terms = method.loss(made, stage, stage.steps // 2)
        parts = [terms] if isinstance(terms, dict) else terms
        found.append({term: value.item() for part in parts for term, value in part.items()})
    assert found[0] == found[1]
    assert found[0] != found[2], "labels of labelled cases count"


@pytest.mark.parametrize("name", NAMES)
def test_stages_are_data(name):
    stages = make(name, 2, 2).stages
    assert stages
    assert all(stage.steps > 0 for stage in stages)
    assert len({stage.name for stage in stages}) == len(stages)


def tenth_step(name):
    """Return the loss terms of step 10 of the last stage, float64, no dropout, three classes."""
    method = make(name, 3, 3, dropout=0.0).double()
    trainer = Trainer(method, "float32")
    stage = method.stages[-1]
    method.begin(stage)
    terms = {}
    for step in range(10):
        made = batch(3, 3, step, stage.unlabelled)
        without = None if made.unlabelled is None else made.unlabelled.double()
        terms = trainer.step(
            stage, step, replace(made, image=made.image.double(), unlabelled=without)
        )
    return {term: value.item() for term, value in terms.items()}


@pytest.mark.parametrize("name", METHODS)
def test_the_tenth_step_is_as_it_was(name):
    """For a change that should alter numbers: run this file, and say why in the commit."""
    assert tenth_step(name) == pytest.approx(json.loads(TENTH_STEPS.read_text())[name], rel=1e-6)


if __name__ == "__main__":
    TENTH_STEPS.write_text(
        json.dumps({name: tenth_step(name) for name in sorted(METHODS)}, indent=1) + "\n"
    )
