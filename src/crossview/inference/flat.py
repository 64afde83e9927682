"""2D images in PNG and TIFF files, with their masks as grey values in the same format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.data.sources.images import read_image
from crossview.errors import Problem, UserError
from crossview.files import written_whole
from crossview.inference.scan import Input, ReadingOptions, Scan, output_files


def read_flat(scan: Scan, options: ReadingOptions) -> Input:
    """Read an image from one file, or from one file per channel.

    UserError if a file is missing or damaged, channels or sizes do not fit, or the model takes
    volumes.
    """
    path = scan.files[0]
    if 2 not in options.dimensions:
        raise UserError(
            Problem("this model predicts volumes", str(path), "a 2D image", "a NIfTI volume")
        )
    parts = [read_image(file) for file in scan.files]
    if len({part.shape[1:] for part in parts}) > 1:
        found = ", ".join(f"{part.shape[2]} x {part.shape[1]}" for part in parts)
        raise UserError(
            Problem("the channels of an image differ in size", str(path), found, "equal sizes")
        )
    native = np.concatenate(parts)
    if len(native) != options.channels:
        fix = "convert the image to grey (1 channel) or colour (3), like the training images"
        raise UserError(
            Problem(
                "the image has the wrong number of channels",
                str(path),
                str(len(native)),
                str(options.channels),
                fix,
            )
        )
    image = options.preprocessing.image(native, None, str(path))

    def write(arrays: Mapping[str, NDArray[Any]], out: Path) -> None:
        maps: list[Any] = [name for name in arrays if name != "label"]
        for name, file in output_files(scan, out, maps).items():
            _write(file, arrays[name] if arrays[name].ndim == 3 else arrays[name][None])

    return Input(scan, image, native.shape[1:], write)


def _write(path: Path, pages: NDArray[Any]) -> None:
    """Write pages (P, H, W): uint8 as grey values, float32 unchanged (TIFF)."""
    from PIL import Image

    first, *others = (Image.fromarray(page) for page in pages)
    kind = "PNG" if path.suffix.lower() == ".png" else "TIFF"
    with written_whole(path) as part:
        first.save(part, kind, **({"save_all": True, "append_images": others} if others else {}))
