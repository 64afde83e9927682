"""A scan to predict: its files, how it is read, and where its prediction goes."""

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
"""Suffixes of files that hold an image of two axes."""


@dataclass(frozen=True)
class Scan:
    """One case: its files (one, or one a channel) and the name of its prediction's file."""

    files: tuple[Path, ...]
    output: str


@dataclass(frozen=True)
class ReadingOptions:
    """How a run reads scans: from its [data] table, and how many channels and spatial axes its model takes.

    preprocessing, orientation and nifti_axes are not for h5 files: the published ones are normalised and ordered already.
    """

    preprocessing: Preprocessing
    orientation: Orientation
    nifti_axes: tuple[int, ...]
    channels: int
    dimensions: tuple[int, ...]

    @classmethod
    def of(cls, data: DataOptions, channels: int, dimensions: tuple[int, ...]) -> ReadingOptions:
        """Those of a recipe's [data] table."""
        return cls(Preprocessing.of(data), data.orientation, data.nifti_axes, channels, dimensions)


@dataclass(frozen=True)
class Input:
    """A scan that was read.

    image: float32 (C, *S') as the network sees it. shape: *S of the scan itself, turned as the network sees it.
    write: puts arrays of a prediction by their names ("label" uint8 (*S); "probability" float32 (K, *S), "disagreement" and
    "entropy" float32 (*S) where they are asked for) into a folder, each file whole or not at all.
    """

    scan: Scan
    image: NDArray[np.float32]
    shape: tuple[int, ...]
    write: Callable[[Mapping[str, NDArray[Any]], Path], None]


def output_files(scan: Scan, out: Path, maps: Sequence[MapName]) -> dict[str, Path]:
    """The file of each array that is written for a scan, the label last, so that a label means that the rest is there.

    NIfTI maps have folders of their own, so that the labels' folder holds labels only, and so have those of images, as float TIFF
    files; an h5 file holds all arrays.
    """
    label = out / scan.output
    if label.suffix.lower() == ".h5":
        return dict.fromkeys([*maps, "label"], label)
    flat = label.suffix.lower() in FLAT
    return {name: out / name / (f"{label.stem}.tif" if flat else label.name) for name in maps} | {
        "label": label
    }
