"""Counter-based random streams.

Every random draw of a training run is a pure function of (seed, stage, step, purpose, index).
Nothing is carried from one step to the next, so a run resumes exactly at any step with any number
of workers, an evaluation cannot disturb training, and a checkpoint needs no generator state.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Randomness:
    """The random streams of one step.

    ``stage`` counts stages from 0; ``step`` counts within the stage.
    """

    seed: int
    stage: int = 0
    step: int = 0

    def host(self, purpose: str, index: int = 0) -> np.random.Generator:
        """Return a numpy generator (Philox) for one purpose.

        ``("crop", 3)``, for example, is the crop of the batch's sample 3. The counter's low word
        starts at zero: a stream can draw 2^64 blocks before it reaches its neighbour.
        """
        key = np.array([self.seed, self.stage], dtype=np.uint64)
        counter = np.array([0, self.step, zlib.crc32(purpose.encode()), index], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))

    def number(self, purpose: str, index: int = 0) -> int:
        """Return a 63-bit seed from the same stream, for generators seeded with one number."""
        return int(self.host(purpose, index).integers(0, 2**63 - 1))

    def device(self, purpose: str, device: torch.device, index: int = 0) -> torch.Generator:
        """Return a torch generator on ``device``, for noise drawn where it is used."""
        import torch

        return torch.Generator(device=device).manual_seed(self.number(purpose, index))
