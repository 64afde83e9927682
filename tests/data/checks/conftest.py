"""Facts of sound cases, and a sound set of them."""

from dataclasses import replace

import numpy as np
import pytest

from crossview.data.checks.case import inspect_case

SPACING = (1.0, 1.0, 2.0)


@pytest.fixture
def facts(make_case):
    """Facts of sound cases, labelled ones first; keyword arguments replace what was measured."""

    def make(number, labelled=True, name=None, image=None, label=None, spacing=SPACING):
        random = np.random.default_rng(number)
        classes = random.integers(0, 3, (6, 5, 4)).astype(np.uint8) if label is None else label
        values = random.normal(100, 10, (1, 6, 5, 4)).astype(np.float32) if image is None else image
        case = make_case(name or f"scan{number}", values, classes if labelled else None)
        return inspect_case(replace(case, spacing=spacing), None)

    return make


@pytest.fixture
def sound(facts):
    return {
        "labelled": [facts(number) for number in range(4)],
        "unlabelled": [facts(number, labelled=False) for number in range(4, 9)],
    }
