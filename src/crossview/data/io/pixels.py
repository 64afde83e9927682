"""The stored pixels of a 2D image, and the refusals that PNG and TIFF share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import fail
from crossview.data.io.scan import LARGEST
from crossview.data.io.storage import Storage


@dataclass(frozen=True, eq=False)
class Pixels:
    """An image as stored: no turning, no scaling, no inversion.

    Attributes:
        shape: Height and width.
        colour: True if the image has three channels, whether by its samples or by its palette.
        storage: How they are stored.
        values: (H, W), entry numbers if there is a palette; (H, W, 3) for samples in colour. None
            if only the header was asked for.
        alpha: Opacity (H, W), None without.
        codecs: True if imagecodecs decodes the values.
        guessed: True if four channels may be no colours with opacity, though the file says so.
    """

    shape: tuple[int, int]
    colour: bool
    storage: Storage
    values: NDArray[Any] | None = None
    alpha: NDArray[Any] | None = None
    codecs: bool = False
    guessed: bool = False

    def stored(self) -> NDArray[Any]:
        """Return the values as the file holds them, entry numbers for a palette."""
        assert self.values is not None
        return self.values

    def shown(self) -> NDArray[Any]:
        """Return the values, (H, W) or (H, W, 3), with the colours of a palette for its entries."""
        if not self.storage.palette:
            return self.stored()
        table = np.zeros((max(256, len(self.storage.palette)), 3), np.uint8)
        table[: len(self.storage.palette)] = self.storage.palette
        colours: NDArray[np.uint8] = table[self.stored()]
        return colours

    def as_grey(self) -> NDArray[Any] | None:
        """Return the one channel (H, W) of an image without colours, None if there are some."""
        values = self.shown()
        if values.ndim == 2:
            return values
        red, green, blue = (values[..., channel] for channel in range(3))
        return red if np.array_equal(red, green) and np.array_equal(red, blue) else None


def check_size(path: Path, height: int, width: int) -> tuple[int, int]:
    """Return (height, width). Raise UserError for an image without pixels or with too many."""
    if not 0 < height * width <= LARGEST:
        fail(
            "the image is too large" if height * width else "the image is empty",
            path,
            found=f"{width} x {height} pixels",
            expected=f"1 to {LARGEST:,} pixels",
            fix="crop the image, or check its header",
        )
    return height, width


def refuse_several(path: Path, found: str) -> None:
    """Raise UserError for a file of several images."""
    fail(
        "the file contains several images",
        path,
        found=found,
        expected="one image",
        fix="save each as a file of its own, a stack of slices as NIfTI, channels as files "
        "<name>_0000, <name>_0001, ...",
    )


def refuse_colours(path: Path, found: str) -> None:
    """Raise UserError for an image that is neither grey nor RGB."""
    fail(
        "the colour model is not supported",
        path,
        found=found,
        expected="grey or RGB",
        fix="convert the image",
    )
