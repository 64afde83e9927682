"""TIFF files of several planes: one grey or colour image is read, all that may be a stack is not.

Each file holds N slices of one grey scan. No tag tells three of them from the colours of an image
if the writing program did not know either.
"""

import warnings

import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image

from crossview.core.errors import UserError
from crossview.data.io.image import read_header, read_image, read_label

SLICES = np.random.default_rng(0).integers(0, 200, (5, 24, 36)).astype(np.uint8)


def pages(path, stack):
    first, *others = map(Image.fromarray, stack)
    first.save(path, save_all=True, append_images=others)


def itk(path, stack):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(stack), str(path))


def itk_vector(path, stack):
    image = SimpleITK.GetImageFromArray(np.moveaxis(stack, 0, -1), isVector=True)
    SimpleITK.WriteImage(image, str(path))


def by_tifffile(last=False, **options):
    """Return a writer of planes, or of samples of a pixel as the ``last`` axis."""

    def write(path, stack):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = np.moveaxis(stack, 0, -1) if last else stack
            tifffile.imwrite(path, array, **options)

    return write


def below(path, stack):
    """Write the other slices as pages below the first one's."""
    with tifffile.TiffWriter(path) as file:
        options = {"photometric": "minisblack", "metadata": None}
        file.write(stack[0], subifds=len(stack) - 1, **options)
        for each in stack[1:]:
            file.write(each, subfiletype=1, **options)


PLAIN, GREY = {"metadata": None}, {"metadata": None, "photometric": "minisblack"}
COLOUR = {"metadata": None, "photometric": "rgb"}

WRITERS = {
    "pages by Pillow": pages,
    "pages by ITK": itk,
    "pages below": below,
    "tifffile's default": by_tifffile(),
    "without its mark": by_tifffile(**PLAIN),
    "without mark and name": by_tifffile(**PLAIN, software=""),
    "grey pages": by_tifffile(**GREY),
    "grey planes": by_tifffile(**GREY, planarconfig="separate"),
    "grey samples": by_tifffile(True, **GREY, planarconfig="contig"),
    "ImageJ": by_tifffile(imagej=True),
    "OME": by_tifffile(ome=True, metadata={"axes": "ZYX"}),
    "OME channels": by_tifffile(ome=True, metadata={"axes": "CYX"}),
    "a volume": by_tifffile(**GREY, volumetric=True, tile=(1, 16, 16)),
}

COLOURED = {
    "colour planes": by_tifffile(**COLOUR, planarconfig="separate"),
    "compressed colour planes": by_tifffile(**PLAIN, compression="zlib", tile=(16, 16)),
}


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_slices_of_a_scan_are_refused_however_they_are_stored(tmp_path, number):
    writers = WRITERS | (COLOURED if number > 2 else {})
    for name, write in writers.items():
        write(tmp_path / "a.tif", SLICES[:number])
        for read in (read_image, read_header, read_label):
            with pytest.raises(UserError) as error:
                read(tmp_path / "a.tif")
            text = str(error.value)
            assert "several images" in text or "slices of a stack" in text, name
            assert "NIfTI" in text


@pytest.mark.parametrize(
    ("number", "write"),
    [
        (4, by_tifffile(True)),
        (4, by_tifffile(True, **COLOUR)),
        (4, by_tifffile(True, **COLOUR, extrasamples=["unspecified"])),
        (5, by_tifffile(True, **COLOUR, extrasamples=["unspecified"] * 2)),
        (4, itk_vector),
    ],
)
def test_a_fourth_channel_is_not_dropped(tmp_path, number, write):
    write(tmp_path / "a.tif", SLICES[:number])
    with pytest.raises(UserError, match=r"several images|a channel of its own"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("alpha", [0, 255])
def test_a_constant_opacity_is_dropped(tmp_path, alpha):
    array = np.dstack([*SLICES[:3], np.full_like(SLICES[0], alpha)])
    tifffile.imwrite(tmp_path / "a.tif", array)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), SLICES[:3])


def test_colours_of_programs_that_name_themselves_are_read_plane_by_plane(tmp_path):
    options = {**COLOUR, "planarconfig": "separate", "software": "OME Bio-Formats 7.1"}
    tifffile.imwrite(tmp_path / "a.tif", SLICES[:3], **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), SLICES[:3])
    assert read_header(tmp_path / "a.tif").channels == 3


def test_reduced_copies_of_an_image_do_not_count(tmp_path):
    """Previews and the levels of a pyramid, after the image or below it."""
    for below_first in (0, 2):
        path = tmp_path / f"{below_first}.tif"
        with tifffile.TiffWriter(path) as file:
            file.write(SLICES[0], subifds=below_first, **GREY)
            for step in (2, 4):
                file.write(SLICES[0, ::step, ::step], subfiletype=1, **GREY)
        np.testing.assert_array_equal(read_image(path)[0], SLICES[0])
        np.testing.assert_array_equal(read_label(path), SLICES[0])
    with tifffile.TiffWriter(path) as file:  # a preview that comes first, as cameras write it
        file.write(SLICES[0, ::4, ::4], subifds=1, subfiletype=1, **GREY)
        file.write(SLICES[0], **GREY)
    with pytest.raises(UserError, match="several images"):
        read_image(path)
