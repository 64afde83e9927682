"""The LA layout: who is labelled, and every problem of a root at once."""

from functools import partial

import numpy as np
import pytest
import torch

from crossview.data.sources import la
from crossview.data.store import Store
from crossview.errors import UserError

Options = partial(la.Options, sampling="crop_released", augmentation="rot90_flip")


def ids(cases):
    return [case.id for case in cases]


def test_the_first_of_the_list_are_labelled(make_la):
    splits = la.splits(make_la(), Options(labelled=2))
    assert (
        ids(splits.labelled),
        ids(splits.unlabelled),
        ids(splits.validation),
        ids(splits.test),
    ) == (["A", "B"], ["C", "D"], [], ["T"])
    assert all(case.labelled for case in (*splits.labelled, *splits.test))
    assert not any(case.labelled for case in splits.unlabelled)
    assert (splits.classes, splits.class_names, splits.channels, splits.unit) == (
        2,
        ("background", "left atrium"),
        1,
        "voxel",
    )
    assert "cropped around the ground truth" in splits.notes[0]


def test_validation_is_taken_out_of_the_labelled(make_la):
    splits = la.splits(make_la(), Options(labelled=3, validation=1))
    assert (ids(splits.labelled), ids(splits.validation), ids(splits.unlabelled)) == (
        ["A", "B"],
        ["C"],
        ["D"],
    )
    assert splits.validation[0].labelled


def test_arrays_come_as_stored(make_la):
    case = la.splits(make_la(), Options(labelled=1)).labelled[0]
    image, label = case.read_image(), case.read_label()
    assert (image.shape, image.dtype, label.shape, label.dtype) == (
        (1, 6, 5, 4),
        np.float32,
        (6, 5, 4),
        np.uint8,
    )
    assert np.array_equal(image[0], np.random.default_rng(0).integers(0, 50, (6, 5, 4)))
    assert np.array_equal(label, image[0] > 40)


def test_a_symlinked_case_is_read(make_la):
    root = make_la()
    folder = root / "2018LA_Seg_Training Set" / "A"
    folder.rename(root / "elsewhere")
    folder.symlink_to(root / "elsewhere")
    assert la.splits(root, Options(labelled=1)).labelled[0].read_image().shape == (1, 6, 5, 4)


def problems(root, labelled=2):
    with pytest.raises(UserError) as error:
        la.splits(root, Options(labelled=labelled))
    return error.value.problems


def test_all_problems_at_once(make_la):
    root = make_la(train=("A", "B", "T", "C"), test=("T", "U"))
    (root / "train.list").write_text("A\nA\n\nB\n../C\n/etc/passwd\nT\nGONE\n..\n")
    found = problems(root, labelled=9)
    whats = [problem.what for problem in found]
    assert whats.count("the list contains a path instead of a name") == 3
    assert [p.found for p in found if p.what == "a case is listed more than once"] == ["A, 2 times"]
    assert [p.where for p in found if p.what == "a case is in two lists"] == ["T"]
    assert [p.where for p in found if p.what == "a listed case has no file"] == ["GONE"]
    assert [p.found for p in found if p.what.startswith("the recipe asks for more labelled")] == ["4 cases"]
    assert len(found) == 7


def test_many_missing_cases_are_summed_up(make_la):
    root = make_la()
    (root / "train.list").write_text("\n".join(["A", *(f"case{n}" for n in range(30))]))
    found = problems(root)
    assert len(found) == 11
    assert found[-1].what == "20 more listed cases have no file"
    assert found[-1].found == "30 of 31 cases have no file"


def test_missing_and_empty_lists_are_both_named(make_la):
    root = make_la()
    (root / "train.list").unlink()
    (root / "test.list").write_text("\n \n")
    assert [(p.what, p.where) for p in problems(root)] == [
        ("the list of cases can't be read", str(root / "train.list")),
        ("the list of cases is empty", str(root / "test.list")),
    ]


def test_a_list_that_is_no_text(make_la):
    root = make_la()
    (root / "train.list").write_bytes(b"\xff\xfe\x00A")
    assert problems(root)[0].what == "the list of cases can't be read"


@pytest.mark.parametrize("root", [None, "nowhere", "file"])
def test_a_root_that_is_no_folder(root, tmp_path):
    (tmp_path / "file").write_text("")
    (problem,) = problems(root and tmp_path / root)
    assert "train.list" in problem.expected


def test_published_split(published_layouts):
    names = (published_layouts / "LA" / "train.list").read_text().split()
    for labelled in (4, 8, 16):
        splits = la.splits(published_layouts / "LA", Options(labelled=labelled))
        assert ids(splits.labelled) == names[:labelled]
        assert (len(splits.unlabelled), len(splits.test)) == (80 - labelled, 20)


def test_published_volumes_take_a_byte_a_voxel(unpacked_data):
    cases = la.splits(unpacked_data / "LA", Options(labelled=4)).labelled
    store = Store(cases, classes=2, channels=1)
    assert store.voxels.dtype == torch.uint8
    assert {shape[2] for shape in store.shapes} == {88}
    for position, case in enumerate(cases):
        assert np.array_equal(store.decode(store.stored(position), position), case.read_image())
        assert np.array_equal(store.label(position), case.read_label())
