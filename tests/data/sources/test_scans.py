"""PNG and TIFF images of a folder: colour and grey are decided over the set."""

import numpy as np
import pytest
from tests.helpers.made_folder import write_picture

import crossview
from crossview.core.errors import UserError
from crossview.data.sources import folder
from crossview.data.sources.folder_cases import find_cases

COLOURED = np.random.default_rng(9).integers(0, 256, (6, 9, 3), np.uint8)


@pytest.fixture
def make(tmp_path):
    """Write images, three with labels; values: "grey", "rgb" (three equal channels), "colour"."""

    def write(*kinds, names="p{}", suffix=".png"):
        for number, kind in enumerate(kinds):
            grey = np.random.default_rng(number).integers(0, 256, (6, 9), np.uint8)
            image = {"grey": grey, "rgb": np.stack([grey] * 3, -1), "colour": COLOURED}[kind]
            write_picture(tmp_path / "images" / f"{names.format(number)}{suffix}", image)
            if number < 3:
                write_picture(
                    tmp_path / "labels" / f"p{number}{suffix}", np.uint8(255) * (grey > 99)
                )
        return tmp_path

    return write


def options(**keys):
    table = {"patch": (4, 4), "classes": 2, "sampling": "crop", "augmentation": "none"}
    return folder.Options(**table, **keys)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(
    ("kinds", "colour", "channels"),
    [
        (["grey"] * 4, "stored", 1),
        (["rgb"] * 4, "grey", 1),
        (["grey", "rgb", "grey", "rgb"], "grey", 1),
        (["rgb", "rgb", "rgb", "grey"], "grey", 1),
        (["colour"] * 4, "stored", 3),
        (["rgb", "rgb", "rgb", "colour"], "stored", 3),
    ],
)
def test_three_equal_channels_in_every_image_are_one(make, kinds, colour, channels, suffix):
    root = make(*kinds, suffix=suffix)
    cases = find_cases(root)
    assert (cases.colour, cases.channels) == (colour, channels)
    for number, case in enumerate((*cases.labelled, *cases.unlabelled)):
        image = case.read_image()
        assert len(image) == channels
        if kinds[number] != "colour":
            grey = np.random.default_rng(number).integers(0, 256, (6, 9), np.uint8)
            np.testing.assert_array_equal(image[-1], grey)
    assert not crossview.check(root).errors


def test_a_grey_image_among_images_in_colour_is_refused(make):
    root = make("colour", "rgb", "colour", "grey")
    (finding,) = crossview.check(root).errors
    assert "wrong number of channels" in finding.problem.what
    assert finding.cases == ("p3",)


def test_a_recipe_without_the_key_reads_three_channels(make):
    root = make(*["rgb"] * 4)
    assert folder.splits(root, options()).channels == 3
    assert folder.splits(root, options(colour="grey")).channels == 1
    coloured = make(*["colour"] * 4)
    case = folder.splits(coloured, options(colour="grey")).labelled[0]
    with pytest.raises(UserError, match="wrong number of channels"):
        case.read_image()


def test_a_colour_image_with_the_number_of_a_channel_has_three(make):
    root = make("colour", "colour", "colour", names="p{}_0000")
    cases = find_cases(root)
    assert [case.id for case in cases.labelled] == ["p0", "p1", "p2"]
    np.testing.assert_array_equal(cases.labelled[0].read_image(), np.moveaxis(COLOURED, -1, 0))


def test_a_damaged_image_does_not_decide_over_the_set(make):
    root = make(*["rgb"] * 4)
    (root / "images/p3.png").write_bytes((root / "images/p3.png").read_bytes()[:60])
    assert find_cases(root).colour == "grey"
    (finding,) = crossview.check(root).errors
    assert "cut off" in finding.problem.what
