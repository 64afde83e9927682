"""JPEG data of a TIFF that states a larger image than its strip or tile is damaged."""

import io
import resource
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crossview.core.errors import UserError
from crossview.data.io.image import read_image
from crossview.data.io.jpeg import check_jpeg, frame

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from(["baseline", "progressive", "optimized", "lossless", "12 bits"]),
)
def test_the_stated_size_is_read(rows, columns, process):
    pixels = np.random.default_rng(rows).integers(0, 256, (rows, columns), np.uint8)
    if process == "lossless":
        data = imagecodecs.ljpeg_encode(pixels.astype(np.uint16), bitspersample=14)
    elif process == "12 bits":
        data = imagecodecs.jpeg8_encode(pixels.astype(np.uint16), bitspersample=12)
    else:
        file = io.BytesIO()
        ways = {"progressive": process == "progressive", "optimize": process == "optimized"}
        Image.fromarray(pixels).save(file, "JPEG", comment=b"\xff\xc0 no header", **ways)
        data = file.getvalue()
    assert frame(data) == (rows, columns)
    assert frame(data[:2] + b"\xff" + data[2:]) == (rows, columns)  # filled before a marker
    check_jpeg(data, rows, columns)
    with pytest.raises(ValueError, match="in a strip or tile of"):
        check_jpeg(data, rows, max(0, columns - 16))


def test_data_without_a_header_is_damaged():
    data = imagecodecs.jpeg8_encode(PIXELS)
    start = data.index(b"\xff\xda")
    for damaged in (b"", data[:9], data[2:6], data[start:], b"\0" + data, b"\xff" * 40):
        with pytest.raises(ValueError, match="no frame header"):
            frame(damaged)


WAYS = {
    "one strip": {},
    "tiles": {"tile": (16, 32)},
    "tiles larger than the image": {"tile": (64, 128)},
    "strips": {"rowsperstrip": 16},
    "planes": {"planarconfig": "separate"},
    "subsampled": {"compressionargs": {"level": 95}, "subsampling": (2, 2)},
}


@pytest.mark.parametrize("way", WAYS)
def test_whole_files_are_read(tmp_path, way):
    pixels = np.moveaxis(PIXELS, -1, 0) if way == "planes" else PIXELS
    options = {"photometric": "rgb", "metadata": None, "software": "other", **WAYS[way]}
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="jpeg", **options)
    read = read_image(tmp_path / "a.tif")
    expected = tifffile.imread(tmp_path / "a.tif")
    assert np.array_equal(read, expected if way == "planes" else np.moveaxis(expected, -1, 0))


def test_files_of_libtiff_are_read(tmp_path):
    """Its quantisation tables are in a tag, not in the strips."""
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "a.tif", compression="jpeg")
    assert read_image(tmp_path / "a.tif").shape == (1, 40, 50)


@pytest.mark.parametrize("way", [{}, {"tile": (16, 32)}])
def test_a_strip_that_states_a_huge_image_is_refused_at_once(tmp_path, way):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, compression="jpeg", photometric="rgb", **way)
    content = path.read_bytes()
    size = struct.pack(">HH", *way.get("tile", PIXELS.shape[:2]))
    assert size in content
    path.write_bytes(content.replace(size, struct.pack(">HH", 60_000, 60_000)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"a\.tif") as caught:
        read_image(path)
    assert "60,000 x 60,000" in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20
