"""Ramp of the weight of an unsupervised term, small while the networks are still bad."""

from __future__ import annotations

import math


def sigmoid_ramp(step: float, length: float) -> float:
    """Return exp(-5 (1 - min(step / length, 1))^2) (Laine and Aila, ICLR 2017).

    It is 0.0067 at step 0, and 1 from step ``length`` on. With length 0 it is always 1.
    """
    if length <= 0:
        return 1.0
    return math.exp(-5 * (1 - min(step / length, 1)) ** 2)
