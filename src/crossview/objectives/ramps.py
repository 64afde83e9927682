"""How the weight of an unsupervised term rises while the networks are still bad."""

from __future__ import annotations

import math


def sigmoid_ramp(step: float, length: float) -> float:
    """exp(-5 (1 - min(step / length, 1))^2): 0.0067 at step 0, 1 from ``length`` on (Laine and Aila, ICLR 2017).

    A length of 0: always 1.
    """
    if length <= 0:
        return 1.0
    return math.exp(-5 * (1 - min(step / length, 1)) ** 2)
