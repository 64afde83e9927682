"""Pseudo-labels equal the official ones, and components equal scikit-image's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from skimage.measure import label as label_components
from tests.helpers import golden_numbers as golden

from crossview.methods.blocks.components import largest_components
from crossview.methods.blocks.pseudo_labels import clean_async, decide

CLASSES = {"la": 2, "acdc": 4}


@pytest.mark.parametrize("setting", CLASSES)
def test_equals_the_official_pseudo_labels(setting: str) -> None:
    numbers = golden.load("cml_pseudo_labels")
    decided = decide(torch.from_numpy(numbers[f"{setting}_logits"]))
    assert decided.dtype == torch.uint8
    np.testing.assert_array_equal(decided, numbers[f"{setting}_mask"])
    np.testing.assert_array_equal(
        largest_components(decided.numpy(), CLASSES[setting]), numbers[f"{setting}_mask_cc"]
    )


def reference(label: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """The release's way: scikit-image's components, and the first of the largest counts."""
    cleaned = np.zeros_like(label)
    for sample, result in zip(label, cleaned, strict=True):
        for index in range(1, classes):
            components = label_components(sample == index, connectivity=sample.ndim)
            if components.max() > 0:
                result[components == np.argmax(np.bincount(components.flat)[1:]) + 1] = index
    return cleaned


def sparse_labels(dimensions: int) -> st.SearchStrategy[NDArray[np.uint8]]:
    """Labels of up to four classes and enough background for many components, ties among them."""
    shapes = st.tuples(st.integers(1, 3), *[st.integers(1, 9)] * dimensions)
    elements = st.sampled_from([0, 0, 0, 1, 1, 2, 3])
    return shapes.flatmap(
        lambda shape: arrays.arrays(np.uint8, shape, elements=elements, fill=st.just(0))
    )


@pytest.mark.parametrize("dimensions", [2, 3])
@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_equals_scikit_image(dimensions: int, data: st.DataObject) -> None:
    label = data.draw(sparse_labels(dimensions))
    before = label.copy()
    np.testing.assert_array_equal(largest_components(label, 4), reference(label, 4))
    np.testing.assert_array_equal(label, before)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("shape", [(2, 24, 20, 18), (4, 40, 44)])
def test_equals_scikit_image_on_noise(shape: tuple[int, ...], density: float) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(1, 4, shape, dtype=np.uint8) * (rng.random(shape) < density)
    np.testing.assert_array_equal(largest_components(label, 4), reference(label, 4))


@pytest.mark.parametrize("layout", ["C", "F"])
def test_of_equal_components_the_first_in_c_order_wins(layout: str) -> None:
    label = np.zeros((1, 8, 8, 8), np.uint8, order=layout)
    label[0, 5, 0, 0] = label[0, 0, 5, 5] = label[0, 2, 2, 0] = 1
    assert np.argwhere(largest_components(label, 2)).tolist() == [[0, 0, 5, 5]]


def test_of_two_equal_halves_the_first_wins() -> None:
    label = np.zeros((1, 301, 12), np.uint8)
    label[0, :150], label[0, 151:] = 1, 1
    np.testing.assert_array_equal(np.flatnonzero(largest_components(label, 2)), np.arange(1800))


def test_two_classes_tie_to_the_foreground_and_more_to_the_first() -> None:
    assert decide(torch.zeros(1, 2, 1, 1)).item() == 1
    assert decide(torch.zeros(1, 3, 1, 1)).item() == 0


@pytest.mark.parametrize("classes", [3, 4, 7])
def test_the_first_of_the_largest_probabilities_is_decided(classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randint(3, (3, classes, 40, 40), generator=generator).float()  # many ties
    for image in (logits, logits.contiguous(memory_format=torch.channels_last), logits.bfloat16()):
        assert torch.equal(decide(image), image.float().softmax(1).argmax(1).to(torch.uint8))


def test_low_precision_logits_are_decided_in_float32() -> None:
    logits = torch.tensor([100.0, 99.5]).bfloat16().view(1, 2, 1, 1)
    assert decide(logits).item() == 0


def test_decision_has_no_gradient() -> None:
    assert not decide(torch.randn(1, 2, 4, 4, requires_grad=True)).requires_grad


def test_async_gives_the_same_and_leaves_its_input() -> None:
    numbers = golden.load("cml_pseudo_labels")
    labels = [torch.from_numpy(numbers[f"{setting}_mask"].copy()) for setting in CLASSES]
    before = [label.clone() for label in labels]
    pending = [
        clean_async(label, classes) for label, classes in zip(labels, CLASSES.values(), strict=True)
    ]
    for setting, job, label, copy in zip(CLASSES, pending, labels, before, strict=True):
        np.testing.assert_array_equal(job.result(), numbers[f"{setting}_mask_cc"])
        assert torch.equal(label, copy)


def test_async_raises_what_went_wrong() -> None:
    with pytest.raises(Exception, match="3D arrays"):
        clean_async(torch.zeros(2, 4, 4, 4, 4, dtype=torch.uint8).fill_(1), 2).result()


@pytest.mark.gpu
def test_async_on_a_gpu_returns_to_it() -> None:
    numbers = golden.load("cml_pseudo_labels")
    job = clean_async(torch.from_numpy(numbers["la_mask"]).cuda(), 2)
    assert job.result().is_cuda
    np.testing.assert_array_equal(job.result().cpu(), numbers["la_mask_cc"])


@pytest.mark.parametrize("shape", [(1, 3, 1), (3, 1, 1), (1, 1, 3), (3, 1), (1, 3)])
def test_thin_masks_of_several_pieces(shape):
    """cc3d's ``binary_image`` counts too few pieces beforehand here, and raises."""
    mask = np.zeros(shape, np.uint8)
    mask.flat[[0, 2]] = 1
    assert largest_components(mask[None], 2)[0].ravel().tolist() == [1, 0, 0]
