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
