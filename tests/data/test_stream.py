"""The stream: step k is a function of k, epochs as published, any number of workers."""

import dataclasses
import threading
import time

import numpy as np
import pytest
import torch

from crossview.core.errors import UserError
from crossview.core.tensors import Batch
from crossview.data.prefetch import Prefetcher, Request
from crossview.data.store import Store
from crossview.data.stream import Stream


@pytest.fixture
def make_stream(make_case):
    def make(labelled=5, unlabelled=7, *, dimensions=3, store_device="cpu", **changed):
        generator = np.random.default_rng(0)
        cases = []
        for number in range(labelled + unlabelled):
            shape = (9 + number % 3, 8, 7)[:dimensions]
            image = generator.integers(0, 50, (1, *shape)).astype(np.float32)
            cases.append(make_case(str(number), image, (image[0] > 40).astype(np.uint8)))
        options = {
            "patch": (6, 6, 6)[:dimensions],
            "sampling": "crop",
            "augmentation": "rot90_flip",
        }
        options |= {"labelled_batch": 2, "unlabelled_batch": 3, "seed": 4} | changed
        without = [case.without_label() for case in cases[labelled:]]
        first = Store(cases[:labelled], classes=2, channels=1, device=store_device)
        return Stream(
            first,
            Store(without, classes=2, channels=1, device=store_device) if without else None,
            **options,
        )

    return make


RESIZE = {"dimensions": 2, "sampling": "resize", "augmentation": "rot90_flip_or_rotate"}


def same(first: Batch, second: Batch) -> bool:
    return (
        all(
            torch.equal(getattr(first, key), getattr(second, key))
            for key in ("image", "label", "unlabelled")
        )
        and first.rng == second.rng
    )


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"sampling": "crop_released"},
        {"augmentation": "mild"},
        {"augmentation": "strong"},
        RESIZE,
    ],
)
def test_a_batch_is_a_function_of_seed_stage_and_step(make_stream, changed):
    stream = make_stream(**changed)
    expected = stream.batch(1, 9, unlabelled=True)
    for step in (3, 0, 20):
        stream.batch(0, step, unlabelled=True)
    assert same(stream.batch(1, 9, unlabelled=True), expected)
    assert same(make_stream(**changed).batch(1, 9, unlabelled=True), expected)
    for other in (
        stream.batch(0, 9, unlabelled=True),
        stream.batch(1, 10, unlabelled=True),
        make_stream(seed=5, **changed).batch(1, 9, unlabelled=True),
    ):
        assert not torch.equal(other.unlabelled, expected.unlabelled)


def test_shapes_and_types(make_stream):
    batch = make_stream().batch(0, 0, unlabelled=True, show=True)
    assert (batch.image.shape, batch.image.dtype) == ((2, 1, 6, 6, 6), torch.float32)
    assert (batch.label.shape, batch.label.dtype) == ((2, 6, 6, 6), torch.int64)
    assert (batch.unlabelled.shape, batch.unlabelled.dtype) == ((3, 1, 6, 6, 6), torch.float32)
    assert batch.show


@pytest.mark.parametrize("changed", [{}, RESIZE])
def test_image_and_label_stay_together(make_stream, changed):
    stream = make_stream(**changed)
    for step in range(8):
        batch = stream.batch(0, step, unlabelled=False)
        assert torch.equal(batch.label, (batch.image[:, 0] > 40).long())


def devices(batch: Batch) -> set[str]:
    return {tensor.device.type for tensor in (batch.image, batch.label, batch.unlabelled)}


@pytest.mark.parametrize("changed", [{}, RESIZE])
def test_batches_lie_on_the_device_asked_for(make_stream, changed):
    batch = make_stream(device="meta", **changed).batch(0, 0, unlabelled=True)
    assert devices(batch) == {"meta"}
    assert devices(make_stream(**changed).batch(0, 0, unlabelled=True)) == {"cpu"}


@pytest.mark.gpu
@pytest.mark.parametrize("place", [{"store_device": "cuda"}, {"device": "cuda"}])
@pytest.mark.parametrize("changed", [{}, {"sampling": "crop_released", "patch": (9, 8, 9)}, RESIZE])
def test_batches_of_a_gpu_equal_those_of_the_cpu(make_stream, changed, place):
    expected, found = make_stream(**changed), make_stream(**changed, **place)
    for step in range(8):
        batch = found.batch(0, step, unlabelled=True)
        assert devices(batch) == {"cuda"}
        on_host = dataclasses.replace(
            batch,
            image=batch.image.cpu(),
            label=batch.label.cpu(),
            unlabelled=batch.unlabelled.cpu(),
        )
        assert same(on_host, expected.batch(0, step, unlabelled=True))


def test_labelled_epochs_are_permutations_with_the_rest_dropped(make_stream):
    stream = make_stream(labelled=5)
    epochs = [
        [*stream.labelled_positions(0, 2 * epoch), *stream.labelled_positions(0, 2 * epoch + 1)]
        for epoch in range(200)
    ]
    assert all(len(set(epoch)) == 4 for epoch in epochs)
    counts = np.bincount(np.concatenate(epochs), minlength=5)
    assert counts.min() > 130  # 160 each in the mean: the item that is left out changes
    assert len({tuple(epoch) for epoch in epochs}) > 80


def test_unlabelled_passes_go_on_without_a_break(make_stream):
    stream = make_stream(unlabelled=7)
    drawn = [position for step in range(70) for position in stream.unlabelled_positions(0, step)]
    passes = [drawn[start : start + 7] for start in range(0, len(drawn), 7)]
    assert all(sorted(one) == list(range(7)) for one in passes)
    assert len({tuple(one) for one in passes}) > 20


def test_a_batch_larger_than_the_unlabelled_set_wraps_around(make_stream):
    stream = make_stream(unlabelled=2, unlabelled_batch=5)
    assert sorted(stream.unlabelled_positions(0, 0)[:4]) == [0, 0, 1, 1]


def test_labelled_images_do_not_depend_on_the_unlabelled(make_stream):
    with_, without = (
        make_stream().batch(0, 3, unlabelled=True),
        make_stream(unlabelled=0).batch(0, 3, unlabelled=False),
    )
    assert torch.equal(with_.image, without.image)
    assert torch.equal(with_.label, without.label)
    assert without.unlabelled is None


def test_a_batch_has_no_place_for_labels_of_unlabelled_images(make_stream):
    stream = make_stream()
    assert stream.unlabelled.labels is None
    assert [field.name for field in dataclasses.fields(Batch) if "label" in field.name] == [
        "label",
        "unlabelled",
    ]
    with pytest.raises(ValueError, match="the unlabelled store none"):
        Stream(
            stream.labelled,
            stream.labelled,
            patch=(6, 6, 6),
            sampling="crop",
            augmentation="none",
            labelled_batch=1,
            unlabelled_batch=1,
            seed=0,
        )


def test_too_few_labelled_items(make_stream):
    with pytest.raises(
        UserError,
        match=r"(?s)1 labelled items.*labelled_batch = 2.*set training.labelled_batch to 1",
    ):
        make_stream(labelled=1)


def test_a_patch_of_the_wrong_number_of_axes(make_stream):
    with pytest.raises(UserError, match="the patch does not fit"):
        make_stream(patch=(6, 6))


def test_unlabelled_images_asked_for_and_not_there(make_stream):
    with pytest.raises(UserError, match="needs unlabelled images"):
        make_stream(unlabelled=0).batch(0, 0, unlabelled=True)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_prefetched_batches_are_the_same_for_any_number_of_workers(make_stream, workers):
    stream = make_stream()
    requests = [Request(stage, step, unlabelled=True) for stage in (0, 1) for step in range(6)]
    with Prefetcher(stream, requests, workers=workers) as batches:
        prepared = list(batches)
    assert len(prepared) == 12
    assert all(
        same(batch, stream.batch(r.stage, r.step, unlabelled=True))
        for batch, r in zip(prepared, requests, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_surfaces_at_its_batch(make_stream, workers):
    stream = make_stream(unlabelled=0)
    with Prefetcher(
        stream, [Request(0, 0, unlabelled=False), Request(0, 1, unlabelled=True)], workers=workers
    ) as batches:
        next(batches)
        with pytest.raises(UserError, match="needs unlabelled images"):
            next(batches)


def test_waiting_is_counted_and_closing_stops(make_stream, monkeypatch):
    stream = make_stream()
    asked = []

    def slow(stage, step, *, unlabelled):
        asked.append(step)
        time.sleep(0.05)

    monkeypatch.setattr(stream, "batch", slow)
    batches = Prefetcher(
        stream, (Request(0, step, unlabelled=False) for step in range(1000)), workers=1
    )
    next(batches)
    batches.close()
    assert 0.02 < batches.waited < 0.5
    assert len(asked) <= 4
    with pytest.raises(StopIteration):
        next(batches)


def test_rest_waits_for_batches_under_way_and_asks_for_none():
    begun, may_end = [], threading.Event()

    class Slow:
        def batch(self, stage, step, *, unlabelled):
            begun.append(step)
            may_end.wait(10)
            return step

    with Prefetcher(
        Slow(), (Request(0, step, False) for step in range(9)), workers=2, ahead=3
    ) as batches:
        threading.Timer(0.05, may_end.set).start()
        batches.rest()
        assert begun == [0, 1, 2]
        assert list(batches) == list(range(9))
