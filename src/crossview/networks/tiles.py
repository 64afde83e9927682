"""How the kernels for channels-last tensors walk through memory: as rows (voxels) of channels, in tiles of both."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

TILE = 4096
"""Elements that a program reads at a time."""


def layout(x: Tensor) -> Any:
    """The channels-last memory format of a tensor (B, C, *S)."""
    return torch.channels_last_3d if x.ndim == 5 else torch.channels_last


def tiles(x: Tensor) -> tuple[int, int, dict[str, int]]:
    """Rows and channels of a channels-last tensor, and the tile of them that a program takes at a time."""
    channels = x.shape[1]
    width = min(triton.next_power_of_2(channels), 128)
    return x.numel() // channels, channels, {"BLOCK_ROWS": max(16, TILE // width), "BLOCK_C": width}
