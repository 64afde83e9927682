"""Blocks of maps put together again."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from crossview.inference.windows import Parts, run_batches


def whole_maps(
    images: Iterable[tuple[Any, Parts]], network, batch: int
) -> Iterator[tuple[Any, Tensor]]:
    """Yield each item with its maps (..., *S) once all their blocks have come."""
    parts = {}

    def noted():
        for item, image in images:
            parts[item] = image
            yield item, image

    blocks: dict[Any, list[Tensor]] = {}
    for item, block in run_batches(noted(), network, batch):
        of_item = blocks.setdefault(item, [])
        of_item.append(block)
        sides = len(parts[item].inside if hasattr(parts[item], "inside") else parts[item].sides)
        axis = parts[item].axis - sides
        side = _side(parts[item])
        if sum(each.shape[axis] for each in of_item) == side:
            yield item, torch.cat(blocks.pop(item), dim=axis)


def _side(parts: Parts) -> int:
    if hasattr(parts, "inside"):
        inside = parts.inside[parts.axis]
        return inside.stop - inside.start
    return parts.sides[parts.axis]
