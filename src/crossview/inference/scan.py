"""A scan to predict: its files, reading options and output files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossview.data.preprocess import Preprocessing
from crossview.data.sources.source import DataOptions, Orientation

MapName = Literal["probability", "disagreement", "entropy"]
FLAT = (".png", ".tif", ".tiff")
"""Suffixes of 2D image files."""


@dataclass(frozen=True)
class Scan:
    """One case: its files (one, or one per channel) and the name of its prediction file."""

    files: tuple[Path, ...]
    output: str


@dataclass(frozen=True)
class ReadingOptions:
    """Options for reading scans: from [data], and the channels and spatial axes of the model.

    preprocessing, orientation and nifti_axes do not apply to h5 files: the published ones are
    already normalised and ordered.
    """

    preprocessing: Preprocessing
    orientation: Orientation
    nifti_axes: tuple[int, ...]
    channels: int
    dimensions: tuple[int, ...]

    @classmethod
    def of(cls, data: DataOptions, channels: int, dimensions: tuple[int, ...]) -> ReadingOptions:
        """Return the options of a recipe's [data] table."""
        return cls(Preprocessing.of(data), data.orientation, data.nifti_axes, channels, dimensions)


@dataclass(frozen=True)
class Input:
    """A scan in memory.

    image: float32 (C, *S'), the network's input. shape: *S of the scan itself, in the same
    orientation. write: writes the arrays of a prediction by name to a folder, each file completely
    or not at all: "label" uint8 (*S) and, if requested, "probability" float32 (K, *S),
    "disagreement" and "entropy" float32 (*S).
    """

    scan: Scan
    image: NDArray[np.float32]
    shape: tuple[int, ...]
    write: Callable[[Mapping[str, NDArray[Any]], Path], None]


def output_files(scan: Scan, out: Path, maps: Sequence[MapName]) -> dict[str, Path]:
    """Return the file of each array of a scan.

    The label is last, so an existing label means that its maps exist too. Maps of NIfTI scans and
    of images (as float TIFF) have separate folders, so the label folder contains only labels; an h5
    file contains all arrays.
    """
    label = out / scan.output
    if label.suffix.lower() == ".h5":
        return dict.fromkeys([*maps, "label"], label)
    flat = label.suffix.lower() in FLAT
    return {name: out / name / (f"{label.stem}.tif" if flat else label.name) for name in maps} | {
        "label": label
    }
