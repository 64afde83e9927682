"""Sliding windows: positions, coverage, shared batches."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.blocks import whole_maps

from crossview.inference import windows
from crossview.inference.windows import Windows, window_starts


@st.composite
def axes(draw):
    """(side, patch, stride) with side >= patch >= stride >= 1."""
    patch = draw(st.integers(1, 40))
    return draw(st.integers(patch, 200)), patch, draw(st.integers(1, patch))


@given(axes())
def test_the_windows_of_an_axis_are_in_range_rise_and_leave_no_gap(axis):
    side, patch, stride = axis
    starts = window_starts(side, patch, stride)
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] == side - patch
    assert all(after - before <= patch for before, after in itertools.pairwise(starts))


@given(axes())
def test_the_windows_of_an_axis_follow_the_published_rule(axis):
    side, patch, stride = axis
    count = math.ceil((side - patch) / stride) + 1
    assert window_starts(side, patch, stride) == [
        min(stride * k, side - patch) for k in range(count)
    ]


def test_a_published_volume_has_45_windows():
    starts = [window_starts(*axis) for axis in ((183, 112, 18), (140, 112, 18), (88, 80, 4))]
    assert starts == [[0, 18, 36, 54, 71], [0, 18, 28], [0, 4, 8]]


@st.composite
def images(draw):
    """An image (C, *S) of two or three axes, some below the window's, with a patch and a stride."""
    patch = draw(st.lists(st.integers(1, 6), min_size=2, max_size=3))
    stride = [draw(st.integers(1, side)) for side in patch]
    sides = [draw(st.integers(1, 13)) for _ in patch]
    values = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(2, *sides))
    return torch.tensor(values, dtype=torch.float32), patch, stride


@settings(deadline=None)
@given(images())
def test_the_mean_of_unchanged_windows_is_the_image(case):
    image, patch, stride = case
    ((_, found),) = whole_maps([(0, Windows(image, patch, stride))], lambda batch: batch, batch=3)
    assert found.shape == image.shape
    torch.testing.assert_close(found, image)


def test_every_voxel_weighs_its_windows_equally():
    image = torch.zeros(1, 7)
    answers = iter([torch.tensor([[1.0, 1, 1, 1]]), torch.tensor([[4.0, 4, 4, 4]])])
    ((_, found),) = whole_maps(
        [(0, Windows(image, [4], [3]))], lambda batch: next(answers)[None], batch=1
    )
    assert found.tolist() == [[1, 1, 1, 2.5, 4, 4, 4]]


def test_a_gaussian_window_counts_less_towards_its_edge():
    answers = iter([torch.ones(1, 4), torch.full((1, 4), 4.0)])
    parts = Windows(torch.zeros(1, 6), [4], [2], "gaussian")
    ((_, found),) = whole_maps([(0, parts)], lambda batch: next(answers)[None], batch=1)
    # An eighth of 4 voxels is half a voxel: places 0.5 and 1.5 from the centre weigh exp(-0.5) and
    # exp(-4.5), so in the overlap the farther window has e^-4 of the nearer one's weight.
    share = math.exp(-4) / (1 + math.exp(-4))
    expected = [1, 1, 1 + 3 * share, 4 - 3 * share, 4, 4]
    torch.testing.assert_close(found, torch.tensor([expected]))


@settings(deadline=None)
@given(images(), st.integers(1, 400))
def test_gaussian_means_by_the_formula_in_blocks_of_any_size(case, block):
    image, patch, stride = case
    image = torch.nn.functional.pad(
        image, [width for side in reversed(image.shape[1:]) for width in (0, max(0, 6 - side))]
    )
    total, weights = np.zeros(image.shape), np.zeros(image.shape[1:])
    axes = [window_starts(*axis) for axis in zip(image.shape[1:], patch, stride, strict=True)]
    places = np.indices(patch).reshape(len(patch), *patch)
    squares = sum(
        ((place - (side - 1) / 2) / (side / 8)) ** 2
        for place, side in zip(places, patch, strict=True)
    )
    window = np.exp(-squares / 2)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(windows, "BLOCK", block)
        patched.setattr(windows, "LARGE", block)
        parts = Windows(image, patch, stride, "gaussian")
        answers = np.random.default_rng(block).random((len(parts), *patch)).astype(np.float32)
        stack = iter(torch.tensor(answers))
        ((_, found),) = whole_maps([(0, parts)], lambda batch: next(stack)[None, None], batch=1)
    for corner, answer in zip(parts.corners, answers, strict=True):
        place = tuple(slice(start, start + side) for start, side in zip(corner, patch, strict=True))
        total[0][place] += window * answer
        weights[place] += window
    assert sorted(parts.corners) == list(itertools.product(*axes))
    np.testing.assert_allclose(found[0], total[0] / weights, rtol=2e-5)


def _most_windows(parts):
    """Return the largest number of windows that a voxel lies in, counted one by one."""
    counts = np.zeros(parts.sides)
    for corner in parts.corners:
        box = zip(corner, parts.patch, strict=True)
        counts[tuple(slice(start, start + side) for start, side in box)] += 1
    return counts.max()


@settings(deadline=None)
@given(images(), st.sampled_from(["uniform", "gaussian"]))
def test_large_sums_are_kept_in_half_precision_if_that_is_precise(case, weighting):
    image, patch, stride = case
    image = image.sigmoid()
    found = {}
    for limit in (windows.HALVED, 1):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(windows, "HALVED", limit)
            parts = Windows(image, patch, stride, weighting)
            ((_, found[limit]),) = whole_maps([(0, parts)], lambda batch: batch, batch=2)
        halved = limit == 1 and weighting == "uniform" and _most_windows(parts) <= 8
        assert parts.dtype == (torch.float16 if halved else torch.float32)
        assert found[limit].dtype == torch.float32
    torch.testing.assert_close(found[1], found[windows.HALVED], rtol=0, atol=2e-3)


def test_a_small_image_is_padded_with_zeros_the_smaller_half_in_front():
    parts = Windows(torch.ones(1, 3, 6), [6, 4], [6, 4])
    padded = torch.zeros(1, 6, 6)
    padded[:, 1:4] = 1
    assert torch.equal(parts.image, padded)
    assert len(parts) == 2


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 100])
def test_batches_are_full_shared_between_images_and_results_come_in_order(batch):
    images = [torch.full((1, side, 5), float(side)) for side in (4, 9, 3, 6, 12)]
    parts = [Windows(image, [4, 3], [2, 2]) for image in images]
    sizes = []

    def network(stack):
        sizes.append(len(stack))
        return stack[:, None]

    results = list(whole_maps(enumerate(parts), network, batch))
    windows_in_all = sum(len(part) for part in parts)
    assert sizes[:-1] == [batch] * (
        windows_in_all // batch if windows_in_all % batch else windows_in_all // batch - 1
    )
    assert sum(sizes) == windows_in_all
    assert [item for item, _ in results] == list(range(len(images)))
    for image, (_, result) in zip(images, results, strict=True):
        torch.testing.assert_close(result, image[None])


def test_an_image_is_not_asked_for_before_it_is_needed_and_comes_back_as_soon_as_it_is_done():
    asked = []

    def parts():
        for number in range(4):
            asked.append(number)
            yield number, Windows(torch.zeros(1, 4), [2], [2])

    results = whole_maps(parts(), lambda batch: batch, batch=2)
    for number in range(4):
        assert next(results)[0] == number
        assert asked == list(range(number + 1))


def test_no_image_gives_no_result():
    assert list(whole_maps([], lambda batch: batch, batch=2)) == []


def test_maps_too_large_for_a_gpu_are_summed_in_the_computers_memory(monkeypatch):
    class OnGpu:
        device = torch.device("cuda", 0)

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    made_on = []
    monkeypatch.setattr(
        windows.torch, "zeros", lambda *shape, dtype, device: made_on.append(device.type)
    )
    windows.zeros_beside(
        OnGpu(), (175,)
    )  # 700 bytes, half of the 1,400 that are free or held by torch
    windows.zeros_beside(OnGpu(), (176,))
    assert made_on == ["cuda", "cpu"]
