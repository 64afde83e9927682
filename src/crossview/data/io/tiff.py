"""TIFF files of one image, with the numbers as stored.

Tags that say how to show an image change nothing: which value is white, how to turn it, its gamma.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from crossview.core.errors import fail
from crossview.data.io.codecs import codecs
from crossview.data.io.jpeg import check_jpeg
from crossview.data.io.lzw import check_lzw
from crossview.data.io.pixels import Pixels, check_size, refuse_colours, refuse_several
from crossview.data.io.storage import Colours, Storage

if TYPE_CHECKING:
    from tifffile import FileHandle, TiffFile, TiffPage

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Little- and big-endian, TIFF and BigTIFF."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6

UNSUPPORTED = (34933, 34934, 22610)
"""PNG, which no other reader knows in a TIFF, and JPEG XR, whose decoder damaged data can crash."""

ALONE, PREDICTED, BITS = (1, 8, 32773, 32946, 34925, 50013), (1, 2), (1, 8, 16, 32, 64)
"""Compressions, predictors and numbers of bits that tifffile decodes without imagecodecs.

None, deflate, PackBits and LZMA; differences of whole numbers.
"""

LZW = 5

REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in reverse, as tag FillOrder = 2 stores them."""

JPEG, JPEG_OF_DNG = (6, 7), (33007, 34892)
"""Compressions by JPEG. The decoder of the first two turns YCbCr into RGB."""

PHOTOMETRIC, COLORMAP, PRIVATE = 262, 320, 2**15
"""Tags; those of programs of their own begin at the last."""

LARGE, MOST_SHRUNK = 2**26, 4000
"""Segments of more bytes must not have been compressed by more than this factor.

Deflate and LZW reach 1,000 and 2,600. A damaged header can declare any size.
"""

GUESSERS = ("", "tifffile.py", "InsightToolkit")
"""Programs, by the tag Software, that call three or four channels colours, whatever they are."""

KINDS = {"u": "", "b": "", "i": " signed", "f": " decimal"}


def read(file: IO[bytes], path: Path, load: bool) -> Pixels:
    """Return the image in a file, without pixels unless ``load``. ``path`` is for messages.

    Raises:
        UserError: For several images, too many pixels, or a colour model other than grey and RGB.
        Exception: Of any other type if the file is damaged or its compression is not supported.
    """
    from tifffile import TiffFile

    # Without a handler Python prints what tifffile logs about a damaged file.
    logging.getLogger("tifffile").addHandler(SILENT)
    # Files of OME are read as plain ones: their description may name other files.
    with TiffFile(file, is_ome=False) as tiff:
        page = tiff.pages.first
        _check_single(tiff, page, path)
        shape = check_size(path, page.imagelength, page.imagewidth)
        colour, extra = _channels(page, path)
        palette = _palette(page) if page.photometric == PALETTE else ()
        storage = Storage(_numbers(page, path), _inverted(page), palette)
        pixels = Pixels(shape, colour, storage, codecs=_needs_codecs(page), guessed=_guessed(page))
        if not load:
            return pixels
        _check_supported(page, path)
        _check_whole(page, tiff.filehandle.size)
        _check_codes(page, tiff.filehandle)
        values = page.asarray(maxworkers=1)
    if page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    alpha = values[..., -1] if extra else None
    if values.ndim == 3:
        values = values[..., :3] if colour else values[..., 0]
    return replace(pixels, values=values, alpha=alpha)


SILENT = logging.NullHandler()


def _check_single(file: TiffFile, page: TiffPage, path: Path) -> None:
    """Raise UserError for a stack or several pages, however the file declares them."""
    if (pages := _pages(file, page)) > 1:
        refuse_several(path, f"{pages} pages")
    # ImageJ and others store a stack in a page that describes its first slice only.
    if page.description or any(code >= PRIVATE for code in page.tags.keys()):  # noqa: SIM118
        images = sum(prod(each.shape) for each in file.series) // (prod(page.shape) or 1)
        if images > 1:
            refuse_several(path, f"a stack of {images}")
    if page.imagedepth > 1:
        refuse_several(path, f"a volume of {page.imagedepth} slices")
    if page.axes == "SYX" and _guessed(page):
        planes = page.samplesperpixel
        fail(
            "the planes of the file may be slices of a stack or the colours of an image",
            path,
            found=f"an array {' x '.join(map(str, page.shape))}, saved plane by plane",
            expected="one grey image, or a colour image whose channels are its last axis",
            fix=f"save a stack of {planes} as NIfTI, and colours as an array (height, width, 3)",
        )


def _pages(file: TiffFile, page: TiffPage) -> int:
    """Return the number of images; smaller ones that the file calls reduced copies don't count."""
    size = prod(page.shape)
    others = [*file.pages[1:], *(page.pages or ())]
    return 1 + sum(not (each.is_reduced and prod(each.shape) < size) for each in others)


def _guessed(page: TiffPage) -> bool:
    """Return True if the writer may not have known that three or four samples are colours.

    tifffile, and imageio and scikit-image with it, decide that by the shape of an array. Other
    programs are told, and name themselves.
    """
    return page.is_shaped or page.software.strip() in GUESSERS


def _channels(page: TiffPage, path: Path) -> tuple[bool, bool]:
    """Return True for colour, and True for one more sample, the opacity."""
    photometric, samples = int(page.photometric), page.samplesperpixel
    colour = photometric == RGB or (photometric == YCBCR and page.compression in JPEG)
    if not colour and photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE):
        refuse_colours(path, getattr(page.photometric, "name", str(photometric)))
    extra = samples - (3 if colour else 1)
    transparent = any(page.extrasamples[:1])  # 1 and 2: opacity; 0: not said
    if extra not in (0, 1) or (extra and not transparent):
        refuse_several(path, f"{samples} samples per pixel")
    return colour or photometric == PALETTE, extra == 1


def _numbers(page: TiffPage, path: Path) -> str:
    kind = "" if page.dtype is None else page.dtype.kind
    if kind not in KINDS or not isinstance(page.bitspersample, int):
        fail(
            "the number type is not supported",
            path,
            found=f"{page.bitspersample} bits, sample format {page.sampleformat}",
            expected="whole or decimal numbers",
            fix="convert the image to 8 or 16 bits, or to 32-bit decimal numbers",
        )
    if page.photometric == PALETTE:
        return "8-bit"
    return f"{page.bitspersample}-bit{KINDS[kind]}"


def _inverted(page: TiffPage) -> bool:
    """Return True if the file says that 0 is white.

    tifffile takes a missing tag for that too, and says it of every boolean array that it writes.
    """
    boolean = page.bitspersample == 1 and page.is_shaped
    return PHOTOMETRIC in page.tags and page.photometric == WHITE_IS_ZERO and not boolean


def _palette(page: TiffPage) -> Colours:
    """Return the colours in 8 bits; the file has 16, of which some writers use the lower 8."""
    table: Any = np.asarray(page.tags[COLORMAP].value, np.uint16).reshape(3, -1)
    table = table >> 8 if table.max() > 255 else table
    return tuple(map(tuple, table.T.tolist()))


def _needs_codecs(page: TiffPage) -> bool:
    alone = page.compression in ALONE and page.predictor in PREDICTED and page.bitspersample in BITS
    return not alone and page.compression not in UNSUPPORTED


def _check_supported(page: TiffPage, path: Path) -> None:
    """Raise UserError for a compression that can't be decoded here."""
    from tifffile import TIFF

    if _needs_codecs(page):
        codecs()
    if page.compression in UNSUPPORTED or page.compression not in TIFF.DECOMPRESSORS:
        fail(
            "the compression of the TIFF file is not supported",
            path,
            found=getattr(page.compression, "name", page.compression),
            expected="a compression such as deflate or LZW, or none",
            fix="save the file without compression or with deflate",
        )


def _check_whole(page: TiffPage, size: int) -> None:
    """Raise ValueError unless the file of ``size`` bytes holds every strip or tile."""
    needed = prod(page.chunked)
    starts, lengths = (
        np.array(numbers[:needed], np.int64) for numbers in (page.dataoffsets, page.databytecounts)
    )
    plain = page.compression == 1
    whole = page.nbytes if page.bitspersample % 8 == 0 else 0
    if plain and page.is_contiguous:
        starts, lengths, needed = starts[:1], np.array([whole]), 1
    if len(starts) < needed or len(lengths) < needed:
        raise ValueError(f"{min(len(starts), len(lengths))} of {needed} strips or tiles are there")
    if (starts < 8).any() or (lengths < 1).any() or (starts + lengths > size).any():
        raise ValueError("strips or tiles are missing")
    segment = prod(page.chunks) * max(page.bitspersample // 8, 1)
    if not plain and segment > LARGE and (segment > MOST_SHRUNK * lengths).any():
        raise ValueError(f"{segment:,} bytes are declared, {lengths.min():,} are there")


def _check_codes(page: TiffPage, file: FileHandle) -> None:
    """Raise ValueError if a strip or tile is LZW or JPEG data whose damage a decoder trusts."""
    of_jpeg = page.compression in (*JPEG, *JPEG_OF_DNG)
    if page.compression != LZW and not of_jpeg:
        return
    # A strip may state the size of the whole image (old JPEG data), a tile may be larger.
    sides = max(page.imagelength, page.tilelength), max(page.imagewidth, page.tilewidth)
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    for start, length in segments[: prod(page.chunked)]:
        file.seek(start)
        data = file.read(length)
        if of_jpeg:
            check_jpeg(data, *sides)
        else:
            check_lzw(data.translate(REVERSED) if page.fillorder == 2 else data)
