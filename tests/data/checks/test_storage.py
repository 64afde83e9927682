"""Image files of one set that store their pixels in different ways, and sets that may."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.helpers.made_png import png

import crossview

WHITE, BLACK, RED, BLUE = (255, 255, 255), (0, 0, 0), (200, 0, 0), (0, 0, 200)


def grey(number):
    image = np.random.default_rng(number).normal(120, 20, (20, 24)).clip(0, 255)
    return image.astype(np.uint8)


def mask(number, classes=1):
    values = np.zeros((20, 24), np.uint8)
    for value in range(1, classes + 1):
        values[3 * value : 3 * value + 3, 2 + number : 15] = value
    return values


@pytest.fixture
def found(tmp_path):
    """Write images and masks by the functions given, and return the findings of check."""

    def check(write_image, write_mask, suffix=".tif"):
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for number in range(6):
            write_image(tmp_path / "images" / f"p{number}{suffix}", number)
            if number < 4:
                write_mask(tmp_path / "labels" / f"p{number}{suffix}", number)
        return crossview.check(tmp_path).findings

    return check


def write_image(path, number):
    Image.fromarray(grey(number)).save(path)


def write_mask(path, number):
    Image.fromarray(255 * mask(number)).save(path)


def palette_mask(path, number, palette, classes):
    image = Image.frombytes("P", (24, 20), mask(number, classes).tobytes())
    image.putpalette([value for colour in palette for value in colour])
    image.save(path)


def only(findings):
    (finding,) = findings
    return finding


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_set_stored_in_one_way_has_no_findings(found, suffix):
    assert found(write_image, write_mask, suffix) == ()


def test_boolean_masks_of_python_are_no_finding(found):
    def boolean(path, number):
        tifffile.imwrite(path, mask(number) > 0)  # 1 bit, photometric 0

    assert found(write_image, boolean) == ()


def test_masks_of_0_and_255_beside_masks_of_1_bit_are_no_finding(found):
    def mixed(path, number):
        values = mask(number) > 0
        Image.fromarray(values if number == 1 else np.uint8(255) * values).save(path)

    assert found(write_image, mixed, ".png") == ()


def test_images_that_differ_in_what_0_means(found):
    def mixed(path, number):
        tifffile.imwrite(
            path, grey(number), photometric="miniswhite" if number in (1, 4) else "minisblack"
        )

    finding = only(found(mixed, write_mask))
    assert (finding.severity, finding.cases) == ("warning", ("p1", "p4"))
    assert "p1 (0 is white)" in finding.problem.found
    assert "0 is black" in finding.problem.expected

    def white(path, number):
        tifffile.imwrite(path, grey(number), photometric="miniswhite")

    assert found(white, write_mask) == ()


@pytest.mark.parametrize(
    ("number_type", "told"), [(np.uint16, "16-bit"), (np.float32, "32-bit decimal")]
)
def test_images_that_differ_in_their_numbers(found, number_type, told):
    def mixed(path, number):
        array = grey(number)
        tifffile.imwrite(path, array.astype(number_type) if number == 2 else array)

    finding = only(found(mixed, write_mask))
    assert (finding.severity, finding.cases) == ("warning", ("p2",))
    assert f"p2 ({told})" in finding.problem.found


def test_masks_that_say_that_0_is_white(found):
    def inverting(path, number):  # as ImageJ saves a binary image
        tifffile.imwrite(path, 255 * mask(number), photometric="miniswhite", metadata=None)

    finding = only(found(write_image, inverting))
    assert (finding.severity, len(finding.cases)) == ("warning", 4)
    assert "photometric 0" in finding.problem.what
    assert "p0 (8.1 % of the pixels are above 0)" in finding.problem.found


def test_a_class_of_two_colours_is_an_error(found):
    def ordered(path, number):  # entries in the order in which a program met the colours
        palette_mask(path, number, (BLACK, *((BLUE, RED) if number == 2 else (RED, BLUE))), 2)

    finding = only(found(write_image, ordered, ".png"))
    assert (finding.severity, finding.cases) == ("error", ("p0", "p1", "p2", "p3"))
    assert "entry 1 is 200, 0, 0 in p0, 0, 0, 200 in p2" in finding.problem.found


def test_colours_of_entries_that_no_mask_uses_may_differ(found):
    def same(path, number):
        palette_mask(path, number, (BLACK, RED, BLUE if number == 2 else WHITE), 1)

    assert found(write_image, same, ".png") == ()


def test_a_palette_of_black_and_white_in_either_order(found):
    def either(path, number):
        values = 1 - mask(number) if number == 1 else mask(number)
        image = Image.frombytes("P", (24, 20), values.tobytes())
        order = (WHITE, BLACK) if number == 1 else (BLACK, WHITE)
        image.putpalette([value for colour in order for value in colour])
        image.save(path)

    assert found(write_image, either, ".png") == ()


def test_a_white_background_and_a_black_class(found):
    def white(path, number):
        palette_mask(path, number, (WHITE, BLACK, RED), 2)

    finding = only(found(write_image, white, ".png"))
    assert (finding.severity, len(finding.cases)) == ("warning", 4)
    assert "entry 0, the background, is white" in finding.problem.what


def test_masks_of_few_bits_among_others(found):
    def mixed(path, number):
        values = mask(number, 3)
        if number != 1:
            Image.fromarray(values).save(path)
            return
        four = values.reshape(20, 6, 4) << np.array([6, 4, 2, 0], np.uint8)
        png(path, [bytes(row) for row in four.sum(-1, dtype=np.uint8)], 24, 2, 0)

    finding = only(found(write_image, mixed, ".png"))
    assert (finding.severity, finding.cases) == ("warning", ("p1",))
    assert "2-bit, values 0, 1, 2, 3" in finding.problem.found


def masks_of_classes_but_one(path, number):
    """Write masks of classes 1 and 2; the second one has only 0 and 255."""
    Image.fromarray(255 * mask(number) if number == 1 else mask(number, 2)).save(path)


def test_a_mask_of_white_among_class_numbers(found, tmp_path):
    """255 may be class 1, class 2, or what nobody labelled."""
    warning = only(found(write_image, masks_of_classes_but_one))
    assert warning.severity == "warning"
    assert "1 mask holds only 0 and 255, which is read as class 1" in warning.problem.what
    assert (warning.problem.found, warning.problem.expected) == ("p1", "class numbers up to 2")
    (tmp_path / "split.toml").write_text("ignore = 255\n")
    assert "holds only 0 and 255" not in str(crossview.check(tmp_path).findings)


def test_masks_of_one_class_may_mix_1_and_white(found):
    def write(path, number):
        Image.fromarray((255 if number == 1 else 1) * mask(number)).save(path)

    assert found(write_image, write) == ()


def test_a_stated_white_is_its_class_also_where_no_other_occurs(found, tmp_path):
    """Once 255 alone was taken for 1, which is no stated value."""

    def write(path, number):
        values = np.array([0, 128, 255], np.uint8)[mask(number, 2)]
        Image.fromarray(255 * mask(number) if number == 1 else values).save(path)

    (tmp_path / "split.toml").write_text("[labels]\nedge = 128\ncore = 255\n")
    assert found(write_image, write) == ()
    shares = crossview.check(tmp_path).classes()
    sizes = [(mask(number, 2) == 1).sum() for number in range(4)]
    assert [share.voxels for share in shares[1:]] == [
        sum(sizes) - sizes[1],
        sum((mask(number, 2) == 2).sum() for number in (0, 2, 3)) + sizes[1],
    ]


@pytest.mark.parametrize(("inverted", "told"), [({1}, ["p1"]), ({0, 1, 2, 3}, []), (set(), [])])
def test_a_mask_inside_out_among_others(found, inverted, told):
    """If all are, the set may be meant so."""

    def write(path, number):
        values = mask(number)
        Image.fromarray(255 * (1 - values if number in inverted else values)).save(path)

    findings = found(write_image, write)
    assert [name for finding in findings for name in finding.cases] == told
    for finding in findings:
        assert finding.severity == "warning"
        assert "1 label is foreground all around the background" in finding.problem.what
        share = 100 - 100 * mask(1).mean()
        assert finding.problem.found == f"p1 ({share:.0f} % foreground)"


def test_a_structure_that_fills_the_image_is_not_inside_out(found):
    def write(path, number):
        Image.fromarray(255 * (np.ones_like(mask(0)) if number == 1 else mask(number))).save(path)

    assert found(write_image, write) == ()
