"""2D images and their masks in PNG and TIFF files: microscopy, dermatology, endoscopy, X-ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import UserError, fail
from crossview.core.files import written_whole
from crossview.data.io.classes import class_values
from crossview.data.io.geometry import Header
from crossview.data.io.scan import COPY_AGAIN, LARGEST, Scan, check_finite, first_line
from crossview.data.io.volumes import Stored

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".tif", ".tiff")

GREY = ("1", "L", "I", "F", "I;16", "I;16L", "I;16B")

COLOUR = {"LA": "L", "La": "L", "P": "RGB", "PA": "RGB", "RGB": "RGB", "RGBA": "RGB", "RGBX": "RGB"}
"""Target modes of images that are converted: drops transparency and resolves palettes."""

Result = TypeVar("Result")


def read_header(path: Path) -> Header:
    """Return size and number of channels, 1 or 3. UserError as for :func:`read_image`."""
    return _opened(
        path,
        lambda image: Header(
            (image.height, image.width), 3 if COLOUR.get(image.mode) == "RGB" else 1
        ),
    )


def read(files: Sequence[Path], channels: int) -> Scan:
    """Read an image from one file, or from one file per channel.

    UserError as for :func:`read_image`, and if the files differ in size.
    """
    parts = [read_image(file) for file in files]
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


def read_image(path: Path) -> NDArray[np.float32]:
    """Return the stored values, float32 (C, H, W): one channel for grey, three for colour.

    Transparency is dropped. UserError if the file is missing, damaged, too large, has several
    pages, a colour model other than grey and RGB, or NaN.
    """
    values = _opened(
        path,
        lambda image: np.asarray(
            image if image.mode in GREY else image.convert(COLOUR[image.mode]), np.float32
        ),
    )
    check_finite(values, path)
    return values[None] if values.ndim == 2 else np.ascontiguousarray(np.moveaxis(values, -1, 0))


def read_label(path: Path, scan: Path | None = None) -> NDArray[np.uint8]:
    """Return the classes of a mask, uint8 (H, W).

    Grey values and palette entries are class values; if only 0 and 255 occur, 255 is class 1.
    UserError as for an image, and for a mask in colour or with values that are not classes.
    """
    values = _opened(path, _grey)
    if values.ndim == 3:
        if np.ptp(values[..., :3], axis=-1).any():
            fail(
                "the mask is in colour",
                path,
                found="pixels that are not grey",
                expected="a grey image",
                fix="save it as a grey image: 0 and 255 for one class, 0, 1, 2, ... for several",
            )
        values = values[..., 0]
    binary = bool(values.any()) and bool(np.isin(values, (0, 255)).all())
    return class_values(values == 255 if binary else values, path)


def write(path: Path, arrays: Mapping[str, Stored], header: Header) -> None:
    """Write one array (H, W) or (pages, H, W): uint8 as grey values, float32 unchanged (TIFF)."""
    from PIL import Image

    (array,) = map(np.asarray, arrays.values())
    first, *others = (Image.fromarray(page) for page in (array if array.ndim == 3 else array[None]))
    kind = "PNG" if path.suffix.lower() == ".png" else "TIFF"
    with written_whole(path) as part:
        first.save(part, kind, **({"save_all": True, "append_images": others} if others else {}))


def _grey(image: Image) -> NDArray[Any]:
    """Return (H, W), or (H, W, 3) for colour. A palette yields its entry numbers, not colours."""
    return np.asarray(
        image
        if image.mode in GREY or image.mode in ("P", "RGB")
        else image.convert(COLOUR[image.mode])
    )


def _opened(path: Path, use: Callable[[Image], Result]) -> Result:
    from PIL import Image

    try:
        with Image.open(path) as image:
            _check(image, path)
            return use(image)
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
    except Exception as error:  # Pillow raises a dozen error types for damaged files
        fail(
            "the image is cut off, damaged or not a PNG or TIFF file",
            path,
            found=first_line(error),
            expected="a complete file",
            fix=COPY_AGAIN,
        )


def _check(image: Image, path: Path) -> None:
    """Raise UserError for several pages, too many pixels or an unsupported colour model."""
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        fail(
            "the file contains several images",
            path,
            found=f"{pages} pages",
            expected="one page",
            fix="save each page as a separate image, or the stack as NIfTI",
        )
    if image.width * image.height > LARGEST:
        fail(
            "the image is too large",
            path,
            found=f"{image.width} x {image.height} pixels",
            expected=f"at most {LARGEST:,} pixels",
            fix="crop the image, or check its header",
        )
    if image.mode not in GREY and image.mode not in COLOUR:
        fail(
            "the colour model is not supported",
            path,
            found=image.mode,
            expected="grey or RGB",
            fix="convert the image",
        )
