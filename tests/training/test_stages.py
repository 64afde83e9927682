"""A labelled stage that waits: until no network is one that would teach the others nothing."""

import pytest
import torch
from tests.helpers.small_run import SMALL, assert_bit_equal, small, weights
from torch import nn

from crossview.core.errors import UserError
from crossview.core.journal import read_journal
from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.evaluation.compare import compare
from crossview.methods.method import Method, MethodOptions
from crossview.recipe.resolve import resolve
from crossview.runs.evaluate import evaluate
from crossview.training import loop
from crossview.training.distributed import ALONE
from crossview.training.stages import behind, lacking, learned

NEVER = "method.ready_dice=0.999"
WAITING = "method.ready_dice=0.5"


def rows(run, *kinds):
    return [row for row in read_journal(run.path / "journal.jsonl") if row["kind"] in kinds]


# -- what is measured ----------------------------------------------------------------------------


class Two(Method):
    """The image's channels are the logits of "good"; "dead" is background. Modes are noted."""

    def __init__(self):
        super().__init__(MethodOptions(name="two"), nn.Identity)
        self.layer = nn.Dropout(0.5)
        self.modes = []

    def views(self, image):
        self.modes.append((self.training, self.layer.training, torch.is_grad_enabled()))
        return {"good": image, "dead": torch.zeros_like(image)}


def batch(predicted, label, classes=3):
    image = nn.functional.one_hot(torch.tensor(predicted), classes).movedim(-1, 1).float()
    return Batch(image=image, label=torch.tensor(label), unlabelled=None, rng=Randomness(0))


def test_dice_is_that_of_all_crops_together():
    method = Two().train()
    found = learned(
        method,
        [batch([[[1, 1, 2, 0]]], [[[1, 0, 2, 0]]]), batch([[[1, 0, 0, 0]]], [[[1, 1, 1, 0]]])],
        ALONE,
    )
    assert found["good"] == {"1": pytest.approx(2 * 2 / (3 + 4)), "2": 1.0}
    assert found["dead"] == {"1": 0.0, "2": 0.0}
    assert method.modes == [(False, False, False)] * 2
    assert method.training
    assert method.layer.training


def test_a_class_that_no_crop_holds_is_left_out_even_where_it_is_predicted():
    assert learned(Two(), [batch([[[1, 2]]], [[[1, 0]]])], ALONE)["good"] == {"1": 1.0}


def test_what_is_lacking():
    dice = {"view1": {"1": 0.8, "2": 0.49}, "view2": {"1": 0.5, "2": 0.5}}
    assert lacking(dice, 0.5) == {"view1": {"2": 0.49}}
    assert (
        behind(lacking(dice, 0.5), 0.5)
        == "on labelled crops view1 reaches 49.0 % for class 2; a Dice of 50 % is needed"
    )
    assert behind({}, 0.5) == ""
    assert lacking({"view1": {}}, 0.5) == {"view1": {}}
    assert "view1 saw no class" in behind({"view1": {}}, 0.5)


@pytest.mark.parametrize(("name", "networks"), [("cml", {"view1", "view2"}), ("bcp", {"student"})])
def test_networks_that_the_stage_does_not_train_are_not_waited_for(tmp_path, name, networks):
    run = small(tmp_path / "run", f"method.name={name}", NEVER)
    assert set(rows(run, "readiness")[-1]["dice"]) == networks


# -- what the loop makes of it -------------------------------------------------------------------


def test_a_stage_that_waits_for_ever_makes_the_run_a_labelled_only_one_and_says_so(
    tmp_path, capsys
):
    waited = small(tmp_path / "waited", NEVER)
    labelled_only = small(tmp_path / "labelled", "method.pretrain_steps=7", "method.train_steps=0")
    assert_bit_equal(waited, labelled_only)
    assert [row["stage"] for row in rows(waited, "stage")] == ["pretrain"]
    assert [row["total_step"] for row in rows(waited, "readiness")] == [3, 4, 5, 6, 7]
    (warning,) = rows(waited, "warning")
    assert "the unlabelled scans were not used: on labelled crops view1 reaches" in warning["text"]
    told = capsys.readouterr().err
    assert "step 3: stage pretrain continues: on labelled crops view1 reaches" in told
    assert "warning: stage pretrain used all steps" in told
    assert waited.finished
    assert evaluate(waited)["notes"][-1].endswith("the unlabelled scans were not used.")
    evaluate(labelled_only)
    text = compare([waited.path, labelled_only.path]).markdown()
    assert "cml (labelled stage only)" in text, text
    assert "seed 1: The networks did not learn enough before the last step" in text, text


def ready_after(monkeypatch, steps):
    """Networks that have learned once ``steps`` batches have been seen."""

    def fake(method, batches, world):
        return {"view1": {"1": 1.0}, "view2": {"1": 1.0 if len(list(batches)) >= steps else 0.1}}

    monkeypatch.setattr(loop, "learned", fake)


def test_what_waiting_takes_the_next_stage_loses(tmp_path, monkeypatch):
    ready_after(monkeypatch, 5)
    run = small(tmp_path / "run", WAITING, "training.log_every=100")
    assert [(row["stage"], row["steps"], row["total_step"]) for row in rows(run, "stage")] == [
        ("pretrain", 3, 0),
        ("train", 2, 5),
    ]
    assert [row["ready"] for row in rows(run, "readiness")] == [False, False, True]
    assert [row["total_step"] for row in rows(run, "finished")] == [7]
    logged = rows(run, "step")
    assert "unlabelled" not in logged[-2]["terms"]
    assert [row["total_step"] for row in logged] == [3, 4, 5, 7]


def test_networks_that_are_ready_wait_for_nothing(tmp_path, monkeypatch):
    ready_after(monkeypatch, 1)
    run = small(tmp_path / "run", WAITING)
    assert_bit_equal(run, small(tmp_path / "plain"))
    assert [row["ready"] for row in rows(run, "readiness")] == [True]


@pytest.mark.parametrize("stopped_after", range(8))
def test_a_run_that_waits_resumes_bit_for_bit(tmp_path, monkeypatch, stopped_after):
    ready_after(monkeypatch, 5)
    whole = small(tmp_path / "whole", WAITING)
    small(tmp_path / "run", WAITING, max_steps=stopped_after)
    run = small(tmp_path / "run", WAITING, resume=True)
    assert_bit_equal(whole, run)
    kinds = ("stage", "step", "readiness", "finished")
    told, expected = (
        [(row["kind"], row["total_step"]) for row in rows(each, *kinds)] for each in (run, whole)
    )
    assert told == expected


def test_looking_disturbs_nothing(tmp_path):
    """The real look, which goes through networks with dropout and batch norm."""
    run = small(
        tmp_path / "run",
        "method.ready_dice=1e-9",
        "method.pretrain_steps=6",
        "method.train_steps=1",
    )
    ready = [row["ready"] for row in rows(run, "readiness")]
    plain = small(
        tmp_path / "plain",
        f"method.pretrain_steps={5 + len(ready)}",
        f"method.train_steps={2 - len(ready)}",
    )
    assert_bit_equal(run, plain)


def test_the_stage_after_starts_from_the_networks_that_were_found_ready(tmp_path, monkeypatch):
    ready_after(monkeypatch, 5)
    scored = (
        "data.labelled=5",
        "data.validation=1",
        "training.selection=validation",
        "training.evaluate_every=1",
    )
    scores = iter([0.9, *[0.1] * 20])
    monkeypatch.setattr(
        "crossview.runs.train.quick_dice",
        lambda *_: {"mean": next(scores), "classes": {}, "views": {}},
    )
    waited = small(tmp_path / "run", WAITING, *scored, max_steps=5)
    start = weights(waited)
    seen = []
    original = loop.Training.run_stage

    def run_stage(self, stage, stop):
        if stage.unlabelled and self.position.step == 0:
            seen.append(
                {name: value.clone() for name, value in self.job.method.state_dict().items()}
            )
        return original(self, stage, stop)

    monkeypatch.setattr(loop.Training, "run_stage", run_stage)
    small(tmp_path / "run", WAITING, *scored, resume=True)
    assert all(torch.equal(start[f"weights {name}"], value) for name, value in seen[0].items())


def test_a_dice_that_cannot_be_reached_is_refused():
    with pytest.raises(UserError, match="ready_dice"):
        resolve("demo", [*SMALL, "method.ready_dice=1"])
