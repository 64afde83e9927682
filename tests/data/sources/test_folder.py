"""A user's folder as cases: layouts, roles, and every fault told at once."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.made_folder import (
    AFFINE,
    make_folder,
    problems_of,
    scan,
    write_nifti,
    write_picture,
)

from crossview.core.errors import UserError
from crossview.data import sources
from crossview.data.sources import folder
from crossview.data.sources.folder_cases import find_cases, survey


def options(**keys) -> folder.Options:
    return folder.Options(
        **{"patch": (4, 4, 4), "classes": 3, "sampling": "crop", "augmentation": "none", **keys}
    )


def ids(cases) -> list[str]:
    return [case.id for case in cases]


@pytest.fixture
def plain(tmp_path):
    return make_folder(tmp_path / "my scans ä", labelled=4, unlabelled=3)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
def test_a_scan_is_labelled_if_the_labels_have_its_name(tmp_path, suffix):
    root = make_folder(tmp_path, suffix=suffix)
    found = sources.find("folder").splits(root, options())
    assert ids(found.labelled) == ["case00", "case01", "case02"]
    assert ids(found.unlabelled) == ["case03", "case04"]
    assert (found.test, found.validation) == ((), ())
    assert (found.raw, found.unit, found.channels) == (True, "mm", 1)
    assert found.class_names == ("background", "class 1", "class 2")


def test_images_are_float32_as_stored_and_labels_are_classes(plain):
    case = folder.splits(plain, options()).labelled[0]
    image, label = scan(0)
    read = case.read_image()
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, image[None])
    np.testing.assert_array_equal(case.read_label(), label)
    assert case.read_label().dtype == np.uint8
    assert case.spacing == (1.0, 1.5, 2.0)


def test_the_labels_of_unlabelled_cases_cannot_be_reached(plain):
    assert all(
        case.read_label is None for case in folder.splits(plain, options(labelled=2)).unlabelled
    )


@pytest.mark.parametrize(
    ("labelled", "validation", "trained"), [(0, 0, 4), (3, 0, 3), (0, 2, 2), (3, 1, 2)]
)
def test_the_first_are_labelled_and_the_last_of_them_validate(plain, labelled, validation, trained):
    found = folder.splits(plain, options(labelled=labelled, validation=validation))
    names = [f"case{number:02d}" for number in range(7)]
    used = labelled or 4
    assert ids(found.labelled) == names[:trained]
    assert ids(found.validation) == names[trained:used]
    assert sorted(ids(found.unlabelled)) == names[used:]


def test_too_few_labelled_cases_are_refused(tmp_path, plain):
    with pytest.raises(UserError) as error:
        folder.splits(make_folder(tmp_path / "one", labelled=1), options())
    assert "too few labelled cases" in problems_of(error)
    with pytest.raises(UserError) as error:
        folder.splits(plain, options(validation=9))
    assert "too few labelled cases" in problems_of(error)
    with pytest.raises(UserError) as error:
        folder.splits(plain, options(labelled=5))
    assert "the recipe asks for more labelled cases than the data has" in problems_of(error)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="the data folder does not exist"):
        folder.splits(tmp_path / "nowhere", options())
    with pytest.raises(UserError, match="needs a data folder"):
        folder.splits(None, options())


@pytest.mark.parametrize("channel", ["", "_0000"])
def test_the_decathlon_and_nnunet_layouts(tmp_path, channel):
    root = make_folder(tmp_path, images="imagesTr", labels="labelsTr", channel=channel)
    for number in (10, 11):
        image, label = scan(number)
        write_nifti(root / "imagesTs" / f"case{number}{channel}.nii.gz", image)
    write_nifti(root / "labelsTs/case11.nii.gz", label)
    (root / "dataset.json").write_text(
        json.dumps(
            {"channel_names": {"0": "T1"}, "labels": {"background": 0, "left": 1, "right": 2}}
        )
    )
    found = find_cases(root)
    assert ids(found.labelled) == ["case00", "case01", "case02"]
    assert ids(found.unlabelled) == ["case03", "case04"]
    assert ids(found.test) == ["case11"]
    assert ids(found.unused) == ["case10"]
    assert (found.channels, found.channel_names, found.class_names) == (
        1,
        ("T1",),
        ("background", "left", "right"),
    )
    assert folder.splits(root, options()).class_names == ("background", "left", "right")


def test_one_file_a_channel(tmp_path):
    root = make_folder(tmp_path, channel="_0000")
    for number in range(5):
        write_nifti(root / "images" / f"case{number:02d}_0001.nii.gz", scan(number)[0] + 1000)
    found = folder.splits(root, options())
    assert found.channels == 2
    first, second = found.labelled[1].read_image()
    np.testing.assert_array_equal(first, scan(1)[0])
    np.testing.assert_array_equal(second, scan(1)[0] + 1000)


def test_channels_in_the_fourth_axis(tmp_path):
    root = make_folder(tmp_path, images="imagesTr", labels="labelsTr")
    for number in range(5):
        image = scan(number)[0]
        write_nifti(
            root / "imagesTr" / f"case{number:02d}.nii.gz",
            np.stack([image, image + 1, image + 2], axis=-1),
        )
    found = find_cases(root)
    assert found.channels == 3
    assert found.labelled[0].read_image().shape == (3, 7, 6, 5)
    np.testing.assert_array_equal(found.labelled[0].read_image()[2], scan(0)[0] + 2)


def test_numbers_in_names_are_channels_only_where_labels_lack_them(tmp_path):
    root = make_folder(tmp_path, labelled=0, unlabelled=0)
    for number in range(4):
        image, label = scan(number)
        write_nifti(root / "images" / f"patient_{number:04d}.nii.gz", image)
        if number < 3:
            write_nifti(root / "labels" / f"patient_{number:04d}.nii.gz", label)
    found = find_cases(root)
    assert ids(found.labelled) == ["patient_0000", "patient_0001", "patient_0002"]
    assert found.channels == 1


def test_pictures_and_masks(tmp_path):
    for number in range(4):
        random = np.random.default_rng(number)
        write_picture(
            tmp_path / "images" / f"p{number}.png", random.integers(0, 256, (6, 9, 3), np.uint8)
        )
        if number < 3:
            write_picture(
                tmp_path / "labels" / f"p{number}.png",
                255 * random.integers(0, 2, (6, 9), np.uint8),
            )
    (tmp_path / "dataset.json").write_text('{"channel_names": {"0": "photograph"}}')
    assert find_cases(tmp_path).channel_names is None
    found = folder.splits(tmp_path, options(patch=(4, 4), classes=2))
    assert (found.channels, found.unit) == (3, "voxel")
    case = found.labelled[0]
    assert case.spacing is None
    assert case.read_image().shape == (3, 6, 9)
    assert set(np.unique(case.read_label())) == {0, 1}


ORDERS = st.permutations([0, 1, 2]).map(tuple)


@given(axes=ORDERS, order=ORDERS, flips=st.tuples(*[st.booleans()] * 3))
@settings(max_examples=20, deadline=None)
def test_every_orientation_gives_the_same_case(tmp_path_factory, axes, order, flips):
    """A scan stored in any of the 48 ways is one case; its affine leads to the same places."""
    root = make_folder(tmp_path_factory.mktemp("turned"), labelled=2, unlabelled=0)
    image, label = scan(0)
    as_stored = np.stack([np.argsort(axes), [-1 if flip else 1 for flip in flips]], axis=1)
    for name, array in (("images", image), ("labels", label)):
        stored = nib.Nifti1Image(array, AFFINE).as_reoriented(as_stored)
        nib.save(stored, root / name / "case00.nii.gz")
    turned = find_cases(root, order).labelled[0]
    np.testing.assert_array_equal(turned.read_image()[0], image.transpose(order))
    np.testing.assert_array_equal(turned.read_label(), label.transpose(order))
    assert turned.spacing == tuple(np.diag(AFFINE)[list(order)])
    corner = np.array([*np.array([6, 5, 4])[list(order)], 1])
    np.testing.assert_allclose(turned.affine @ corner, AFFINE @ [6, 5, 4, 1], atol=1e-5)
    np.testing.assert_allclose(turned.affine @ [0, 0, 0, 1], AFFINE @ [0, 0, 0, 1], atol=1e-5)


def test_linked_scans_and_hidden_files(plain, tmp_path):
    elsewhere = tmp_path / "elsewhere.nii.gz"
    shutil.move(plain / "images/case06.nii.gz", elsewhere)
    (plain / "images/case06.nii.gz").symlink_to(elsewhere)
    (plain / "images/._case00.nii.gz").write_bytes(b"\0\5\26\7")
    (plain / "labels/.DS_Store").write_bytes(b"Bud1")
    found = folder.splits(plain, options())
    assert len(found.labelled) + len(found.unlabelled) == 7
    found.unlabelled[-1].read_image()


def test_a_damaged_file_does_not_hide_the_others(plain):
    (plain / "images/case06.nii.gz").write_bytes(b"no gzip")
    cases = find_cases(plain)
    assert ids(cases.unlabelled) == ["case04", "case05", "case06"]
    with pytest.raises(UserError, match=r"case06\.nii\.gz"):
        cases.unlabelled[-1].read_image()


def test_split_file_names_the_roles(plain):
    (plain / "split.toml").write_text('labelled = ["case03", "case01"]\nvalidation = ["case00"]\n')
    found = folder.splits(plain, options())
    assert ids(found.labelled) == ["case03", "case01"]
    assert ids(found.validation) == ["case00"]
    assert ids(found.unlabelled) == ["case04", "case05", "case06", "case02"]
    assert found.unlabelled[-1].read_label is None
    cases = find_cases(plain)
    assert ids(cases.hidden) == ["case02"]
    (plain / "split.toml").write_text('test = ["case03"]\nunlabelled = ["case0[45]"]\n')
    cases = find_cases(plain)
    assert (ids(cases.labelled), ids(cases.test)) == (["case00", "case01", "case02"], ["case03"])
    assert (ids(cases.unlabelled), ids(cases.unused)) == (["case04", "case05"], ["case06"])


def test_the_split_file_and_the_recipe_must_not_both_name_validation_cases(plain):
    (plain / "split.toml").write_text('validation = ["case00"]\n')
    with pytest.raises(UserError, match="validation cases are defined twice"):
        folder.splits(plain, options(validation=1))


def test_test_scans_without_labels_train_if_the_split_file_says_so(tmp_path):
    root = make_folder(tmp_path, images="imagesTr", labels="labelsTr")
    write_nifti(root / "imagesTs/extra1.nii.gz", scan(7)[0])
    assert ids(find_cases(root).unused) == ["extra1"]
    (root / "split.toml").write_text('unlabelled = ["case03", "extra*"]\n')
    found = folder.splits(root, options())
    assert ids(found.labelled) == ["case00", "case01", "case02"]
    assert ids(found.unlabelled) == ["case03", "extra1"]


def test_patients_stay_together(plain):
    (plain / "split.toml").write_text(
        'test = ["case03"]\n[patient]\ncase03 = "A"\ncase02 = "A"\ncase04 = "A"\n'
    )
    found = find_cases(plain)
    assert ids(found.labelled) == ["case00", "case01"]
    assert ids(found.unused) == ["case02", "case04"]
    assert "are not used for training" in str(found.warnings[0])
    (plain / "split.toml").write_text(
        'labelled = ["case01", "case02"]\ntest = ["case03"]\n'
        '[patient]\ncase03 = "A"\ncase02 = "A"\n'
    )
    with pytest.raises(UserError, match="A: a patient is in two lists"):
        find_cases(plain)


def test_validation_by_number_counts_patients(plain):
    (plain / "split.toml").write_text('[patient]\ncase02 = "A"\ncase03 = "A"\ncase05 = "A"\n')
    found = folder.splits(plain, options(validation=1))
    assert ids(found.validation) == ["case02", "case03"]
    assert ids(found.labelled) == ["case00", "case01"]
    assert ids(found.unlabelled) == ["case04", "case06"]  # case05 is of the validation patient
    assert found.notes == ("1 scan of the validation patients is not used for training.",)
    with pytest.raises(UserError) as error:
        folder.splits(plain, options(validation=2))
    assert "data.validation = 2 keeps case01, case02, case03" in problems_of(error)
    assert "two lists" not in problems_of(error)


def test_all_faults_are_told_at_once(plain):
    (plain / "images/case00.nii").write_bytes((plain / "images/case01.nii.gz").read_bytes())
    (plain / "images/CASE01.nii.gz").symlink_to("nowhere.nii.gz")
    (plain / "labels/nobody.nii.gz").write_bytes(b"")
    (plain / "images/folder.nii.gz").mkdir()
    (plain / "dataset.json").write_text(
        '{"training": [{"image": "../../etc/passwd", "label": "/etc/passwd"}]}'
    )
    (plain / "split.toml").write_text('test = ["../x", "case99", "case04"]\nvalidatoin = []')
    with pytest.raises(UserError) as error:
        folder.splits(plain, options())
    text = problems_of(error)
    for part in (
        *(
            "two files have the same name",
            "a broken link",
            "1 label has no scan",
            "nobody",
            "a folder",
            "points outside",
            "/etc/passwd",
        ),
        *(
            "a path instead of a name",
            "case99",
            "without a label",
            "unknown key 'validatoin'",
            "did you mean validation",
        ),
    ):
        assert part in text, part


def test_files_that_are_no_scans_are_a_warning(plain):
    (plain / "images/notes.txt").write_text("x")
    (plain / "dataset.json").write_text(
        '{"training": [{"image": "./imagesTr/gone.nii.gz", "label": "./labelsTr/gone.nii.gz"}]}'
    )
    told = "\n".join(str(warning) for warning in find_cases(plain).warnings)
    assert "notes.txt" in told
    assert "imagesTr/gone.nii.gz" in told


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda root: write_nifti(root / "scan.nii.gz", scan(0)[0]),
            "1 scans in the folder itself",
        ),
        (lambda root: (root / "images").mkdir(), "the folder contains no scans"),
        (
            lambda root: (
                make_folder(root),
                make_folder(root, images="imagesTr", labels="labelsTr"),
            ),
            "two layouts",
        ),
        (
            lambda root: (
                make_folder(root),
                write_picture(root / "images/p.png", np.zeros((4, 4), np.uint8)),
            ),
            "are mixed",
        ),
        (
            lambda root: (
                make_folder(root),
                write_picture(root / "labels/case03.png", np.zeros((4, 4), np.uint8)),
            ),
            "different formats",
        ),
        (
            lambda root: (
                make_folder(root),
                write_nifti(root / "images/CASE00.nii.gz", scan(0)[0]),
            ),
            "differ in capitals only",
        ),
        (
            lambda root: (
                make_folder(root),
                write_nifti(root / "images/a\x1b[31m.nii.gz", scan(0)[0]),
            ),
            "contains unprintable characters",
        ),
        (
            lambda root: (
                make_folder(root),
                shutil.rmtree(root / "labels"),
                (root / "labels").symlink_to("gone"),
            ),
            "broken link",
        ),
        (
            lambda root: (
                make_folder(root),
                shutil.rmtree(root / "labels"),
                (root / "labels").mkdir(),
            ),
            "too few labelled cases",
        ),
        (
            lambda root: (
                make_folder(root, channel="_0000"),
                write_nifti(root / "images/case00_0001.nii.gz", scan(0)[0]),
                write_nifti(root / "images/case01_0001.nii.gz", scan(0)[0]),
            ),
            "missing channels",
        ),
        (
            lambda root: (
                make_folder(root, channel="_0000"),
                write_nifti(root / "images/new.nii.gz", scan(0)[0]),
            ),
            "has no channel number",
        ),
    ],
)
def test_each_fault_of_a_layout_is_named(tmp_path, make, told):
    make(tmp_path)
    with pytest.raises(UserError) as error:
        folder.splits(tmp_path, options())
    assert told in problems_of(error)


def test_a_series_is_refused_where_dataset_json_names_one_channel(tmp_path):
    root = make_folder(tmp_path)
    for number in range(5):
        write_nifti(
            root / "images" / f"case{number:02d}.nii.gz", np.stack([scan(number)[0]] * 4, -1)
        )
    (root / "dataset.json").write_text('{"modality": {"0": "MRI"}}')
    with pytest.raises(UserError, match="unexpected shape"):
        find_cases(root).labelled[0].read_image()


def test_a_series_among_volumes_is_refused_when_it_is_read(plain):
    write_nifti(plain / "images/case05.nii.gz", np.zeros((7, 6, 5, 9), np.int16))
    found = find_cases(plain)
    assert found.channels == 1
    with pytest.raises(UserError, match=r"case05.*unexpected shape"):
        found.unlabelled[1].read_image()


def test_labels_whose_names_only_look_like_those_of_the_scans(tmp_path):
    """As macOS and zip programs write é: one character, or e and an accent."""
    for name, place in (("p\u00e9", "images"), ("pe\u0301", "labels")):
        write_picture(tmp_path / place / f"{name}.png", np.zeros((4, 5), np.uint8))
    problems = survey(tmp_path)[1]
    (problem,) = (each for each in problems if each.what == "1 label has no scan")
    assert "look alike but are composed of different characters" in problem.fix


def test_channels_in_different_formats_are_refused_by_name(tmp_path):
    for number in range(3):
        image, label = scan(number)
        write_picture(tmp_path / f"images/p{number}_0000.png", image[..., 0].astype(np.uint8))
        write_nifti(tmp_path / f"images/p{number}_0001.nii.gz", image)
        write_picture(tmp_path / f"labels/p{number}.png", label[..., 0])
    problems = [each for each in survey(tmp_path)[1] if "different formats" in each.what]
    assert [(each.where, each.found) for each in problems] == [
        (f"p{number}", f"p{number}_0000.png, p{number}_0001.nii.gz") for number in range(3)
    ]


@pytest.mark.parametrize(("names", "told"), [(["grey"], True), (["R", "G", "B"], False)])
def test_dataset_json_of_other_channels_than_the_images(tmp_path, names, told):
    random = np.random.default_rng(0)
    for number in range(3):
        colours = random.integers(0, 255, (8, 9, 3), np.uint8)
        write_picture(tmp_path / f"imagesTr/p{number}_0000.png", colours)
        write_picture(tmp_path / f"labelsTr/p{number}.png", (colours[..., 0] > 99).astype(np.uint8))
    content = {"channel_names": {str(place): name for place, name in enumerate(names)}}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    cases = find_cases(tmp_path)
    assert cases.channels == 3
    assert [each.found for each in cases.warnings] == ["1 name (grey), 3 channels"] * told
