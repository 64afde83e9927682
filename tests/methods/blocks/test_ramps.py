from pathlib import Path

import numpy as np
import pytest

from crossview.methods.blocks.teacher import sigmoid_ramp

RAMPS = np.load(Path(__file__).parents[2] / "golden" / "ramps.npz")


@pytest.mark.parametrize("length", [40, 200, 400])
def test_the_official_ramp(length):
    ours = [sigmoid_ramp(int(counter) // 150, length) for counter in RAMPS["iterations"]]
    np.testing.assert_allclose(ours, RAMPS[f"weight_l{length}"], rtol=1e-12)


def test_a_ramp_without_length_is_at_its_end():
    assert sigmoid_ramp(0, 0) == 1
    assert sigmoid_ramp(10, 10) == 1
    assert sigmoid_ramp(0, 10) == pytest.approx(np.exp(-5))
