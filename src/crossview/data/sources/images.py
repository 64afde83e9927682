"""2D images and their masks in PNG and TIFF files: microscopy, dermatology, endoscopy, X-ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossview.data.nifti import check_finite
from crossview.data.sources.class_values import class_values
from crossview.data.sources.h5 import LARGEST
from crossview.errors import Problem, UserError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".tif", ".tiff")
GREY = {"1": 1, "L": 1, "I": 1, "F": 1, "I;16": 1, "I;16L": 1, "I;16B": 1}
COLOUR = {"LA": "L", "La": "L", "P": "RGB", "PA": "RGB", "RGB": "RGB", "RGBA": "RGB", "RGBX": "RGB"}
"""Modes that are brought into another before their values are taken: transparency is dropped, palettes are resolved."""
Result = TypeVar("Result")


def image_channels(path: Path) -> int:
    """How many channels an image file gives, 1 or 3; only the header is read. Raises UserError."""
    return _opened(path, lambda image: len("L" if image.mode in GREY else COLOUR[image.mode]))


def read_image(path: Path) -> NDArray[np.float32]:
    """The values as they are stored, float32 (C, H, W): grey gives one channel, colour three; transparency is dropped.

    Raises UserError: missing, damaged, several pages, too large, a colour model other than grey and RGB, NaN.
    """
    values = _opened(
        path,
        lambda image: np.asarray(
            image if image.mode in GREY else image.convert(COLOUR[image.mode]), np.float32
        ),
    )
    check_finite(values, path)
    return values[None] if values.ndim == 2 else np.ascontiguousarray(np.moveaxis(values, -1, 0))


def read_mask(path: Path) -> NDArray[np.uint8]:
    """The classes, uint8 (H, W): grey values and palette entries are class values; where only 0 and 255 occur, 255 is class 1.

    Raises UserError as for an image, and for a mask in colours or with values that are no classes.
    """
    values = _opened(path, _grey)
    if values.ndim == 3:
        if np.ptp(values[..., :3], axis=-1).any():
            fix = "save it as a grey image: 0 and 255 for one class, 0, 1, 2 ... for several"
            raise UserError(
                Problem(
                    "the mask is in colours",
                    str(path),
                    "pixels that are not grey",
                    "a grey image",
                    fix,
                )
            )
        values = values[..., 0]
    binary = bool(values.any()) and bool(np.isin(values, (0, 255)).all())
    return class_values(values == 255 if binary else values, path)


def _grey(image: Image) -> NDArray[Any]:
    """(H, W); (H, W, 3) of a colour image. A palette's entries count as they are numbered, whatever their colours."""
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
        raise UserError(
            Problem(
                "the file is missing",
                str(path),
                "nothing there",
                "a PNG or TIFF file",
                "check the path",
            )
        ) from None
    except UserError:
        raise
    except Exception as error:  # Pillow answers damaged files with a dozen types of error
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        fix = "copy it again from its source"
        raise UserError(
            Problem(
                "the image is cut off, damaged or no PNG or TIFF",
                str(path),
                found,
                "a whole file",
                fix,
            )
        ) from error


def _check(image: Image, path: Path) -> None:
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        fix = "save each page as an image of its own, or the stack as NIfTI"
        raise UserError(
            Problem("the file holds several images", str(path), f"{pages} pages", "one", fix)
        )
    if image.width * image.height > LARGEST:
        found = f"{image.width} x {image.height} pixels"
        raise UserError(
            Problem(
                "the header declares more than any image",
                str(path),
                found,
                f"at most {LARGEST:,}",
                "crop it",
            )
        )
    if image.mode not in GREY and image.mode not in COLOUR:
        raise UserError(
            Problem(
                "a colour model that is not read",
                str(path),
                image.mode,
                "grey or RGB",
                "convert the image",
            )
        )
