"""Tiles for the kernels on channels-last tensors, which are rows (voxels) of channels."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

TILE = 4096
"""Number of elements that a program reads at a time."""


def layout(x: Tensor) -> Any:
    """Return the channels-last memory format of a tensor (B, C, *S)."""
    return torch.channels_last_3d if x.ndim == 5 else torch.channels_last


def tiles(x: Tensor) -> tuple[int, int, dict[str, int]]:
    """Return rows and channels of a channels-last tensor, and the tile that a program reads."""
    channels = x.shape[1]
    width = min(triton.next_power_of_2(channels), 128)
    return x.numel() // channels, channels, {"BLOCK_ROWS": max(16, TILE // width), "BLOCK_C": width}


def shares(rows: int, block: int, programs: int) -> tuple[int, int]:
    """Return the rows per program of a reduction, whole blocks, and the number of programs."""
    share = triton.cdiv(triton.cdiv(rows, programs), block) * block
    return share, triton.cdiv(rows, share)


def grid(x: Tensor) -> tuple[int, int]:
    """Return the number of tiles of a channels-last tensor: over its rows, over its channels."""
    rows, channels, tile = tiles(x)
    return triton.cdiv(rows, tile["BLOCK_ROWS"]), triton.cdiv(channels, tile["BLOCK_C"])
