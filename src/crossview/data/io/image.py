"""2D images and their masks in PNG and TIFF files: microscopy, dermatology, endoscopy, X-ray.

Values are those that the file stores, in all bits, for training and prediction alike. Tags that
say how to show an image change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import UserError, fail
from crossview.core.files import written_whole
from crossview.data.io import png, tiff
from crossview.data.io.classes import class_values
from crossview.data.io.geometry import Header
from crossview.data.io.pixels import Pixels
from crossview.data.io.scan import COPY_AGAIN, Scan, check_finite, first_line
from crossview.data.io.volumes import Stored

SUFFIXES = (".png", ".tif", ".tiff")

BLACK, WHITE = (0, 0, 0), (255, 255, 255)

WHITES = (255, 65_535)
"""White in 8 and in 16 bits."""


def read_header(path: Path) -> Header:
    """Return size, number of channels, 1 or 3, and storage. UserError as for `read_image`."""
    pixels = _read(path, load=False)
    return Header(pixels.shape, 3 if pixels.colour else 1, storage=pixels.storage)


def read(files: Sequence[Path], channels: int) -> Scan:
    """Read an image from one file, or from one file per channel.

    If there are as many files as channels, colour files whose three channels are equal are grey.
    UserError as for :func:`read_image`, and if the files differ in size.
    """
    single = channels == len(files)
    parts = [read_image(file, single) for file in files]
    if len({part.shape[1:] for part in parts}) > 1:
        found = ", ".join(f"{part.shape[2]} x {part.shape[1]}" for part in parts)
        fail(
            "the channels of an image differ in size",
            files[0],
            found=found,
            expected="equal sizes",
            fix="export all channels at one size",
        )
    image = np.concatenate(parts)
    return Scan(image, Header(image.shape[1:], len(image)))


def read_image(path: Path, grey: bool = False) -> NDArray[np.float32]:
    """Return the stored values, float32 (C, H, W): one channel for grey, three for colour.

    Entries of a palette become its colours. Transparency is dropped.

    Args:
        path: The file.
        grey: True to return one channel of a colour image whose three channels are equal.

    Raises:
        UserError: If the file is missing, damaged, too large, or has several images, a colour
            model other than grey and RGB, a channel more than colours have, or NaN.
    """
    pixels = _read(path)
    if pixels.guessed and pixels.alpha is not None:
        _check_constant(pixels.alpha, path)
    one = pixels.as_grey() if grey else None
    values = pixels.shown() if one is None else one
    channels = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    with np.errstate(over="ignore"):
        image = channels.astype(np.float32, order="C")
    if values.dtype.kind == "f":
        check_finite(image, path)
    return image


def needs_codecs(path: Path) -> bool:
    """Return True if imagecodecs decodes the file; False for a damaged one, which has its error."""
    try:
        return _read(path, load=False).codecs
    except UserError:
        return False


def equal_channels(path: Path) -> bool:
    """Return True if an image has one channel or three equal ones. UserError as `read_image`."""
    return _read(path).as_grey() is not None


def read_label(path: Path, scan: Path | None = None) -> NDArray[np.uint8]:
    """Return the classes of a mask, uint8 (H, W).

    Grey values and palette entries are class values; if only 0 and white occur, 255 or in 16 bits
    65,535, white is class 1. A palette of black and white counts by its colours.

    UserError as for an image, and for a mask in colour, with values that are not classes, or whose
    opacity shows another shape than its colours.
    """
    values = _values(path)
    white = values.max()
    binary = white in WHITES and bool(np.isin(values, (0, white)).all())
    return class_values(values == white if binary else values, path)


def read_values(path: Path, scan: Path | None = None) -> NDArray[np.uint8]:
    """Return :func:`read_label` with 255 as it is, where it marks pixels that nobody labelled."""
    return class_values(_values(path), path)


def _values(path: Path) -> NDArray[Any]:
    """Return the grey values or palette entries of a mask (H, W)."""
    pixels = _read(path)
    values = _classes_of_palette(pixels, path) if pixels.storage.palette else pixels.as_grey()
    if values is None:
        fail(
            "the mask is in colour",
            path,
            found="pixels that are not grey",
            expected="a grey image",
            fix="save it as a grey image: 0 and 255 for one class, 0, 1, 2, ... for several",
        )
    if pixels.alpha is not None:
        _check_opacity(values, pixels.alpha, path)
    return values


def write(path: Path, arrays: Mapping[str, Stored], header: Header) -> None:
    """Write one array (H, W) or (pages, H, W): uint8 as grey values, float32 unchanged (TIFF)."""
    from PIL import Image

    (array,) = map(np.asarray, arrays.values())
    first, *others = (Image.fromarray(page) for page in (array if array.ndim == 3 else array[None]))
    kind = "PNG" if path.suffix.lower() == ".png" else "TIFF"
    with written_whole(path) as part:
        first.save(part, kind, **({"save_all": True, "append_images": others} if others else {}))


def _read(path: Path, load: bool = True) -> Pixels:
    from PIL import UnidentifiedImageError

    head = b""
    try:
        with path.open("rb") as file:
            head = file.read(png.HEAD)
            file.seek(0)
            if head[:4] in tiff.SIGNATURES:
                return tiff.read(file, path, load)
            return png.read(file, head, path, load)
    except FileNotFoundError:
        fail(
            "the file is missing",
            path,
            found="no such file",
            expected="a PNG or TIFF file",
            fix="check the path",
        )
    except UserError:
        raise
    except Exception as error:  # the libraries raise a dozen error types for damaged files
        # A page that says "not found", or a pointer of git-lfs, is seen at once.
        begins = f"content that begins with {ascii(head[:20])[1:]}" if head else "an empty file"
        fail(
            "the image is cut off, damaged or not a PNG or TIFF file",
            path,
            found=begins if isinstance(error, UnidentifiedImageError) else first_line(error),
            expected="a complete file",
            fix=COPY_AGAIN,
        )


def _classes_of_palette(pixels: Pixels, path: Path) -> NDArray[Any]:
    """Return the entry numbers; 0 and 255 if black and white are all that the palette has.

    Programs that store two greys as a palette put them in any order.
    """
    entries, colours = pixels.stored(), {*pixels.storage.palette}
    if colours == {WHITE}:
        fail(
            "the palette of the mask has no colour but white",
            path,
            found="only white pixels: all background or all structure",
            expected="grey values, or a palette with every class of the data set",
            fix="save the mask as a grey image: 0 for the background, 255 for the structure",
        )
    if colours != {BLACK, WHITE} or len(np.unique(entries)) > 2:
        return entries
    shown: NDArray[Any] = pixels.shown()[..., 0]
    return shown


def _check_constant(alpha: NDArray[Any], path: Path) -> None:
    """Raise UserError if a last channel varies, which may be one of its own and no opacity."""
    if (alpha != alpha.flat[0]).any():
        fail(
            "the last channel of the image may be its opacity or a channel of its own",
            path,
            found=f"{len(np.unique(alpha)):,} values in that channel",
            expected="grey or three colours, with a constant opacity if any",
            fix="save the colours without opacity; or each channel as a grey file of its own, "
            "<name>_0000, <name>_0001, ...",
        )


def _check_opacity(values: NDArray[Any], alpha: NDArray[Any], path: Path) -> None:
    """Raise UserError unless the mask is equally opaque everywhere, or just where it is not 0."""
    if (alpha == alpha.flat[0]).all():
        return
    visible = alpha > 0
    if (alpha[visible] == alpha.max()).all() and ((values > 0) == visible).all():
        return
    fail(
        "the mask has transparent pixels, which show another shape than its colours",
        path,
        found=f"{np.count_nonzero(visible):,} visible pixels, {np.count_nonzero(values):,} above 0",
        expected="a grey image without transparency",
        fix="save it without transparency (alpha): 0 for the background, 255 for the structure",
    )
