"""Networks by name, and patches that do not fit: refused with the sides that would."""

import pytest
import torch

from crossview.core.errors import UserError
from crossview.networks import NETWORKS, check_patch, find, required_multiple
from crossview.networks.unet import UNet
from crossview.networks.vnet import VNet


def test_finds_by_name() -> None:
    assert find("vnet") is VNet
    assert find("unet") is UNet


@pytest.mark.parametrize("name", NETWORKS)
def test_default_options_carry_the_name(name: str) -> None:
    assert find(name).Options().name == name


def test_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean vnet") as caught:
        find("vnett")
    assert caught.value.problems[0].where == "network.name"


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("levels", [2, 3, 4])
def test_the_required_multiple_is_what_the_network_takes(name: str, levels: int) -> None:
    network_class = find(name)
    network = network_class(
        network_class.Options(filters=2, levels=levels, dropout=0), channels=1, classes=2
    )
    side = 3 * required_multiple(levels)
    assert network(torch.randn(1, 1, *[side] * network.dimensions)).logits.shape[2] == side
    with pytest.raises(RuntimeError):
        network(torch.randn(1, 1, *[side + 1] * network.dimensions))


def test_a_fitting_patch_passes() -> None:
    check_patch((112, 112, 80), levels=5, dimensions=3)
    check_patch([256, 256], levels=5, dimensions=2)


def test_wrong_sides_are_one_problem_with_a_patch_that_fits() -> None:
    with pytest.raises(UserError) as caught:
        check_patch((112, 100, 8), levels=5, dimensions=3)
    (problem,) = caught.value.problems
    assert problem.found == "[112, 100, 8]"
    # a side of 16 would leave a bottleneck of one voxel
    assert problem.fix.startswith("use [112, 96, 32] or [112, 112, 32], or")


@pytest.mark.parametrize("patch", [(64, 64), (64, 64, 64, 64), ()])
def test_wrong_number_of_sides(patch: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="3 sides"):
        check_patch(patch, levels=3, dimensions=3)


@pytest.mark.parametrize("side", [0, -16])
def test_sides_must_be_positive(side: int) -> None:
    with pytest.raises(UserError, match=r"use \[32, 32, 32\],"):
        check_patch((side, 16, 16), levels=5, dimensions=3)
