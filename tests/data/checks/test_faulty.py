"""Labels that are no maps of classes among others that are: named once, and counted nowhere."""

import json

import numpy as np
import pytest
from scipy import ndimage
from tests.helpers.command import crossview
from tests.helpers.made_folder import AFFINE, make_folder, scan, write_nifti, write_picture

from crossview.data.checks.dataset import check

ROWS, COLUMNS = np.mgrid[:96, :96]


def pictures(root, structures, grey, number=6, white=()):
    """Masks of one or two structures, of which the first ``grey`` have grey edges."""
    random = np.random.default_rng(0)
    for place in range(number):
        label = ((ROWS - 40 - place) ** 2 + (COLUMNS - 60) ** 2 < 500).astype(np.uint8)
        image = random.normal(90, 12, label.shape) + 60 * label
        if structures == 2:
            label[(ROWS - 70) ** 2 + (COLUMNS - 20 - place) ** 2 < 200] = 2
        if place < grey:
            levels = (255 // structures * label).astype(float)
            label = ndimage.gaussian_filter(levels, 1).round().astype(np.uint8)
        elif place in white:
            label = (255 * (label > 0)).astype(np.uint8)
        write_picture(root / f"images/p{place}.png", image.clip(0, 255).astype(np.uint8))
        write_picture(root / f"labels/p{place}.png", label)
    return root


def stray(root, name, values, suffix=".nii.gz"):
    label = np.array(values, np.uint8)[scan(int(name[-2:]))[1]]
    write_nifti(root / f"labels/{name}{suffix}", label)


@pytest.mark.parametrize(
    ("structures", "fix"),
    [
        (1, "threshold it, for example label = (mask > 127); resample"),
        (
            2,
            "export it again as class numbers, without smoothing or antialiasing (a threshold "
            "would merge the 2 structures); resample",
        ),
    ],
)
def test_the_fix_fits_the_classes_of_the_other_masks(tmp_path, structures, fix):
    (error,) = check(pictures(tmp_path, structures, grey=1)).findings
    assert error.problem.what.startswith("1 label is a mask with grey edges")
    assert error.problem.found.startswith("p0 (")
    assert "values from 0 to 25" in error.problem.found
    held = ", ".join(map(str, range(structures + 1)))
    assert error.problem.expected.endswith(f"the other 5 labels hold {held}")
    assert error.problem.fix.startswith(fix)


def test_the_fix_fits_the_classes_that_are_named(tmp_path):
    pictures(tmp_path, 2, grey=6)
    (error,) = check(tmp_path).findings
    assert "if there is one structure, threshold them" in error.problem.fix
    assert "if there are several, export them again" in error.problem.fix
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "a": 1, "b": 2}}')
    (error,) = check(tmp_path).findings
    assert error.problem.expected == "class numbers: 0 to 2"
    assert error.problem.fix.startswith("export them again")


def test_the_command_shows_the_classes_of_the_other_masks(capsys, tmp_path):
    pictures(tmp_path, 2, grey=2)
    code, out, _ = crossview(capsys, "check", tmp_path)
    table = out[out.index("class ") : out.index("error:")]
    assert code == 2
    assert [line.split()[0] for line in table.splitlines()[1:-2]] == ["0", "1", "2"]
    assert table.count("4 of 4") == 3
    assert "without 2 labels whose values are no classes (see below)" in table
    found = json.loads(crossview(capsys, "check", tmp_path, "--json")[1])
    assert [each["value"] for each in found["classes"]] == [0, 1, 2]


def test_no_table_if_no_label_is_a_map_of_classes(capsys, tmp_path):
    _, out, _ = crossview(capsys, "check", pictures(tmp_path, 2, grey=6))
    assert "share of pixels" not in out
    assert "without 6 labels whose values are no classes" in out


def test_many_classes_are_cut_short(capsys, tmp_path):
    root = make_folder(tmp_path)
    for number in range(3):
        label = (np.arange(210).reshape(7, 6, 5) + number) % 41
        write_nifti(root / f"labels/case0{number}.nii.gz", label.astype(np.uint8))
    _, out, _ = crossview(capsys, "check", root)
    assert "\n29 class 29 " in out
    assert "30 class 30" not in out
    assert "and 11 more; --json lists all" in out
    found = json.loads(crossview(capsys, "check", root, "--json")[1])
    assert len(found["classes"]) == 41


@pytest.mark.parametrize(("structures", "warned"), [(1, False), (2, True)])
def test_class_numbers_are_not_expected_up_to_a_value_of_a_bad_mask(tmp_path, structures, warned):
    found = check(pictures(tmp_path, structures, grey=1, white=(1,)))
    assert [each.problem.expected for each in found.warnings] == ["class numbers up to 2"] * warned


def test_few_labels_with_stray_values_are_named(tmp_path):
    root = make_folder(tmp_path, labelled=6)
    stray(root, "case03", [0, 57, 212])
    stray(root, "case05", [0, 1, 90])
    found = check(root)
    (error,) = found.findings
    assert error.problem.what == "2 labels have values that are no class numbers"
    assert error.problem.found == "case03 (values 0, 57, 212), case05 (values 0, 1, 90)"
    assert error.problem.expected.endswith("the other 4 labels hold 0, 1, 2")
    assert error.cases == ("case03", "case05")
    assert [(each.value, each.cases) for each in found.classes()] == [(0, 4), (1, 4), (2, 4)]


def test_stray_values_of_many_labels_are_an_error_of_the_set(tmp_path):
    root = make_folder(tmp_path, labelled=5)
    stray(root, "case01", [0, 57, 212])
    stray(root, "case02", [0, 57, 212])
    (error,) = check(root).errors
    assert error.problem.what == "the label values are not consecutive class numbers"
    assert error.problem.found == "values 0, 1, 2, 57, 212"


def test_values_beyond_named_classes_are_counted_only_if_many_labels_have_them(tmp_path):
    root = make_folder(tmp_path, labelled=5)
    names = '{"labels": {"background": 0, "a": 1, "b": 2}, "channel_names": {"0": "MRI"}}'
    (root / "dataset.json").write_text(names)
    stray(root, "case01", [0, 57, 212])
    found = check(root)
    assert [error.problem.what for error in found.errors] == [
        "the label has values outside the classes"
    ]
    assert [share.value for share in found.classes()] == [0, 1, 2]
    for number in range(5):
        stray(root, f"case0{number}", [0, 1, 3])
    assert [share.value for share in check(root).classes()] == [0, 1, 2, 3]


def test_values_of_grey_edges_are_not_missed_on_the_grid(tmp_path):
    for number in range(6):
        ball = (ROWS - 40 - number) ** 2 + (COLUMNS - 50) ** 2 < 900
        ball = np.repeat(ball[..., None], 8, axis=2)
        image = np.random.default_rng(number).normal(90, 12, ball.shape) + 60 * ball
        mask = ndimage.gaussian_filter(255.0 * ball, (2, 2, 0)).round() if number == 0 else ball
        fine = AFFINE @ np.diag([0.5, 0.5, 1, 1]) if number == 0 else AFFINE
        write_nifti(tmp_path / f"images/c{number}.nii.gz", image.astype(np.int16), fine)
        write_nifti(tmp_path / f"labels/c{number}.nii.gz", mask.astype(np.uint8), fine)
    (error,) = check(tmp_path).errors
    assert error.problem.what.startswith("1 label is a mask with grey edges")
