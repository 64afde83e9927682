"""The networks of a method, and the measured keys of a run's recipe."""

import pytest
from tests.helpers.small_run import small

from crossview.methods import METHODS
from crossview.networks.vnet import VNet
from crossview.training.device import networks_of


@pytest.mark.parametrize("name", METHODS)
def test_the_networks_of_a_method(name):
    from crossview.recipe.resolve import resolve

    recipe = resolve(
        "demo",
        [f"method.name={name}", "network.filters=2", "network.levels=2", "data.patch=[16,16,16]"],
    )
    method = recipe.build_method(1)
    found = networks_of(method)
    assert found
    assert len(found) == sum(isinstance(module, VNet) for module in method.modules())


def test_what_is_measured_is_written_into_the_runs_recipe(tmp_path):
    run = small(tmp_path / "run", "training.precision=auto", "training.device=cpu", max_steps=1)
    assert run.recipe.training.compile is False
    assert run.recipe.training.precision in ("float32", "bf16")
    assert set(run.environment["precision_seconds"]) == {"float32", "bf16"}


AUTO = ("training.precision=auto", "training.device=cpu", "data.unlabelled=2")


def timed(monkeypatch, float32, bf16):
    """Let every measurement find these seconds."""
    monkeypatch.setattr(
        "crossview.training.device.seconds_in_turn",
        lambda works: {"float32": float32, "bf16": bf16},
    )


def precisions(*runs):
    return [run.recipe.training.precision for run in runs]


def test_runs_side_by_side_train_in_one_precision_though_two_measurements_differ(
    tmp_path, monkeypatch
):
    timed(monkeypatch, 1.0, 0.89)
    first = small(tmp_path / "first", *AUTO, max_steps=1)
    timed(monkeypatch, 1.0, 0.91)
    second = small(tmp_path / "second", *AUTO, "method.name=bcp", max_steps=1)
    assert precisions(first, second) == ["bf16", "bf16"]
    assert first.environment["precision_seconds"] == {"float32": 1.0, "bf16": 0.89}
    assert second.environment["precision_of"] == "first"
    assert "precision_seconds" not in second.environment
    third = small(tmp_path / "third", *AUTO, "training.seed=2", max_steps=1)
    assert third.environment["precision_of"] == "first"


@pytest.mark.parametrize(
    "other", ["network.filters=3", "data.patch=[8,8,16]", "training.precision=float32"]
)
def test_another_network_or_patch_or_an_asked_precision_stands_for_itself(
    tmp_path, monkeypatch, other
):
    timed(monkeypatch, 1.0, 0.5)
    small(tmp_path / "first", *AUTO, max_steps=1)
    timed(monkeypatch, 1.0, 2.0)
    run = small(tmp_path / "second", *AUTO, other, max_steps=1)
    assert precisions(run) == ["float32"]
    assert "precision_of" not in run.environment


def test_an_asked_precision_binds_no_later_run_and_a_damaged_run_is_passed_over(
    tmp_path, monkeypatch
):
    timed(monkeypatch, 1.0, 2.0)
    small(tmp_path / "asked", *AUTO, "training.precision=bf16", max_steps=1)
    damaged = small(tmp_path / "damaged", *AUTO, max_steps=1)
    (damaged.path / "recipe.toml").write_text("no toml [")
    timed(monkeypatch, 1.0, 0.5)
    assert precisions(small(tmp_path / "later", *AUTO, max_steps=1)) == ["bf16"]


def test_a_run_trained_anew_is_measured_anew(tmp_path, monkeypatch):
    timed(monkeypatch, 1.0, 0.5)
    small(tmp_path / "run", *AUTO, max_steps=1)
    timed(monkeypatch, 1.0, 2.0)
    assert precisions(small(tmp_path / "run", *AUTO, max_steps=1, overwrite=True)) == ["float32"]
