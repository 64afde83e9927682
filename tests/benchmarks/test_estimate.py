"""The comparison of estimated and true Dice."""

import numpy as np
import pytest
from benchmarks.estimate import compared

from crossview.evaluation.estimate import HeldOut, fitted


def test_errors_are_those_of_scans_within_the_range():
    x = np.linspace(0.8, 0.9, 11)
    line = fitted([HeldOut(str(place), each, each - 0.1) for place, each in enumerate(x)])
    scans = [(0.82, 0.74), (0.88, 0.75), (0.99, 0.1)]
    found = compared(line, [HeldOut("new", *each) for each in scans])
    assert (found["scans"], found["without_estimate"]) == (2, 1)
    assert found["error"] == pytest.approx(2.5)  # 2 and 3 points
    assert found["error_of_mean"] == pytest.approx(0.5)  # 1 and 0 from 0.75
    assert found["rank_correlation"] == pytest.approx(1)
