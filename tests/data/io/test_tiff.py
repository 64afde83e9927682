"""TIFF files: the numbers as stored, whatever the tags say about showing them."""

import itertools
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

from crossview.core.errors import UserError
from crossview.data.io.image import read_header, read_image, read_label

RANDOM = np.random.default_rng(0)

GREY = RANDOM.integers(0, 256, (37, 53), np.uint8)
COLOUR = RANDOM.integers(0, 256, (37, 53, 3), np.uint8)


def save(path, array, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of planes that it takes for colours
        tifffile.imwrite(path, array, **options)
    return path


def random(number_type, shape):
    kind = np.dtype(number_type)
    if kind.kind == "b":
        return RANDOM.random(shape) < 0.3
    if kind.kind == "f":
        return RANDOM.normal(0, 100, shape).astype(kind)
    ends = np.iinfo(kind)
    return RANDOM.integers(ends.min, ends.max, shape, kind, endpoint=True)


TYPES = ("bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")

LAYOUTS = {
    "whole": {},
    "strips": {"rowsperstrip": 5},
    "tiles": {"tile": (16, 32)},
    "planes": {"planarconfig": "separate", "software": "another program"},
}

COMPRESSIONS = (
    {},
    {"compression": "zlib"},
    {"compression": "lzw"},
    {"compression": "packbits"},
    {"compression": "zlib", "predictor": True},
    {"compression": "lzw", "predictor": True},
)


def variants(number_type, colour):
    """Yield the ways of storing that tifffile can write, as keywords."""
    for order, layout, compression in itertools.product("<>", LAYOUTS, COMPRESSIONS):
        planes = layout == "planes"
        if (planes and not colour) or ("predictor" in compression and number_type in ("u8", "i8")):
            continue
        # It packs the bits of boolean colours in an order that it does not read back.
        if number_type == "bool" and ("predictor" in compression or (colour and not planes)):
            continue
        yield {"byteorder": order, **LAYOUTS[layout], **compression}


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
@pytest.mark.parametrize("number_type", TYPES)
def test_the_values_are_those_that_were_written(tmp_path, number_type, photometric):
    colour = photometric == "rgb"
    array = random(number_type, (37, 53, 3) if colour else (37, 53))
    channels = np.moveaxis(array, -1, 0) if colour else array[None]
    ways = list(variants(number_type, colour))
    assert len(ways) >= 8
    for way in ways:
        stored = channels if "planarconfig" in way else array
        path = save(tmp_path / "a.tif", stored, photometric=photometric, metadata=None, **way)
        np.testing.assert_array_equal(read_image(path), channels.astype(np.float32), str(way))
        header = read_header(path)
        assert (header.shape, header.channels) == ((37, 53), len(channels))


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14])
def test_numbers_that_fill_no_byte(tmp_path, bits):
    array = RANDOM.integers(0, 2**bits, (20, 33)).astype(np.uint8 if bits < 8 else np.uint16)
    array[0, 0] = 2**bits - 2  # 4,094 of 12 bits
    path = save(tmp_path / "a.tif", array, bitspersample=bits)
    np.testing.assert_array_equal(read_image(path)[0], array)
    assert read_header(path).storage.numbers == f"{bits}-bit"


@pytest.mark.parametrize(
    ("array", "largest"),
    [
        (np.array([[-1, 5]], np.int8), 5),
        (np.array([[47_000, 1]], np.uint16), 47_000),
        (np.array([[[47_000, 1, 2]]], np.uint16), 47_000),
        (np.array([[2**31 + 2**20, 1]], np.uint32), 2**31 + 2**20),
        (np.array([[0.5, -3.25]], np.float64), 0.5),
    ],
)
def test_numbers_at_the_ends_of_their_types(tmp_path, array, largest):
    image = read_image(save(tmp_path / "a.tif", array, compression="zlib", byteorder=">"))
    assert (image.max(), image.min()) == (largest, array.min())


SHAPE = np.zeros((32, 40), bool)
SHAPE[3, 4:10] = True


def test_a_mask_counts_as_stored_whatever_is_white(tmp_path):
    imageio = pytest.importorskip("imageio.v3")
    save(tmp_path / "tifffile.tif", SHAPE)
    imageio.imwrite(tmp_path / "imageio.tif", SHAPE)
    # ImageJ's inverting table: 255 is stored where the structure is.
    inverting = {"photometric": "miniswhite", "description": "ImageJ=1.53\n", "metadata": None}
    save(tmp_path / "imagej.tif", 255 * SHAPE.astype(np.uint8), **inverting)
    for name in ("tifffile", "imageio", "imagej"):
        label = read_label(tmp_path / f"{name}.tif")
        assert label.sum() == 6
        assert (label == SHAPE).all()
    classes = np.array([[0, 1, 2, 3]])
    for kind in (np.uint8, np.uint16):
        path = save(tmp_path / "c.tif", classes.astype(kind), photometric="miniswhite")
        assert read_label(path).tolist() == classes.tolist()
        assert read_image(path)[0].tolist() == classes.tolist()


def test_only_files_that_call_0_white_on_purpose_are_said_to(tmp_path):
    assert not read_header(save(tmp_path / "a.tif", SHAPE)).storage.inverted
    assert not read_header(save(tmp_path / "b.tif", GREY)).storage.inverted
    for array in (GREY, SHAPE):
        path = save(tmp_path / "c.tif", array, photometric="miniswhite", metadata=None)
        assert read_header(path).storage.inverted


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_tag_turns_nothing(tmp_path, orientation):
    tags = [(274, "H", 1, orientation, True)]
    for compression in (None, "lzw"):
        path = save(tmp_path / "a.tif", COLOUR, extratags=tags, compression=compression)
        np.testing.assert_array_equal(read_image(path), np.moveaxis(COLOUR, -1, 0))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        *(((slices, 37, 53), {}) for slices in (2, 3, 4, 5)),
        ((4, 37, 53), {"imagej": True}),
        ((4, 64, 64), {"volumetric": True, "tile": (16, 16)}),
        ((2, 37, 53, 3), {}),
        ((37, 53, 2), {"photometric": "minisblack", "planarconfig": "contig"}),
        ((37, 53, 6), {"photometric": "minisblack", "planarconfig": "contig"}),
    ],
)
def test_a_file_of_several_images_is_refused(tmp_path, shape, options):
    path = save(tmp_path / "a.tif", random("u1", shape), **options)
    for read in (read_image, read_header, read_label):
        with pytest.raises(UserError) as error:
            read(path)
        assert "several images" in str(error.value) or "slices of a stack" in str(error.value)
        assert "NIfTI" in str(error.value)


def test_a_stack_that_imagej_describes_in_one_page_is_refused(tmp_path):
    described = "ImageJ=1.53\nimages=3\nslices=3\n"
    path = tmp_path / "a.tif"
    tall = random("u1", (3 * 37, 53))
    save(path, tall, rowsperstrip=3 * 37, metadata=None, description=described)
    with tifffile.TiffFile(path, mode="r+") as file:  # as if the first of three slices
        for tag in (257, 278):
            file.pages.first.tags[tag].overwrite(37)
        file.pages.first.tags[279].overwrite(37 * 53)
    with pytest.raises(UserError, match="a stack of 3"):
        read_image(path)


def test_jpeg_and_fax_compression_are_those_of_pillow(tmp_path):
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    colours = np.stack([smooth, smooth.T, 255 - smooth], -1)
    for array, compression in ((smooth, "jpeg"), (colours, "jpeg"), (SHAPE, "group4")):
        path = tmp_path / "a.tif"
        Image.fromarray(array).save(path, compression=compression)
        with Image.open(path) as image:
            shown = np.asarray(image).astype(float)
        found = read_image(path)
        found = found[0] if len(found) == 1 else np.moveaxis(found, 0, -1)
        # Decoders of JPEG may differ in the last bit, and in how they enlarge colours.
        assert np.abs(found - shown).max() <= (4 if array is colours else compression == "jpeg")


def test_palettes_and_opacity(tmp_path):
    table = np.zeros((3, 256), np.uint16)
    table[:, 1], table[:, 2] = (200 << 8, 30 << 8, 0), (0, 90 << 8, 10 << 8)
    entries = np.array([[0, 1, 2]], np.uint8)
    path = save(tmp_path / "p.tif", entries, photometric="palette", colormap=table)
    assert read_label(path).tolist() == [[0, 1, 2]]
    assert read_image(path)[:, 0].T.tolist() == [[0, 0, 0], [200, 30, 0], [0, 90, 10]]
    assert read_header(path).storage.palette[1] == (200, 30, 0)
    opaque = np.insert(COLOUR, 3, 9, axis=-1)
    np.testing.assert_array_equal(
        read_image(save(tmp_path / "a.tif", opaque)), np.moveaxis(COLOUR, -1, 0)
    )


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "lzw"}])
def test_damage_is_told_in_time_and_nothing_is_printed(tmp_path, capfd, options):
    """Files cut off, or with a header of anything, in every layout."""
    path = save(tmp_path / "a.tif", GREY, rowsperstrip=5, **options)
    whole, refused = path.read_bytes(), 0
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cut off, damaged"):
            read_image(path)
    random_bytes = np.random.default_rng(1)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in random_bytes.integers(8, 260, 3):
            damaged[place] = random_bytes.choice([0, 1, 127, 255])
        path.write_bytes(damaged)
        for read in (read_image, read_header, read_label):
            try:
                read(path)
            except UserError:
                refused += 1
    assert refused > 50
    assert capfd.readouterr() == ("", "")


def test_numbers_that_are_no_intensities_are_refused(tmp_path):
    with pytest.raises(UserError, match="number type is not supported"):
        read_image(save(tmp_path / "a.tif", GREY.astype(np.complex64)))
    with pytest.raises(UserError, match="not numbers"):  # too large for 32 bits
        read_image(save(tmp_path / "a.tif", GREY * 1e300))
