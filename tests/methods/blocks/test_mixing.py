"""The box stays inside the image, and the mix takes each voxel from one side of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import golden_numbers as golden

from crossview.methods.blocks.mixing import halves, mix, random_box


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=3), st.floats(0.01, 1), st.integers(0, 2**32)
)
def test_box_has_its_size_and_lies_inside(size: list[int], ratio: float, seed: int) -> None:
    box = random_box(size, ratio, np.random.default_rng(seed))
    assert len(box) == len(size)
    for side, part in zip(size, box, strict=True):
        assert 0 <= part.start <= part.stop <= side
        assert part.stop - part.start == int(ratio * side)


@pytest.mark.parametrize(
    ("size", "ratio", "sides"),
    [((112, 112, 80), 2 / 3, (74, 74, 53)), ((256, 256), 1 / 2, (128, 128))],
)
def test_sides_of_the_papers_boxes(
    size: tuple[int, ...], ratio: float, sides: tuple[int, ...]
) -> None:
    box = random_box(size, ratio, np.random.default_rng(0))
    assert tuple(part.stop - part.start for part in box) == sides


def test_corner_is_uniform_without_the_upper_end() -> None:
    rng = np.random.default_rng(0)
    corners = [random_box((12,), 2 / 3, rng)[0].start for _ in range(4000)]
    counts = np.bincount(corners)
    assert len(counts) == 4  # 0..3 of a free length of 4; the last position, 4, is never drawn
    assert counts.min() > 900


def test_box_of_the_whole_image() -> None:
    assert random_box((8, 5), 1.0, np.random.default_rng(0)) == (slice(0, 8), slice(0, 5))


@pytest.mark.parametrize("ratio", [0.0, -0.5, 1.5, float("nan")])
def test_wrong_ratio(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratio"):
        random_box((8, 8), ratio, np.random.default_rng(0))


def test_same_stream_same_box() -> None:
    assert random_box((40, 30), 0.5, np.random.default_rng(3)) == random_box(
        (40, 30), 0.5, np.random.default_rng(3)
    )


@pytest.mark.parametrize("sides", [(9, 8), (9, 8, 7)])
def test_mix_equals_the_papers_mask(sides: tuple[int, ...]) -> None:
    box = random_box(sides, 2 / 3, np.random.default_rng(1))
    mask = torch.ones(sides)
    mask[box] = 0
    a, b = torch.randn(2, 3, *sides), torch.randn(2, 3, *sides)
    copies = a.clone(), b.clone()
    torch.testing.assert_close(mix(a, b, box), a * mask + b * (1 - mask), rtol=0, atol=0)
    assert torch.equal(a, copies[0])
    assert torch.equal(b, copies[1])
    label_a, label_b = torch.randint(0, 4, (2, *sides)), torch.randint(0, 4, (2, *sides))
    assert torch.equal(mix(label_a, label_b, box), torch.where(mask.bool(), label_a, label_b))


def test_mix_keeps_type_and_layout() -> None:
    batch = torch.randn(4, 2, 8, 8, 8).bfloat16().to(memory_format=torch.channels_last_3d)
    mixed = mix(*halves(batch), random_box((8, 8, 8), 0.5, np.random.default_rng(0)))
    assert mixed.dtype == torch.bfloat16
    assert mixed.is_contiguous(memory_format=torch.channels_last_3d)


def test_halves() -> None:
    batch = torch.arange(6)
    first, second = halves(batch)
    assert first.tolist() == [0, 1, 2]
    assert second.tolist() == [3, 4, 5]
    with pytest.raises(ValueError, match="3"):
        halves(batch[:3])


def test_boxes_of_the_golden_steps_have_the_size_of_ours() -> None:
    for name, key, ratio in (
        ("cml_step_la", "self_boxes", 2 / 3),
        ("cml_step_acdc", "two_self_boxes", 1 / 2),
    ):
        numbers = golden.load(name)
        ours = random_box(numbers["spatial"].tolist(), ratio, np.random.default_rng(0))
        for box in numbers[key]:
            assert [part.stop - part.start for part in ours] == (box[:, 1] - box[:, 0]).tolist()
