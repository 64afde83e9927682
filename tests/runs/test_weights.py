"""Weights of a run whose folder does not record the number of channels."""

import pytest
import torch

from crossview.core.errors import UserError
from crossview.methods import METHODS
from crossview.recipe.resolve import resolve
from crossview.runs.weights import _channels_of, load_method


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("setting", ["la-8", "acdc-7"])
@pytest.mark.parametrize("method", METHODS)
def test_the_weights_tell_their_channels(method, setting, channels):
    small = ["network.filters=2", "network.dropout=0.1", f"method.name={method}"]
    recipe = resolve(setting, small)
    weights = recipe.build_method(channels).state_dict()
    assert _channels_of(weights, recipe) == channels


def test_weights_of_another_network_tell_nothing():
    recipe = resolve("la-8", ["network.filters=2", "network.levels=2"])
    assert _channels_of({}, recipe) == 1


@pytest.mark.parametrize(
    "place", [{}, {"position": {}}, {"position": {"total_step": None}}, {"position": 3}]
)
def test_a_checkpoint_without_its_step(tmp_path, place):
    recipe = resolve("la-8", ["network.filters=2", "network.levels=2"])
    file = tmp_path / "last.pt"
    torch.save({"format": 1, "weights": recipe.build_method(1).state_dict(), **place}, file)
    with pytest.raises(UserError, match="of which step"):
        load_method(recipe, file, 1, torch.device("cpu"))
