"""Networks by their name in the recipe, and the patches that fit them."""

from __future__ import annotations

from collections.abc import Sequence

from crossview.core.errors import fail, nearest
from crossview.networks.unet import UNet
from crossview.networks.vnet import VNet

NETWORKS: dict[str, type[VNet] | type[UNet]] = {"vnet": VNet, "unet": UNet}


def find(name: str) -> type[VNet] | type[UNet]:
    """Return the network with this name.

    Returns:
        A subclass of nn.Module with ``Options`` and ``dimensions``, built as
        ``Network(options, channels, classes)``.

    Raises:
        UserError: If the name is unknown.
    """
    if name not in NETWORKS:
        what, hint = "there is no network with this name", nearest(name, NETWORKS)
        fail(what, "network.name", found=repr(name), expected=hint)
    return NETWORKS[name]


def required_multiple(levels: int) -> int:
    """Return 2^(levels-1), of which every side of a patch must be a multiple."""
    return 1 << (levels - 1)


def check_patch(patch: Sequence[int], levels: int, dimensions: int) -> None:
    """Check that a patch fits a network.

    Args:
        patch: Sides in voxels.
        levels: Resolutions of the network.
        dimensions: 2 or 3.

    Raises:
        UserError: If the patch has another number of sides, or a side is not a multiple of
            2^(levels-1).
    """
    where = "data.patch"
    if len(patch) != dimensions:
        expected = f"{dimensions} sides (a {dimensions}D network)"
        fail("the patch does not fit the network", where, found=list(patch), expected=expected)
    multiple = required_multiple(levels)
    if all(side >= multiple and side % multiple == 0 for side in patch):
        return
    # A bottleneck of one voxel per side is refused elsewhere.
    larger = [max(-(-side // multiple), 2) * multiple for side in patch]
    smaller = [max(side // multiple, 2) * multiple for side in patch]
    choices = " or ".join(map(str, dict.fromkeys(map(tuple, (smaller, larger)))))
    fail(
        "the patch does not fit the network",
        where,
        found=list(patch),
        expected=f"sides that are multiples of {multiple} (2^(levels-1), with {levels} levels)",
        fix=f"use {choices.replace('(', '[').replace(')', ']')}, or reduce network.levels",
    )
