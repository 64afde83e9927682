"""Regions as a folder states them, in order and with mistakes."""

import json

import pytest
from tests.helpers.made_folder import make_folder, problems_of

from crossview.core.errors import UserError
from crossview.core.regions import Region
from crossview.data.checks.dataset import check
from crossview.data.sources.folder_cases import find_cases

NESTED = {"background": 0, "whole": [1, 2], "posterior": 2}

EXPECTED = (Region("whole", (1, 2), 1), Region("posterior", (2,), 2))


@pytest.fixture
def root(tmp_path):
    return make_folder(tmp_path / "scans")


def state(root, labels, order=None):
    order = {} if order is None else {"regions_class_order": order}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, **order}))


def test_dataset_json_states_regions_as_for_nnunet(root):
    state(root, {**NESTED, "ignore": 7}, [1, 2])
    found = find_cases(root)
    assert (found.regions, found.ignore) == (EXPECTED, 7)
    assert found.class_names == ("background", "class 1", "class 2")
    state(root, {"background": 0, "left": [1], "right": [2]})  # no name has several values
    found = find_cases(root)
    assert (found.regions, found.class_names) == ((), ("background", "left", "right"))


def test_split_toml_states_them_by_name_and_value(root):
    (root / "split.toml").write_text(
        "regions_class_order = [10, 20]\n"
        "[labels]\nanterior = 10\nposterior = 20\n"
        '[regions]\nwhole = ["anterior", 20]\nposterior = "posterior"\n'
    )
    assert check(root).data.regions == EXPECTED


def test_check_counts_regions_and_warns_of_an_empty_one(root):
    state(root, {**NESTED, "cyst": [3]}, [1, 2, 3])
    found = check(root)
    whole, posterior, cyst = found.regions()
    classes = {share.value: share.voxels for share in found.classes()}
    assert whole.voxels == classes[1] + classes[2]
    assert (whole.cases, posterior.voxels, cyst.voxels) == (3, classes[2], 0)
    warnings = [each.problem for each in found.warnings]
    (empty,) = (
        each for each in warnings if each.what == "a region is empty in every training label"
    )
    assert empty.found == "cyst = [3]"


@pytest.mark.parametrize(
    ("labels", "order", "told"),
    [
        (NESTED, None, "'regions_class_order' is missing"),
        (NESTED, [1], "'regions_class_order' has another length than the regions"),
        (NESTED, ["1", 2], "'regions_class_order' is not a list of label values"),
        (NESTED, [2, 1], "the value of 'posterior' in 'regions_class_order' is no label of this"),
        (NESTED, [1, 3], "'regions_class_order' names an unknown label value"),
        ({"whole": [0, 1], "a": 1}, [1, 1], "the regions are not a table of label values"),
        ({**NESTED, "odd": [1.5]}, [1, 2, 2], "the regions are not a table of label values"),
        ({**NESTED, "ignore": 2}, [1, 2], "the region 'whole' contains the ignore value"),
        ({"a": 2, "b": [1, 2]}, [2, 1], "the region 'b' would be written over 'a'"),
        ({"a": [1, 2], "b": [2, 3]}, [1, 3], "two regions overlap, and neither contains the other"),
        ({"a": [1, 2], "b": [2, 1]}, [1, 2], "two regions have the same labels"),
        ({"a": [1, 2, 3], "b": [2, 3]}, [3, 2], "the value of 'a' in 'regions_class_order' is a "),
        ({"a": [1, 2], "b": 2, "c": 1}, [1, 2, 1], "is a label of 'c', inside it"),
    ],
)
def test_mistakes_are_named(root, labels, order, told):
    state(root, labels, order)
    with pytest.raises(UserError) as error:
        find_cases(root)
    assert told in problems_of(error)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[regions]\nwhole = ["left", "lfet"]\n', "the region 'whole' names an unknown label"),
        ("[regions]\nwhole = [1, 9]\n", "the region 'whole' names an unknown label"),
        ('[regions]\nwhole = [1, 2]\n[missing]\ncase00 = ["left"]\n', "cannot be combined"),
    ],
)
def test_split_toml_names_unknown_labels_and_missing_classes(root, text, told):
    labels = "[labels]\nleft = 1\nright = 2\n"
    (root / "split.toml").write_text(f"regions_class_order = [1]\n{labels}{text}")
    with pytest.raises(UserError) as error:
        find_cases(root)
    assert told in problems_of(error)
