"""The ACDC layout: slices for training, volumes for scoring, patients as the unit."""

from functools import partial

import numpy as np
import pytest

from crossview.data.sources import acdc
from crossview.errors import UserError

Options = partial(acdc.Options, sampling="resize", augmentation="rot90_flip_or_rotate")


def patients(cases):
    return list(dict.fromkeys(case.patient for case in cases))


def test_labelled_counts_patients_in_the_order_of_the_list(make_acdc):
    splits = acdc.splits(make_acdc(), Options(labelled=2))
    assert patients(splits.labelled) == ["patient007", "patient003"]
    assert patients(splits.unlabelled) == ["patient005"]
    assert (len(splits.labelled), len(splits.unlabelled)) == (12, 6)
    assert splits.labelled[0].id == "patient007_frame02_slice_10"
    assert splits.labelled[0].read_image().shape == (1, 5, 4)
    assert not any(case.labelled for case in splits.unlabelled)
    assert splits.class_names == ("background", "right ventricle", "myocardium", "left ventricle")


def test_published_validation_and_test_volumes(make_acdc):
    splits = acdc.splits(make_acdc(), Options(labelled=1))
    assert [case.id for case in splits.validation] == ["patient010_frame01"]
    assert [case.id for case in splits.test] == ["patient020_frame01", "patient020_frame02"]
    assert splits.test[0].patient == splits.test[1].patient == "patient020"
    assert splits.test[0].read_image().shape == (1, 3, 5, 4)
    assert "published list" in splits.notes[-1]


def test_validation_out_of_the_labelled_patients(make_acdc):
    root = make_acdc()
    splits = acdc.splits(root, Options(labelled=2, validation=1))
    assert patients(splits.labelled) == ["patient007"]
    assert [case.id for case in splits.validation] == ["patient003_frame01", "patient003_frame02"]
    assert "patient003" in splits.notes[-1]
    image, label = splits.validation[0].read_image(), splits.validation[0].read_label()
    assert image[0, :, 0, 0].tolist() == [
        1 / 16,
        2 / 16,
        10 / 16,
    ]  # in the order of the slices, not of the list
    assert (image.shape, label.shape) == ((1, 3, 5, 4), (3, 5, 4))


def test_stacked_slices_of_different_shape(make_acdc, write_h5):
    root = make_acdc()
    write_h5(
        root / "data/slices/patient003_frame01_slice_2.h5",
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4), np.uint8),
    )
    case = acdc.splits(root, Options(labelled=2, validation=1)).validation[0]
    with pytest.raises(UserError, match=r"slice_2.h5.*differ in shape"):
        case.read_image()


def test_all_problems_at_once(make_acdc):
    root = make_acdc()
    names = (root / "train_slices.list").read_text()
    (root / "train_slices.list").write_text(
        names + "\npatient020_frame01_slice_1\nodd\npatient003_frame01_slice_2"
    )
    (root / "data/patient010_frame01.h5").unlink()
    (root / "test.list").write_text("patient020_frame01\npatient020_frame01_slice_3x\n")
    with pytest.raises(UserError) as error:
        acdc.splits(root, Options(labelled=50))
    found = [(problem.what, problem.where or problem.found) for problem in error.value.problems]
    assert ("a patient is in two lists", "patient020") in found
    assert ("a listed case has no file", "patient010_frame01") in found
    assert ("a listed case has no file", "patient020_frame01_slice_1") in found
    assert (
        "the recipe asks for more labelled cases than the data has",
        str(root / "train_slices.list"),
    ) in found
    assert sum(what == "the name does not fit this layout" for what, _ in found) == 2
    assert sum(what == "a case is listed more than once" for what, _ in found) == 1


def test_published_patient_counts(published_layouts):
    for labelled, slices in ((3, 68), (7, 136), (14, 256)):
        splits = acdc.splits(published_layouts / "ACDC", Options(labelled=labelled))
        names = (published_layouts / "ACDC" / "train_slices.list").read_text().split()
        assert [case.id for case in splits.labelled] == names[:slices]
        assert len(splits.labelled) + len(splits.unlabelled) == 1312
    assert (len(splits.validation), len(splits.test), len(patients(splits.test))) == (20, 40, 20)
