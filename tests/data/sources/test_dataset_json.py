"""dataset.json of the Decathlon and of nnU-Net, whole and hostile."""

import json

import pytest

from crossview.data.sources.dataset_json import DatasetJson, read_dataset_json


def read(tmp_path, content):
    path = tmp_path / "dataset.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    found, problems = read_dataset_json(path)
    return found, "\n".join(map(str, problems))


@pytest.mark.parametrize(
    ("content", "channels", "classes"),
    [
        (
            {"modality": {"0": "FLAIR", "1": "T1w"}, "labels": {"0": "background", "1": "edema"}},
            ("FLAIR", "T1w"),
            ("background", "edema"),
        ),
        (
            {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "tumour": "2"}},
            ("CT",),
            ("background", "liver", "tumour"),
        ),
        (
            {"labels": {"0": "background", "1": "a", "2": "b", "4": "far"}},
            (),
            ("background", "a", "b", "class 3", "far"),
        ),
        ({"labels": {"1": "only"}}, (), ("background", "only")),
        ({"labels": {"0": "background", "1": " "}}, (), ("background", "class 1")),
        ({"labels": {"0": "background", "1": "red\x1b[31m"}}, (), ("background", "red[31m")),
        ({}, (), ()),
    ],
)
def test_names_of_channels_and_classes(tmp_path, content, channels, classes):
    found, problems = read(tmp_path, content)
    assert not problems
    assert (found.channel_names, found.class_names) == (channels, classes)


@pytest.mark.parametrize("labels", [{"liver": 0, "Background": 1}, {"0": "air", "1": "background"}])
def test_a_background_that_is_not_0_is_refused(tmp_path, labels):
    assert "the background is not 0" in read(tmp_path, {"labels": labels})[1]


@pytest.mark.parametrize(
    ("labels", "values", "classes"),
    [
        ({"nodule": 255}, (0, 255), ("background", "nodule")),
        ({"bg": 0, "a": 2, "b": 5}, (0, 2, 5), ("bg", "a", "b")),
        ({"bg": 0, "a": 1, "b": 2}, (), ("bg", "a", "b")),
        ({"bg": 0, "a": 2}, (), ("bg", "class 1", "a")),  # a gap: class 1 may have no voxel yet
        ({"bg": 0}, (), ("bg",)),
    ],
)
def test_values_that_are_no_class_numbers_are_values_of_classes(tmp_path, labels, values, classes):
    found, problems = read(tmp_path, {"labels": labels})
    assert not problems
    assert (found.label_values, found.class_names) == (values, classes)


@pytest.mark.parametrize(
    "labels",
    [{"background": 0, "Ignore": 3}, {"background": 0, " IGNORE": 3}, {"0": "bg", "3": "ignore"}],
)
def test_ignore_is_known_in_any_spelling(tmp_path, labels):
    found, problems = read(tmp_path, {"labels": labels})
    assert not problems
    assert found.ignore == 3
    assert len(found.class_names) == 1


def test_ignore_does_not_make_class_numbers_values(tmp_path):
    found, _ = read(tmp_path, {"labels": {"background": 0, "organ": 1, "ignore": 255}})
    assert (found.label_values, found.class_names) == ((), ("background", "organ"))


def test_values_of_regions_are_classes_without_names(tmp_path):
    labels = {"background": 0, "whole": [50, 200], "core": [200]}
    found, problems = read(tmp_path, {"labels": labels, "regions_class_order": [50, 200]})
    assert not problems
    assert found.regions.members == {"whole": (50, 200), "core": (200,)}
    assert found.label_values == (0, 50, 200)
    assert found.class_names == ("background", "class 1", "class 2")


def test_no_file_tells_nothing(tmp_path):
    assert read_dataset_json(tmp_path / "dataset.json") == (DatasetJson(), [])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "can't be read"),
        ("[" * 100_000, "can't be read"),
        ("[1]", "an object"),
        ({"labels": ["a"]}, "'labels' is not an object"),
        ({"labels": {"a": "b"}}, "an entry that can't be read"),
        ({"labels": {"a": 256}}, "an entry that can't be read"),
        ({"labels": {"a": "9" * 5000}}, "an entry that can't be read"),
        ({"labels": {"a": -1}}, "an entry that can't be read"),
        ({"labels": {"a": 1, "b": 1}}, "names a number twice"),
        ({"labels": {"background": 0, "ignore": "x"}}, "an entry that can't be read"),
        ({"training": [{"image": "../x.nii", "label": "labelsTr/x.nii"}]}, "'../x.nii'"),
        ({"test": ["/etc/passwd"]}, "'/etc/passwd'"),
        ({"test": ["imagesTs/../../x.nii"]}, "points outside"),
        ({"test": ["C:\\scans\\x.nii"]}, "points outside"),
        ({"dataset": {"x": {"images": ["..\\x.nii"], "label": "y"}}}, "points outside"),
    ],
)
def test_faults_are_named(tmp_path, content, told):
    _, problems = read(tmp_path, content)
    assert told in problems
    assert "dataset.json" in problems


def test_listed_images(tmp_path):
    lists = {
        "training": [{"image": "./imagesTr/a.nii", "label": "./labelsTr/a.nii"}],
        "test": ["./imagesTs/b.nii"],
    }
    assert read(tmp_path, lists)[0].images == ("./imagesTr/a.nii", "./imagesTs/b.nii")
