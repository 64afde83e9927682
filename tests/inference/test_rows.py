"""Maps resampled in blocks of rows are the maps resampled at once."""

import numpy as np
import pytest
import torch

from crossview.data.resampling import resampled
from crossview.inference.assembly import Assembly, Wanted
from crossview.inference.rows import RowResampling


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(20, 33, 9), (8, 11, 30), (13, 12, 11), (7, 5, 4)])
def test_blocks_resample_as_the_whole(axis, shape):
    maps = torch.rand(2, 13, 12, 11, generator=torch.Generator().manual_seed(1))
    rows = RowResampling(maps.shape[1:], shape, axis)
    found = [rows.add(block) for block in maps.split(3, dim=axis + 1)]
    whole = torch.cat([each for each in found if each.numel()], dim=axis + 1)
    torch.testing.assert_close(whole, resampled(maps, shape), rtol=0, atol=3e-7)


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("box", [(), (slice(2, 9), slice(0, 12), slice(1, 8))])
def test_an_assembly_of_blocks_on_disk_is_that_of_the_whole_in_memory(
    axis, box, tmp_path, monkeypatch
):
    monkeypatch.setattr("crossview.inference.assembly.IN_MEMORY", 0)
    maps = torch.rand(3, 2, 9, 8, 7, generator=torch.Generator().manual_seed(1)) / 2
    names, shape = ("probability", "disagreement", "entropy"), (9, 12, 10)
    results = []
    for blocks, folder in (([maps], None), (maps.split(2, dim=axis + 2), tmp_path)):
        assembly = Assembly((9, 8, 7), shape, axis, Wanted(names, folder=folder), True, box)
        for block in blocks:
            assert not assembly.complete
            assembly.add(block)
        assert assembly.complete
        results.append(assembly.result(largest_component=True))
    whole, on_disk = results
    np.testing.assert_array_equal(on_disk.labels, whole.labels)
    np.testing.assert_array_equal(on_disk.others, whole.others)
    for name in names:
        assert on_disk.maps[name].shape == whole.maps[name].shape
        np.testing.assert_allclose(np.asarray(on_disk.maps[name]), whole.maps[name], atol=3e-6)
    np.testing.assert_allclose(on_disk.maps["probability"].__array__().sum(0), 1, atol=1e-5)
    if box:
        assert not on_disk.labels[:, :2].any()
    assert not list(tmp_path.iterdir())
