"""The plugin that adds choices to CML: CML itself where none is made, and each choice does what it says."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.choices import Choices, ChoicesOptions

import crossview
from crossview.batch import Batch
from crossview.methods.plugin import load
from crossview.rng import Randomness
from crossview.training.journal import read_journal

NAME = "benchmarks.choices:Choices"
SMALL = [
    "method.pretrain_steps=2",
    "method.train_steps=4",
    "data.size=16",
    "data.patch=[16,16,16]",
    "network.filters=2",
    "network.levels=2",
    "network.dropout=0.3",
    "method.box=0.6667",
    "method.discrepancy_weight=0.05",
    "training.log_every=1",
    "training.precision=float32",
]


@pytest.fixture(autouse=True)
def plugin():
    load(NAME)


def losses(out, *sets, name=NAME):
    run, _ = crossview.train("demo", None, out, overrides=[f"method.name={name}", *SMALL, *sets])
    return run, [
        row["terms"] for row in read_journal(run.path / "journal.jsonl") if row["kind"] == "step"
    ]


def test_without_a_choice_it_is_cml(tmp_path):
    assert issubclass(Choices, crossview.methods.CML)
    assert losses(tmp_path / "choices")[1] == losses(tmp_path / "cml", name="cml")[1]


@pytest.mark.parametrize("choice", ["ramp=3", "confidence=0.7", "average=0.9"])
def test_each_choice_changes_the_second_stage_alone(tmp_path, choice):
    plain, changed = (
        losses(tmp_path / "plain")[1],
        losses(tmp_path / "changed", f"method.{choice}")[1],
    )
    assert plain[:2] == changed[:2]
    assert all(torch.isfinite(torch.tensor(list(terms.values()))).all() for terms in changed)
    assert plain[2:] != changed[2:]


def test_the_ramp_begins_near_nothing(tmp_path):
    plain, ramped = losses(tmp_path / "plain")[1], losses(tmp_path / "ramped", "method.ramp=100")[1]
    assert ramped[2]["unlabelled"] == pytest.approx(0.0067 * plain[2]["unlabelled"], rel=0.01)


def test_mirroring_reverses_image_and_label_together_about_half_of_the_time():
    image = torch.arange(40 * 6, dtype=torch.float32).reshape(40, 1, 3, 2, 1)
    batch = Batch(image, image[:, 0].long(), image[:10], Randomness(3, step=1))
    method = Choices(ChoicesOptions(name=NAME, mirror=True), lambda **_: torch.nn.Identity())
    mirrored = method.mirrored(batch)
    turned = [
        bool(now[0, 0, 0, 0] != before[0, 0, 0, 0])
        for now, before in zip(mirrored.image, image, strict=True)
    ]
    assert 10 < sum(turned) < 30
    for now, before, turn in zip(mirrored.image, image, turned, strict=True):
        assert torch.equal(now, before.flip(1) if turn else before)
    assert torch.equal(mirrored.label, mirrored.image[:, 0].long())
    assert mirrored.unlabelled is not None
    assert not torch.equal(mirrored.unlabelled, image[:10])
    assert torch.equal(method.mirrored(batch).image, mirrored.image)
