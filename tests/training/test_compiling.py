"""When networks are compiled, and that a compiled network is the same network."""

import pytest
import torch
from tests.helpers.small_run import assert_bit_equal, small
from torch import nn

from crossview.core.errors import UserError
from crossview.methods import METHODS
from crossview.networks.vnet import VNet
from crossview.training.device import compile_networks, networks_of, try_compiled


def network() -> VNet:
    torch.manual_seed(0)
    return VNet(VNet.Options(filters=2, levels=2, dropout=0.0), channels=1, classes=2)


def test_where_compiling_fails_it_is_refused(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no compiler\nsecond line")

    monkeypatch.setattr(nn.Module, "compile", lambda module, **_: setattr(module, "forward", fail))
    with pytest.raises(UserError, match="no compiler") as caught:
        try_compiled(network(), torch.zeros(2, 1, 8, 8, 8), "float32")
    assert "second line" not in str(caught.value)


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


@pytest.mark.slow
def test_a_compiled_network_is_the_same_network():
    """Slow: torch compiles for half a minute."""
    plain, compiled = network(), network()
    compile_networks([compiled])
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    image = torch.randn(2, 1, 8, 8, 8)
    for _ in range(2):
        for one, other in zip(
            vars(plain(image)).values(), vars(compiled(image)).values(), strict=True
        ):
            if isinstance(one, torch.Tensor):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_run_resumes_bit_for_bit(tmp_path):
    sets = ("training.compile=true",)
    whole = small(tmp_path / "whole", *sets)
    assert whole.recipe.training.compile is True
    assert set(whole.environment["compile_seconds"]) == {"eager", "compiled", "compiling"}
    small(tmp_path / "parts", *sets, max_steps=4)
    assert_bit_equal(whole, small(tmp_path / "parts", resume=True))


def test_what_is_measured_is_written_into_the_runs_recipe(tmp_path):
    run = small(tmp_path / "run", "training.precision=auto", "training.device=cpu", max_steps=1)
    assert run.recipe.training.compile is False
    assert run.recipe.training.precision in ("float32", "bf16")
    assert set(run.environment["precision_seconds"]) == {"float32", "bf16"}
