"""PNG files, with every bit as stored. JPEG and BMP files that bear the name are read too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossview.data.io.codecs import codecs
from crossview.data.io.pixels import Pixels, check_size, refuse_colours, refuse_several
from crossview.data.io.storage import Colours, Storage

if TYPE_CHECKING:
    from PIL.Image import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"

HEAD = 26
"""Bytes up to number of bits and colour type, the last two of them."""

SCALED = {2: 85, 4: 17}
"""Factor by which Pillow scales grey values of so many bits, to fill 0 to 255."""

CHANNELS = {
    "1": "L",
    "L": "L",
    "I": "L",
    "I;16": "L",
    "I;16B": "L",
    "P": "P",
    "LA": "LA",
    "RGB": "RGB",
    "RGBA": "RGBA",
}
"""Channels of Pillow's modes: L grey, P entries of a palette, A opacity."""

DEFLATED = 1032
"""Most bytes that one byte of deflate can stand for."""

OF_PNG = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
"""Channels by the colour type in a PNG file's header."""


def read(file: IO[bytes], head: bytes, path: Path, load: bool) -> Pixels:
    """Return the image in a file, without pixels unless ``load``.

    Args:
        file: At its start.
        head: Its first ``HEAD`` bytes.
        path: Its path, for messages.
        load: False for the header only.

    Raises:
        UserError: For several images, too many pixels, or a colour model other than grey and RGB.
        Exception: Of any other type if the file is damaged.
    """
    is_png = head.startswith(SIGNATURE)
    image = _opened(file, is_png)
    if (pages := getattr(image, "n_frames", 1)) > 1:
        refuse_several(path, f"{pages} images")
    shape = check_size(path, image.height, image.width)
    if not is_png and image.mode not in CHANNELS:
        refuse_colours(path, image.mode)
    bits = head[24] if is_png else 1 if image.mode == "1" else 8
    channels = OF_PNG[head[25]] if is_png else CHANNELS[image.mode]
    if is_png and load:
        _check_length(file, image.width * image.height * bits * len(channels) // 8)
    palette = _palette(image) if channels == "P" else ()
    storage = Storage("8-bit" if palette else f"{bits}-bit", palette=palette)
    wide = bits == 16 and channels != "L"  # Pillow drops the low byte
    pixels = Pixels(shape, channels[:3] in ("P", "RGB"), storage, codecs=wide)
    return _loaded(pixels, image, file, bits, channels) if load else pixels


def _opened(file: IO[bytes], is_png: bool) -> Image:
    """Return the image. The class itself opens a PNG: Pillow's `open` refuses 179 megapixels."""
    if is_png:
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(file)
    from PIL import Image

    return Image.open(file, formats=("JPEG", "BMP"))


def _check_length(file: IO[bytes], stored: int) -> None:
    """Raise ValueError if a file is too short for ``stored`` bytes, before they are allocated."""
    at = file.tell()
    length = file.seek(0, os.SEEK_END)
    file.seek(at)
    if stored > DEFLATED * length:
        raise ValueError(f"{length:,} bytes cannot hold an image of {stored:,} bytes")


def _palette(image: Image) -> Colours:
    flat = image.getpalette("RGB") or []
    return tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True))


def _loaded(pixels: Pixels, image: Image, file: IO[bytes], bits: int, channels: str) -> Pixels:
    values: NDArray[Any]
    if pixels.codecs:
        decode = codecs().png_decode
        image.verify()  # checksums: libpng prints about a damaged end
        file.seek(0)
        values = decode(file.read())
    else:
        values = np.asarray(image)
    if channels == "L" and bits in SCALED:
        values = values // SCALED[bits]
    alpha = values[..., -1] if channels.endswith("A") else None
    if channels[0] == "L" and values.ndim == 3:
        values = values[..., 0]
    # A colour that stands for transparency comes as a channel too.
    values = values[..., :3] if values.ndim == 3 else values
    return Pixels(pixels.shape, pixels.colour, pixels.storage, values, alpha)
