"""The table [training]: keys that earlier versions had."""

import shutil
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w
import torch
from tests.helpers.small_run import assert_bit_equal, small

from crossview.core.errors import UserError
from crossview.recipe.resolve import resolve
from crossview.runs.evaluate import evaluate
from crossview.runs.run import Run
from crossview.runs.weights import trained_method


def test_the_memory_for_volumes_is_no_key_any_more():
    with pytest.raises(UserError, match="mapped from disk"):
        resolve("demo", ["training.memory_gb=8"])


def test_torch_compile_is_refused_with_the_reason():
    with pytest.raises(UserError, match=r"auto, graphs or false; torch\.compile was slower"):
        resolve("demo", ["training.compile=true"])
    assert resolve("demo", ["training.compile=false"]).training.compile is False


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    return small(tmp_path_factory.mktemp("runs") / "whole")


def age(path: Path) -> None:
    """Give a run's files the keys of [training] that version 0.1 had before its release."""
    recipe = path / "recipe.toml"
    former = {"memory_gb": "auto", "compile": True}
    tables = tomllib.loads(recipe.read_text())
    tables["training"] |= former
    recipe.write_text(tomli_w.dumps(tables))
    for file in [*path.glob("checkpoints/*.pt"), *path.glob("model.pt")]:
        content = torch.load(file, weights_only=True)
        content["recipe"]["training"] |= former
        torch.save(content, file)


def test_an_older_run_is_resumed_bit_equal(whole, tmp_path):
    small(tmp_path / "run", max_steps=4)
    age(tmp_path / "run")
    assert_bit_equal(whole, small(tmp_path / "run", resume=True))


def test_an_older_run_is_evaluated_and_its_model_is_loaded(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "run")
    age(tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert run.recipe == whole.recipe == resolve(run.path)
    assert evaluate(run)["cases"] == evaluate(whole)["cases"]
    assert trained_method(run.path / "model.pt", torch.device("cpu")).recipe == whole.recipe


@pytest.mark.skipif(sys.platform != "linux", reason="/proc lists the mapped files")
def test_no_file_is_left_mapped_after_training(tmp_path):
    def deleted():
        maps = Path("/proc/self/maps").read_text().splitlines()
        return {line for line in maps if line.endswith("(deleted)")}

    before = deleted()
    small(tmp_path / "run", max_steps=1)
    assert deleted() <= before
