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
"""Target modes of images that are converted: drops transparency and resolves palettes."""
Result = TypeVar("Result")


def image_channels(path: Path) -> int:
    """Return the number of channels of an image file, 1 or 3, from its header. UserError."""
    return _opened(path, lambda image: len("L" if image.mode in GREY else COLOUR[image.mode]))


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


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Return the classes, uint8 (H, W).

    Grey values and palette entries are class values; if only 0 and 255 occur, 255 is class 1.
    UserError as for an image, and for a mask in colour or with values that are not classes.
    """
    values = _opened(path, _grey)
    if values.ndim == 3:
        if np.ptp(values[..., :3], axis=-1).any():
            fix = "save it as a grey image: 0 and 255 for one class, 0, 1, 2, ... for several"
            raise UserError(
                Problem(
                    "the mask is in colour",
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
        raise UserError(
            Problem(
                "the file is missing",
                str(path),
                "no such file",
                "a PNG or TIFF file",
                "check the path",
            )
        ) from None
    except UserError:
        raise
    except Exception as error:  # Pillow raises a dozen error types for damaged files
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        fix = "copy it again from its source"
        raise UserError(
            Problem(
                "the image is cut off, damaged or not a PNG or TIFF file",
                str(path),
                found,
                "a complete file",
                fix,
            )
        ) from error


def _check(image: Image, path: Path) -> None:
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        fix = "save each page as a separate image, or the stack as NIfTI"
        raise UserError(
            Problem(
                "the file contains several images", str(path), f"{pages} pages", "one page", fix
            )
        )
    if image.width * image.height > LARGEST:
        found = f"{image.width} x {image.height} pixels"
        raise UserError(
            Problem(
                "the image is too large",
                str(path),
                found,
                f"at most {LARGEST:,} pixels",
                "crop the image, or check its header",
            )
        )
    if image.mode not in GREY and image.mode not in COLOUR:
        raise UserError(
            Problem(
                "the colour model is not supported",
                str(path),
                image.mode,
                "grey or RGB",
                "convert the image",
            )
        )
