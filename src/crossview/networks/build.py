"""Networks by their name in the recipe, and the patches they take."""

from __future__ import annotations

from collections.abc import Sequence

from crossview.errors import Problem, UserError, nearest, raise_all
from crossview.networks.unet import UNet
from crossview.networks.vnet import VNet

NETWORKS: dict[str, type[VNet] | type[UNet]] = {"vnet": VNet, "unet": UNet}


def find(name: str) -> type[VNet] | type[UNet]:
    """The network of this name: a module class with ``Options`` and ``dimensions``, built as ``Network(options, channels, classes)``.

    Raises UserError for a name that is not known.
    """
    if name not in NETWORKS:
        raise UserError(
            Problem(
                "no network of this name",
                "network.name",
                found=repr(name),
                expected=nearest(name, NETWORKS),
            )
        )
    return NETWORKS[name]


def required_multiple(levels: int) -> int:
    """What every side of a patch must divide by: 2^(levels-1)."""
    return int(2 ** (levels - 1))


def check_patch(patch: Sequence[int], levels: int, dimensions: int) -> None:
    """Raise UserError unless ``patch`` (voxels) has ``dimensions`` sides that all divide by 2^(levels-1)."""
    where = "data.patch"
    if len(patch) != dimensions:
        sides = "sides" if dimensions > 1 else "side"
        raise UserError(
            Problem(
                "the patch does not fit the network",
                where,
                found=str(list(patch)),
                expected=f"{dimensions} {sides} (a {dimensions}D network)",
            )
        )
    multiple = required_multiple(levels)
    problems = []
    for axis, side in enumerate(patch):
        if side < multiple or side % multiple:
            smaller = side // multiple * multiple
            least = max(
                smaller + multiple, 2 * multiple
            )  # a bottleneck of one voxel a side is refused elsewhere
            choices = f"{smaller} or {least}" if smaller >= 2 * multiple else str(least)
            problems.append(
                Problem(
                    f"side {axis} of the patch does not fit the network",
                    where,
                    found=str(side),
                    expected=f"a multiple of {multiple} (2^(levels-1), with {levels} levels)",
                    fix=f"use {choices}, or fewer network.levels",
                )
            )
    raise_all(problems)
