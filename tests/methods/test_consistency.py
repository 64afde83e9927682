import numpy as np
import pytest

from crossview.methods.bases import ConsistencyOptions


def test_the_weight_rises_over_its_share_of_the_steps():
    options = ConsistencyOptions(name="any", steps=1000, consistency_weight=0.5, ramp_share=0.4)
    weights = [options.weight(step) for step in range(0, 1000, 50)]
    assert weights[0] == pytest.approx(0.5 * np.exp(-5))
    assert weights == sorted(weights)
    assert weights[8:] == [0.5] * 12  # from step 400 on
    assert weights[7] < 0.5


def test_the_released_weight_is_held_for_150_steps():
    options = ConsistencyOptions(
        name="any", steps=30000, consistency_weight=0.1, ramp_share=1.0, ramp_every=150
    )
    assert options.weight(149) == options.weight(0)
    assert options.weight(150) > options.weight(149)
    assert options.weight(15000) == pytest.approx(0.1 * np.exp(-5 * 0.25), rel=1e-12)
