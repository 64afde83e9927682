"""The loop: what it must never do, and what it says."""

from dataclasses import replace

import pytest
import torch
from tests.helpers.small_run import SMALL, small

from crossview.core.errors import UserError
from crossview.core.journal import read_journal
from crossview.data.sources import phantom
from crossview.methods import METHODS
from crossview.methods.cml import CML
from crossview.methods.supervised import Supervised
from crossview.networks.vnet import VNet
from crossview.recipe.resolve import resolve
from crossview.runs import evaluate as run_module
from crossview.runs.prepare import prepare
from crossview.runs.train import train
from crossview.training import loop, optimiser


def poisoned(case):
    """A case whose label can't be read without the test failing."""

    def fail():
        raise AssertionError(f"the label of {case.id} was read")

    return replace(case, read_label=fail)


def test_training_reads_neither_test_cases_nor_labels_of_unlabelled_cases(tmp_path, monkeypatch):
    original = phantom.splits

    def splits(root, options):
        found = original(root, options)

        def fail():
            raise AssertionError("a test case was read")

        test = tuple(replace(case, read_image=fail, read_label=fail) for case in found.test)
        return replace(
            found,
            test=test,
            unlabelled=tuple(poisoned(case).without_label() for case in found.unlabelled),
        )

    monkeypatch.setattr(phantom, "splits", splits)
    small(tmp_path / "run")
    prepared = prepare(resolve("demo", SMALL), None)
    assert prepared.stream.unlabelled.labels is None
    assert not {case.id for case in prepared.splits.test} & {
        *prepared.stream.labelled.ids,
        *prepared.stream.unlabelled.ids,
    }


def test_selection_by_test_reads_test_cases_and_says_so(tmp_path):
    run = small(tmp_path / "run", "training.selection=test", "training.evaluate_every=2")
    summary = run_module.evaluate(run)
    assert summary["optimistic"]
    assert summary["checkpoint"] == "selected"
    assert "optimistic" in (run.path / "report.html").read_text()


def poison(monkeypatch, method, when):
    """Make the loss not finite at some of its calls, and the batch-norm statistics with it."""
    original, calls = method.loss, []

    def loss(self, batch, stage, step):
        calls.append(step)
        if when(len(calls)):
            batch = replace(batch, image=batch.image * float("nan"))
        yield from (
            [original(self, batch, stage, step)]
            if method is Supervised
            else original(self, batch, stage, step)
        )

    monkeypatch.setattr(method, "loss", loss)


@pytest.mark.parametrize("bad", [1, 3, 6])
def test_a_loss_that_is_not_finite_never_reaches_the_weights(tmp_path, monkeypatch, bad):
    poison(monkeypatch, CML, lambda call: call == bad)
    run = small(tmp_path / "run")
    state = torch.load(run.path / "checkpoints" / "last.pt", weights_only=True)
    tensors = [
        *state["weights"].values(),
        *(value["momentum_buffer"] for value in state["optimiser"]["state"].values()),
    ]
    assert all(torch.isfinite(tensor).all() for tensor in tensors)
    (warning,) = [
        row["text"] for row in read_journal(run.path / "journal.jsonl") if row["kind"] == "warning"
    ]
    stage, step = ("pretrain", bad - 1) if bad <= 3 else ("train", bad - 4)
    assert f"stage {stage}, step {step} was not finite" in warning
    stream = prepare(resolve("demo", SMALL), None).stream
    for name in stream.case_ids(int(stage == "train"), step, unlabelled=stage == "train"):
        assert name in warning


def test_a_skipped_step_leaves_everything_as_it_was(tmp_path, monkeypatch):
    """Also the first one, where fused SGD leaves its own momentum uninitialised."""
    poison(monkeypatch, Supervised, lambda call: True)
    sets = ("method.name=supervised", "method.steps=3")
    overrides = [text for text in SMALL if not text.startswith("method.")]
    from crossview.runs.train import train

    run, _ = train("demo", None, tmp_path / "run", overrides=[*overrides, *sets])
    state = torch.load(run.path / "checkpoints" / "last.pt", weights_only=True)
    torch.manual_seed(loop.Randomness(1).number("weights"))
    fresh = resolve("demo", [*overrides, *sets]).build_method(1).state_dict()
    for name, value in state["weights"].items():
        assert torch.equal(value, fresh[name]) or name.endswith("num_batches_tracked"), name
    assert all(
        (value["momentum_buffer"] == 0).all() for value in state["optimiser"]["state"].values()
    )


def test_divergence_ends_the_run_with_advice(tmp_path, monkeypatch):
    poison(monkeypatch, CML, lambda call: call > 1)
    monkeypatch.setattr(optimiser, "DIVERGED_AFTER", 4)
    with pytest.raises(UserError, match=r"diverged(.|\n)*learning_rate"):
        small(tmp_path / "run", "training.log_every=1", "method.train_steps=10")


def test_a_dead_run_folder_is_not_made_by_bad_data(tmp_path):
    with pytest.raises(UserError, match="labelled"):
        small(tmp_path / "run", "training.labelled_batch=6")
    assert not (tmp_path / "run").exists()


def test_picture_and_journal_carry_what_a_person_looks_for(tmp_path):
    run = small(tmp_path / "run")
    assert sorted(path.name for path in (run.path / "pictures").iterdir()) == [
        "01-pretrain-step-000000.png",
        "02-train-step-000000.png",
    ]
    last = [row for row in read_journal(run.path / "journal.jsonl") if row["kind"] == "step"][-1]
    assert set(last["terms"]) == {
        "labelled",
        "labelled discrepancy",
        "unlabelled",
        "unlabelled discrepancy",
    }
    assert {
        "view1 labelled Dice",
        "view2 labelled Dice",
        "view1 pseudo-label share",
        "view2 pseudo-label share",
    } == set(last["health"])
    assert last["loss"] == pytest.approx(sum(last["terms"].values()))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", METHODS)
def test_every_pass_of_training_is_in_the_precision_asked_for(
    tmp_path, monkeypatch, name, precision
):
    """A method may return its terms at once or one after the other."""
    seen = []
    plain = VNet.forward

    def forward(self, image):
        output = plain(self, image)
        seen.append(output.bottleneck.dtype)
        return output

    monkeypatch.setattr(VNet, "forward", forward)
    two_stages = "pretrain_steps" in METHODS[name].Options.model_fields
    steps = (
        ["method.pretrain_steps=1", "method.train_steps=1"] if two_stages else ["method.steps=2"]
    )
    kept = [
        each
        for each in SMALL
        if not each.startswith(("method.", "training.precision", "network.levels"))
    ]
    wide = [
        "data.patch=[16,16,16]",
        "network.levels=3",
        "inference.stride=[16,16,16]",
        f"training.precision={precision}",
    ]
    train("demo", None, tmp_path / "run", overrides=[*kept, *wide, f"method.name={name}", *steps])
    assert len(seen) >= 2
    assert set(seen) == {torch.float32 if precision == "float32" else torch.bfloat16}
