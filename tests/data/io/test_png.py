"""PNG files: every bit as stored, palettes and opacity of masks."""

import struct

import numpy as np
import pytest
from PIL import Image
from tests.helpers.made_png import chunk, png

from crossview.core.errors import UserError
from crossview.data.io.image import read_header, read_image, read_label

BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (200, 30, 0)

DISC = ((np.indices((80, 80)) - 40) ** 2).sum(0) < 400
"""A disc of 1,245 of 6,400 pixels."""


def palette_png(path, entries, palette):
    image = Image.fromarray(np.asarray(entries, np.uint8)).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([value for colour in palette for value in colour])
    image.save(path)
    return path


@pytest.mark.parametrize(
    ("bits", "packed", "values"),
    [
        (1, 0b01101000, [0, 1, 1, 0, 1, 0, 0, 0]),
        (2, 0b00011011, [0, 1, 2, 3]),
        (4, 0b00011111, [1, 15]),
        (8, 0b10000001, [129]),
    ],
)
def test_grey_values_of_few_bits_are_those_of_the_file(tmp_path, bits, packed, values):
    path = png(tmp_path / "a.png", [bytes([packed])], len(values), bits, 0)
    assert read_image(path).tolist() == [[values]]
    assert read_label(path).tolist() == [values]
    assert read_header(path).storage.numbers == f"{bits}-bit"


SIXTEEN = np.array([[[47000, 1, 258], [0, 65535, 3]]], ">u2")


@pytest.mark.parametrize(
    ("kind", "values", "extra"),
    [
        (2, SIXTEEN, b""),
        (2, SIXTEEN, chunk(b"tRNS", SIXTEEN[0, 0].tobytes())),  # a colour that is transparent
        (2, SIXTEEN, chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"sBIT", b"\x0c\x0c\x0c")),
        (6, np.insert(SIXTEEN, 3, 9, axis=-1), b""),
        (0, SIXTEEN[..., 0], b""),
        (4, SIXTEEN[..., :2], b""),
    ],
)
def test_images_of_16_bits_keep_their_low_byte(tmp_path, kind, values, extra):
    path = png(tmp_path / "a.png", [values[0].tobytes()], 2, 16, kind, extra)
    expected = SIXTEEN if kind in (2, 6) else SIXTEEN[..., :1]
    np.testing.assert_array_equal(read_image(path), np.moveaxis(expected, -1, 0))
    header = read_header(path)
    assert (header.shape, header.channels) == ((1, 2), expected.shape[-1])
    assert header.storage.numbers == "16-bit"


def test_a_damaged_16_bit_image_is_refused_and_nothing_is_printed(tmp_path, capfd):
    rows = [SIXTEEN[0].tobytes()] * 9
    whole = png(tmp_path / "a.png", rows, 2, 16, 2).read_bytes()
    end = whole.index(b"IEND") - 8  # the last byte of the data's own checksum is before the CRC's
    for damaged in (whole[: end - 1] + b"!" + whole[end:], whole[:70], whole[:40]):
        (tmp_path / "a.png").write_bytes(damaged)
        with pytest.raises(UserError, match="cut off, damaged"):
            read_image(tmp_path / "a.png")
    assert capfd.readouterr() == ("", "")


def test_a_palette_of_black_and_white_counts_by_its_colours(tmp_path):
    for palette, entries in (((WHITE, BLACK), ~DISC), ((BLACK, WHITE), DISC)):
        label = read_label(palette_png(tmp_path / "m.png", entries, palette))
        assert label.sum() == 1245
        assert (label == DISC).all()
    # Nothing but background, in the same two orders.
    for palette, entry in (((WHITE, BLACK), 1), ((BLACK, WHITE), 0)):
        label = read_label(palette_png(tmp_path / "m.png", np.full((3, 4), entry), palette))
        assert not label.any()


def test_entries_of_other_palettes_are_classes(tmp_path):
    for palette in ((BLACK, RED, WHITE), (WHITE, RED, BLACK), (BLACK, WHITE, WHITE)):
        label = read_label(palette_png(tmp_path / "m.png", [[0, 1, 2]], palette))
        assert label.tolist() == [[0, 1, 2]]
    with pytest.raises(UserError, match="no colour but white"):
        read_label(palette_png(tmp_path / "w.png", [[0, 0]], (WHITE,)))


def test_images_with_a_palette_have_its_colours_as_pillow_shows_them(tmp_path):
    path = palette_png(tmp_path / "a.png", [[0, 1, 2], [2, 2, 1]], (BLACK, RED, (1, 2, 3)))
    with Image.open(path) as image:
        shown = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(path), np.moveaxis(shown, -1, 0))
    assert read_header(path).storage.palette == (BLACK, RED, (1, 2, 3))


def rgba(path, grey, alpha):
    grey, alpha = (np.broadcast_to(np.uint8(each), DISC.shape) for each in (grey, alpha))
    Image.fromarray(np.stack([grey, grey, grey, alpha], -1)).save(path)
    return path


@pytest.mark.parametrize(
    ("grey", "alpha"),
    [
        (255, 255 * DISC),  # the shape in the opacity
        (0, 255 * DISC),
        (255 * DISC, 255 * ~DISC),
        (255 * DISC, 200 * DISC + 55 * np.eye(80, dtype=bool) * DISC),  # half transparent
    ],
)
def test_a_mask_whose_opacity_shows_another_shape_is_refused(tmp_path, grey, alpha):
    with pytest.raises(UserError, match="without transparency"):
        read_label(rgba(tmp_path / "m.png", grey, alpha))


@pytest.mark.parametrize("alpha", [255, 0, 255 * DISC])
def test_opacity_that_adds_nothing_is_dropped(tmp_path, alpha):
    label = read_label(rgba(tmp_path / "m.png", 255 * DISC, alpha))
    assert (label == DISC).all()


def test_an_image_of_more_pixels_than_pillow_opens_by_itself_is_no_damage(tmp_path):
    path = png(tmp_path / "a.png", [bytes(25_000)] * 1000, 200_000, 1, 0)  # 200 megapixels
    header = read_header(path)
    assert header.shape == (1000, 200_000)
    huge = png(tmp_path / "h.png", [b""], 2**31 - 1, 8, 0)
    with pytest.raises(UserError, match="the image is too large"):
        read_header(huge)


def test_a_jpeg_with_the_name_of_a_png_is_read(tmp_path):
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "a.png", "JPEG")
    assert (read_image(tmp_path / "a.png") == 77).all()


def test_an_image_larger_than_its_bytes_can_hold_is_refused_before_it_takes_memory(tmp_path):
    path = tmp_path / "a.png"
    rows, side = [b"\0" * 8] * 8, 30_000
    content = png(path, rows, 8, 8, 0).read_bytes()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(content[:8] + chunk(b"IHDR", header) + content[33:])
    assert read_header(path).shape == (side, side)
    with pytest.raises(UserError, match="cannot hold an image of 900,000,000 bytes"):
        read_image(path)
