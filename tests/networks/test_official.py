"""Official checkpoints become two views, whole, and anything else is refused by name."""

import numpy as np
import pytest
import torch
from tests.helpers import golden_numbers as golden
from torch import Tensor

from crossview.core.errors import UserError
from crossview.networks.official import (
    from_official_unet,
    from_official_vnet,
    official_unet_keys,
    official_vnet_keys,
)
from crossview.networks.unet import UNet
from crossview.networks.vnet import VNet


def vnet_state() -> dict[str, Tensor]:
    return golden.fill(golden.entries("cml_vnet", "vnet_n_filters_4"), golden.load("cml_vnet")["c"])


def unet_state(container: str) -> dict[str, Tensor]:
    return golden.fill(golden.entries("cml_unet", container), golden.load("cml_unet")["c"])


def with_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As torch saves it: each batch norm has a counter."""
    counters = {
        name.replace("running_var", "num_batches_tracked"): torch.tensor(7)
        for name in state
        if name.endswith("running_var")
    }
    return state | counters


def test_vnet_round_trip() -> None:
    state = with_counters(vnet_state())
    views = []
    for upsample, renamed in zip(("transposed", "linear"), from_official_vnet(state), strict=True):
        view = VNet(VNet.Options(filters=4, upsample=upsample), 1, 2)
        view.load_state_dict(renamed)
        views.append(view.state_dict())
    assert sum(len(view) for view in views) == len(state)
    for keys, view in zip((official_vnet_keys(1), official_vnet_keys(2)), views, strict=True):
        for theirs, ours in keys.items():
            assert torch.equal(view[ours], state[theirs])


def test_unet_round_trip_of_two_pairs() -> None:
    state = with_counters(unet_state("two_pairs"))
    keys = (
        official_unet_keys("encoder1", "decoder1", transposed=False),
        official_unet_keys("encoder2", "decoder2", transposed=True),
    )
    renamed = from_official_unet(state, shared=False)
    assert sum(map(len, renamed)) == len(state)
    for upsample, view_keys, view_state in zip(
        ("linear", "transposed"), keys, renamed, strict=True
    ):
        view = UNet(UNet.Options(upsample=upsample), 1, 4)
        view.load_state_dict(view_state)
        loaded = view.state_dict()
        for theirs, ours in view_keys.items():
            assert torch.equal(loaded[ours], state[theirs])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_unet_as_released_is_one_network(mode: str) -> None:
    numbers = golden.load("cml_unet")
    image = golden.inputs(numbers["shape"], numbers["d"]).double()
    states = from_official_unet(unet_state("unet_released"), shared=True)
    for state in states:
        view = UNet(UNet.Options(dropout=0, upsample="linear"), 1, 4)
        view.load_state_dict(state)
        output = view.double().train(mode == "train")(image)
        for found, key in ((output.logits, "logits"), (output.bottleneck, "feat")):
            expected = numbers[f"released_{mode}_{key}_sums"]
            np.testing.assert_allclose(
                golden.sums(found), expected, rtol=0, atol=1e-9 * expected[1]
            )
    assert (
        sum(parameter.numel() for parameter in view.parameters()) == numbers["released_params_used"]
    )


def test_parameter_order_is_not_needed_but_names_are() -> None:
    shuffled = dict(sorted(vnet_state().items(), reverse=True))
    assert torch.equal(
        from_official_vnet(shuffled)[0]["last.weight"], vnet_state()["decoder1.out_conv.weight"]
    )


def test_a_missing_name_is_reported() -> None:
    state = vnet_state()
    del state["decoder2.block_nine.conv.0.weight"]
    with pytest.raises(UserError, match=r"decoder2\.block_nine\.conv\.0\.weight"):
        from_official_vnet(state)


def test_an_unexpected_name_is_reported() -> None:
    with pytest.raises(UserError, match="optimizer"):
        from_official_unet(unet_state("two_pairs") | {"optimizer": torch.zeros(1)}, shared=False)


def test_a_shared_release_is_not_two_pairs() -> None:
    with pytest.raises(UserError) as caught:
        from_official_unet(unet_state("unet_released"), shared=False)
    assert len(caught.value.problems) == 2
