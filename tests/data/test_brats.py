"""The BraTS2019 layout, on files made in it."""

from functools import partial

import numpy as np
import pytest

from crossview.data.sources import brats
from crossview.errors import UserError

Options = partial(brats.Options, sampling="crop_released", augmentation="rot90_flip")


@pytest.fixture
def root(tmp_path, write_h5):
    lists = {"train.txt": ["b", "a", "c"], "val.txt": ["v"], "test.txt": ["t", "u"]}
    for number, name in enumerate(name for names in lists.values() for name in names):
        image = np.random.default_rng(number).normal(size=(7, 6, 5)).astype(np.float32)
        write_h5(
            tmp_path / "data" / f"{name}.h5",
            image,
            (np.arange(210).reshape(7, 6, 5) % 5).astype(np.int16),
        )
    for file, names in lists.items():
        (tmp_path / file).write_text("".join(f"{name},{name}_seg\n" for name in names))
    return tmp_path


def ids(cases):
    return [case.id for case in cases]


def test_the_first_of_the_list_are_labelled(root):
    splits = brats.splits(root, Options(labelled=2))
    assert (ids(splits.labelled), ids(splits.unlabelled)) == (["b", "a"], ["c"])
    assert (ids(splits.validation), ids(splits.test)) == (["v"], ["t", "u"])
    assert not any(case.labelled for case in splits.unlabelled)
    assert (splits.classes, splits.class_names, splits.unit) == (
        2,
        ("background", "whole tumour"),
        "voxel",
    )


def test_validation_can_be_taken_out_of_the_labelled(root):
    splits = brats.splits(root, Options(labelled=2, validation=1))
    assert (ids(splits.labelled), ids(splits.validation), ids(splits.unlabelled)) == (
        ["b"],
        ["a"],
        ["c"],
    )


def test_every_tumour_value_is_whole_tumour(root):
    case = brats.splits(root, Options(labelled=1)).labelled[0]
    label = case.read_label()
    assert (case.read_image().shape, label.dtype) == ((1, 7, 6, 5), np.uint8)
    assert np.array_equal(label, np.arange(210).reshape(7, 6, 5) % 5 > 0)


def test_all_problems_at_once(root):
    (root / "data" / "u.h5").unlink()
    (root / "val.txt").write_text("v\nb\n../x\n")
    with pytest.raises(UserError) as error:
        brats.splits(root, Options(labelled=9))
    assert sorted(problem.what for problem in error.value.problems) == [
        "a case is in two lists",
        "a listed case has no file",
        "the list contains a path instead of a name",
        "the recipe asks for more labelled cases than the data has",
    ]
