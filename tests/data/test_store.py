"""The store: images and labels are read back, and every problem is reported at once."""

import numpy as np
import pytest
import torch

from crossview.core.errors import Problem, UserError
from crossview.data import store as store_module
from crossview.data.store import Store, fits


def some_cases(make_case, *, labelled=True, levels=40, count=3, channels=1):
    generator = np.random.default_rng(0)
    cases = []
    for number in range(count):
        shape = (7 + number, 6, 5)
        image = generator.integers(0, levels, (channels, *shape)).astype(np.float32) / 7
        cases.append(
            make_case(
                f"case{number}",
                image,
                generator.integers(0, 3, shape).astype(np.uint8) if labelled else None,
            )
        )
    return cases


def float_case(make_case, name, scale=1.0):
    return make_case(
        name, (scale * np.random.default_rng(5).normal(size=(1, 9, 9, 9))).astype(np.float32)
    )


def image(store, position):
    return store.decode(store.stored(position), position).numpy()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("levels", "kind"), [(40, torch.uint8), (10**5, torch.float16)])
def test_images_and_labels_come_back(make_case, channels, levels, kind):
    cases = some_cases(make_case, channels=channels, levels=levels)
    store = Store(cases, classes=3, channels=channels)
    assert (len(store), store.ids, store.dimensions, store.voxels.dtype) == (
        3,
        ("case0", "case1", "case2"),
        3,
        kind,
    )
    for position, case in enumerate(cases):
        rounding = 0 if kind == torch.uint8 else 2**-11
        np.testing.assert_allclose(image(store, position), case.read_image(), rtol=rounding)
        assert np.array_equal(store.label(position), case.read_label())


def test_a_store_of_many_levels_stays_exact(make_case):
    generator = np.random.default_rng(0)
    cases = [
        make_case(name, generator.integers(0, levels, (1, 40, 40, 4)).astype(np.float32))
        for name, levels in (("a", 9), ("b", 2000))
    ]
    store = Store(cases, classes=2, channels=1)
    assert store.voxels.dtype == torch.int16
    assert all(
        np.array_equal(image(store, position), case.read_image())
        for position, case in enumerate(cases)
    )


def test_one_image_beyond_float16_makes_the_store_float32(make_case):
    indexed = make_case("indexed", np.array([0, 1e6], np.float32).repeat(50).reshape(1, 10, 10, 1))
    store = Store([float_case(make_case, "float"), indexed], classes=2, channels=1)
    assert store.voxels.dtype == torch.float32
    assert np.array_equal(image(store, 1), indexed.read_image())


def test_an_unlabelled_store_holds_no_labels(make_case):
    store = Store([case.without_label() for case in some_cases(make_case)], classes=3, channels=1)
    assert store.labels is None
    with pytest.raises(ValueError, match="no labels"):
        store.label(0)


def test_labelled_and_unlabelled_cases_are_not_mixed(make_case):
    first, second, _ = some_cases(make_case)
    with pytest.raises(ValueError, match="not of both"):
        Store([first, second.without_label()], classes=3, channels=1)


def test_memory_is_a_byte_a_voxel(make_case):
    voxels = sum((7 + number) * 30 for number in range(3))
    unlabelled = Store(some_cases(make_case, labelled=False), classes=3, channels=1)
    assert unlabelled.nbytes == voxels + unlabelled.values.nbytes
    assert unlabelled.values.nbytes == 4 * sum(
        len(np.unique(case.read_image())) for case in some_cases(make_case)
    )
    assert (
        Store(some_cases(make_case), classes=3, channels=1).nbytes
        == 2 * voxels + unlabelled.values.nbytes
    )


@pytest.mark.parametrize("room", [True, False])
def test_a_store_too_large_for_its_device_stays_in_the_computers_memory(
    make_case, monkeypatch, room
):
    asked = []
    monkeypatch.setattr(
        store_module, "fits", lambda nbytes, device: asked.append((nbytes, device.type)) or room
    )
    store = Store(some_cases(make_case), classes=3, channels=1, device="meta")
    assert {tensor.device.type for tensor in (store.voxels, store.values, store.labels)} == {
        "meta" if room else "cpu"
    }
    assert store.device == store.voxels.device
    assert asked == [(store.nbytes, "meta")]


def test_a_store_takes_at_most_sixty_percent_of_a_gpus_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    assert fits(600, torch.device("cuda"))
    assert not fits(601, torch.device("cuda"))
    assert fits(10**15, torch.device("cpu"))


def test_the_number_of_workers_changes_nothing(make_case):
    one, many = (
        Store(some_cases(make_case, count=9), classes=3, channels=1, workers=workers)
        for workers in (1, 4)
    )
    assert torch.equal(one.voxels, many.voxels)
    assert torch.equal(one.labels, many.labels)


def test_progress_is_told(make_case):
    told = []
    Store(
        some_cases(make_case),
        classes=3,
        channels=1,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_problems_of_all_cases_are_raised_at_once(make_case):
    def unreadable():
        raise UserError(Problem("the file is missing", where="gone.h5"))

    sound, wrong, spoilt = some_cases(make_case)
    spoilt.read_image().flat[3] = np.nan
    gone = make_case("gone", None)
    object.__setattr__(gone, "read_image", unreadable)
    object.__setattr__(gone, "read_label", wrong.read_label)
    wrong.read_label().flat[0] = 7
    with pytest.raises(UserError) as error:
        Store([sound, wrong, spoilt, gone], classes=3, channels=1)
    assert [problem.where.split()[0] for problem in error.value.problems] == [
        "case1",
        "case2",
        "gone.h5",
    ]


def test_slices_and_volumes_are_not_mixed(make_case):
    with pytest.raises(UserError, match="slices and volumes are mixed"):
        Store(
            [
                make_case("a", np.zeros((1, 4, 4), np.float32)),
                make_case("b", np.zeros((1, 4, 4, 4), np.float32)),
            ],
            classes=2,
            channels=1,
        )


def test_no_cases():
    with pytest.raises(UserError, match="no cases"):
        Store([], classes=2, channels=1)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("levels", [40, 10**5])
def test_the_slices_of_volumes_are_items(make_case, channels, levels):
    cases = some_cases(make_case, channels=channels, levels=levels)
    store, whole = (
        Store(cases, classes=3, channels=channels, slices=True),
        Store(cases, classes=3, channels=channels),
    )
    assert (len(store), store.dimensions, store.nbytes) == (7 + 8 + 9, 2, whole.nbytes)
    assert store.ids[6:8] == ("case0 slice 6", "case1 slice 0")
    for position, (case, k) in enumerate(
        (each, k) for each in cases for k in range(each.read_image().shape[1])
    ):
        np.testing.assert_allclose(image(store, position), case.read_image()[:, k], rtol=2**-11)
        assert np.array_equal(store.label(position), case.read_label()[k])


def test_images_of_two_axes_stay_what_they_are(make_case):
    case = make_case("a", np.ones((1, 5, 4), np.float32))
    assert Store([case], classes=2, channels=1, slices=True).shapes == ((5, 4),)
