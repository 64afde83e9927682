"""LZW data is told from damaged data before it is decompressed."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crossview.core.errors import UserError
from crossview.data.io.image import read_image
from crossview.data.io.lzw import check_lzw
from crossview.data.io.tiff import REVERSED

PIXELS = np.random.default_rng(0).integers(0, 4, (6, 8), np.uint8)


def packed(*codes):
    """Return codes of 9 bits as bytes."""
    text = "".join(f"{code:09b}" for code in codes)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40_000), st.integers(1, 256), st.integers(0, 99))
def test_whole_data_passes(size, values, seed):
    """Of imagecodecs, and of libtiff in strips; also without its end code."""
    pixels = np.random.default_rng(seed).integers(0, values, size, dtype=np.uint8)
    check_lzw(imagecodecs.lzw_encode(pixels.tobytes()))
    side = int(size**0.5)
    file = io.BytesIO()
    image = Image.fromarray(pixels[: side * side].reshape(side, side))
    image.save(file, "TIFF", compression="tiff_lzw")
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        for data, _ in tiff.filehandle.read_segments(page.dataoffsets, page.databytecounts):
            check_lzw(data)
            check_lzw(data[:-1])


@pytest.mark.parametrize(
    ("codes", "whole"),
    [
        ((256, 65, 257), True),
        ((256, 65, 66), True),
        ((65, 66, 257), True),
        ((256, 65, 258, 257), True),  # the entry that it makes itself: 65 65
        ((256, 256, 65, 258, 256, 66, 258, 257), True),
        ((256, 258, 257), False),
        ((256, 65, 259, 257), False),
        ((256, 65, 258, 256, 66, 259), False),
    ],
)
def test_a_code_before_its_entry_is_damage(codes, whole):
    if whole:
        check_lzw(packed(*codes))
        return
    with pytest.raises(ValueError, match="a code comes before its entry"):
        check_lzw(packed(*codes))


def test_a_table_that_is_never_cleared_is_damage():
    with pytest.raises(ValueError, match="never cleared"):
        check_lzw(b"\x80\x0f" + bytes(6000))


@pytest.mark.parametrize(
    ("data", "whole"),
    [(imagecodecs.lzw_encode(PIXELS.tobytes()), True), (packed(256, 65, 300, 257), False)],
)
def test_a_damaged_file_is_named(tmp_path, data, whole):
    path = tmp_path / "a.tif"
    form = {"shape": PIXELS.shape, "dtype": np.uint8, "compression": "lzw"}
    tifffile.imwrite(path, iter([data]), photometric="minisblack", **form)
    if whole:
        np.testing.assert_array_equal(read_image(path)[0], PIXELS)
        return
    with pytest.raises(UserError, match=r"(?s)a\.tif.*damaged LZW data"):
        read_image(path)


def test_bits_in_reverse_order_are_turned():
    data = imagecodecs.lzw_encode(PIXELS.tobytes())
    assert imagecodecs.bitorder_encode(data) == data.translate(REVERSED)
