"""The memory of a training step is estimated, and compared with what there is, before training."""

from pathlib import Path

import pytest
import torch
from tests.helpers.small_run import SMALL, small
from typer.testing import CliRunner

from crossview.cli import app
from crossview.core.errors import UserError
from crossview.methods import METHODS
from crossview.recipe.resolve import resolve
from crossview.runs import memory
from crossview.runs.prepare import prepare

LARGE = [*SMALL, "data.size=40", "data.patch=[32,32,32]", "network.filters=5"]


STEADY = [name for name, method in METHODS.items() if method.recordable]


@pytest.mark.parametrize("name", STEADY)
def test_the_estimate_is_that_of_the_recipes_own_networks_and_patch(name: str) -> None:
    """The oracle counts what autograd keeps of the whole patch with the whole networks."""
    keys = [key for key in LARGE if not key.startswith("method.")]
    recipe = resolve("demo", [*keys, f"method.name={name}"])
    stream = prepare(recipe, None).stream
    for index, stage in enumerate(recipe.stages):
        batch = stream.batch(index, 0, unlabelled=stage.unlabelled)
        kept = memory._kept(recipe.build_method(1).train(), batch, stage, "float32")
        estimated = memory._kept_in_all(recipe, stream, 1, "float32", index)
        assert estimated == pytest.approx(kept, rel=0.03)


def test_the_estimate_uses_no_random_numbers() -> None:
    recipe = resolve("demo", LARGE)
    stream = prepare(recipe, None).stream
    before = torch.get_rng_state()
    least, most = memory.step_memory(recipe, stream, 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert 0 < least < most


def test_too_little_memory_is_refused_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000_000)
    arguments = ["train", "demo", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*arguments, *(f"--set={each}" for each in LARGE)])
    assert isinstance(result.exception, UserError)
    (problem,) = result.exception.problems
    assert problem.where == "[data] patch = 32 x 32 x 32"
    assert problem.found == "0.0 GB available"
    assert problem.expected.startswith("at least 0.")
    assert "network.filters" in problem.fix
    assert not (tmp_path / "run").exists()


def test_memory_that_may_be_too_little_is_remarked_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = resolve("demo", SMALL)
    least, most = memory.step_memory(recipe, prepare(recipe, None).stream, 1)
    monkeypatch.setattr(memory, "available_memory", lambda: (least + most) // 2)
    remarks: list[str] = []
    small(tmp_path / "run", remark=remarks.append)
    (text,) = remarks
    assert text.startswith("a training step takes 0.0 to 0.0 GB of memory and 0.0 GB are available")


@pytest.mark.parametrize("available", [None, 10**11])
def test_steps_that_are_small_beside_the_memory_are_not_measured(
    monkeypatch: pytest.MonkeyPatch, available: int | None
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: available)
    monkeypatch.setattr(memory, "step_memory", lambda *_: 1 / 0)
    recipe = resolve("demo", SMALL)
    memory.check_memory(recipe, prepare(recipe, None).stream, 1, lambda _: None)


def test_a_plugin_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000_000)
    monkeypatch.setattr(memory, "LOADED", {"cml": None})
    recipe = resolve("demo", LARGE)
    memory.check_memory(recipe, prepare(recipe, None).stream, 1, lambda _: None)


def test_a_method_whose_steps_differ_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000_000)
    keys = [key for key in LARGE if not key.startswith("method.")]
    recipe = resolve("demo", [*keys, "method.name=ss_net"])
    memory.check_memory(recipe, prepare(recipe, None).stream, 1, lambda _: None)
