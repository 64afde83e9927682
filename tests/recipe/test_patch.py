"""Patches: within the scan and the budget, and deep enough at the bottleneck."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossview.recipe.patch import levels_of, patch_of
from crossview.recipe.plan import CPU, GPU


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=2, max_size=3), st.sampled_from([CPU, GPU]))
def test_a_patch_fits_network_and_budget(median, budget):
    patch, levels = patch_of(median, budget.voxels, range(5, 1, -1))
    multiple = 2 ** (levels - 1)
    assert all(side % multiple == 0 and side >= 4 * multiple for side in patch)
    assert prod(patch) <= budget.voxels
    assert all(out <= max(side, 8) for out, side in zip(patch, median, strict=True))
    assert levels_of(patch) >= levels


@pytest.mark.parametrize(
    ("patch", "levels"),
    [((112, 112, 80), 5), ((48, 48, 48), 4), ((256, 256), 5), ((24, 24, 24), 3), ((6, 6, 6), 2)],
)
def test_as_many_levels_as_a_patch_allows(patch, levels):
    assert levels_of(patch) == levels
