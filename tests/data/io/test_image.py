"""PNG and TIFF images and masks: which values come out, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from crossview.core.errors import UserError
from crossview.data.io.image import read_header, read_image, read_label

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)
COLOUR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)


def save(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "array", "channels"),
    [
        ("a.png", GREY, 1),
        ("a.tif", GREY, 1),
        ("a.png", GREY.astype(np.uint16) * 3000, 1),
        ("a.tiff", GREY.astype(np.uint16) * 3000, 1),
        ("a.tif", GREY.astype(np.float32) / 7, 1),
        ("a.tif", GREY.astype(np.int32) * -70_000, 1),
        ("a.png", COLOUR, 3),
        ("a.tif", COLOUR, 3),
    ],
)
def test_values_are_those_of_the_file(tmp_path, name, array, channels):
    path = save(tmp_path / name, array)
    image = read_image(path)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(
        image, array[None] if channels == 1 else np.moveaxis(array, -1, 0)
    )
    header = read_header(path)
    assert (header.shape, header.channels) == (array.shape[:2], channels)


def test_transparency_is_dropped_and_palettes_are_resolved(tmp_path):
    opaque = np.concatenate([COLOUR, np.full((3, 4, 1), 9, np.uint8)], axis=-1)
    np.testing.assert_array_equal(
        read_image(save(tmp_path / "a.png", opaque)), np.moveaxis(COLOUR, -1, 0)
    )
    palette = save(tmp_path / "p.png", GREY, "P")
    assert read_image(palette).shape == (3, 3, 4)
    assert read_header(palette).channels == 3
    assert read_image(save(tmp_path / "la.png", GREY, "LA")).shape == (1, 3, 4)
    assert (
        read_image(save(tmp_path / "1.png", GREY > 5)).tolist()
        == (GREY > 5)[None].astype(float).tolist()
    )


@pytest.mark.parametrize(
    ("mask", "classes"),
    [
        ([[0, 255]], [[0, 1]]),
        ([[255, 255]], [[1, 1]]),
        ([[0, 0]], [[0, 0]]),
        ([[0, 1]], [[0, 1]]),
        ([[0, 1], [2, 3]], [[0, 1], [2, 3]]),
        ([[0, 128], [255, 0]], [[0, 128], [255, 0]]),
    ],
)
def test_grey_values_are_classes_and_255_alone_is_class_1(tmp_path, mask, classes):
    label = read_label(save(tmp_path / "m.png", np.array(mask, np.uint8)))
    assert label.dtype == np.uint8
    assert label.tolist() == classes


@pytest.mark.parametrize("name", ["m.png", "m.tif"])
def test_white_alone_is_class_1_in_16_bits_too(tmp_path, name):
    mask = np.array([[0, 65_535, 0]], np.uint16)
    assert read_label(save(tmp_path / name, mask)).tolist() == [[0, 1, 0]]
    mixed = save(tmp_path / name, np.array([[0, 255, 65_535]], np.uint16))
    with pytest.raises(UserError, match="not classes"):
        read_label(mixed)


def test_masks_of_other_kinds(tmp_path):
    binary = GREY > 5
    for name, array in (
        ("1.png", binary),
        ("rgb.png", np.repeat(255 * binary[..., None], 3, -1).astype(np.uint8)),
    ):
        assert read_label(save(tmp_path / name, array)).tolist() == binary.astype(int).tolist()
    palette = Image.new("P", (4, 3))
    palette.putpalette([0, 0, 0, 200, 30, 0, 0, 90, 0])
    palette.putdata((GREY % 3).ravel().tolist())
    palette.save(tmp_path / "p.png")
    assert read_label(tmp_path / "p.png").tolist() == (GREY % 3).tolist()
    assert read_label(save(tmp_path / "16.png", GREY.astype(np.uint16))).tolist() == GREY.tolist()
    assert read_label(save(tmp_path / "f.tif", GREY.astype(np.float32))).tolist() == GREY.tolist()


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (COLOUR, "the mask is in colour"),
        (GREY.astype(np.uint16) * 30, "values 0, 30, 60"),
        (GREY.astype(np.float32) / 2, "voxels with fractions: 0.5, 1.5"),
        (np.full((2, 2), np.nan, np.float32), "not classes"),
    ],
)
def test_masks_that_are_none_list_their_values(tmp_path, array, told):
    path = save(tmp_path / "m.tif", array)
    with pytest.raises(UserError) as error:
        read_label(path)
    assert told in str(error.value)
    assert str(path) in str(error.value)


def test_damaged_and_foreign_files(tmp_path):
    whole = save(
        tmp_path / "whole.png", np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    )
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:2000])
    empty = tmp_path / "empty.png"
    empty.touch()
    pages = tmp_path / "pages.tif"
    Image.fromarray(GREY).save(pages, save_all=True, append_images=[Image.fromarray(GREY)])
    ink = save(tmp_path / "ink.tif", COLOUR, "CMYK")
    nan = save(tmp_path / "nan.tif", np.full((2, 2), np.nan, np.float32))
    for path, told in (
        (cut, "cut off"),
        (empty, "not a PNG or TIFF"),
        (tmp_path / "gone.png", "the file is missing"),
        (pages, "several images"),
        (ink, "the colour model is not supported"),
        (nan, "NaN"),
    ):
        with pytest.raises(UserError) as error:
            read_image(path)
        assert told in str(error.value)
        assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"<html>not found</html>", "content that begins with '<html>not found</htm'"),
        (b"\xff\x00text", r"content that begins with '\xff\x00text'"),
    ],
)
def test_files_that_are_no_images_show_what_they_are(tmp_path, content, found):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_image(path)
    assert error.value.problems[0].found == found
