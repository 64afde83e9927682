"""A scan to predict: its files, how it is read, and where its prediction goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Normalisation = Literal["none", "z_score", "min_max"]
MapName = Literal["probability", "disagreement"]


@dataclass(frozen=True)
class Scan:
    """One case: its files (one, or one a channel) and the name of its prediction's file."""

    files: tuple[Path, ...]
    output: str


@dataclass(frozen=True)
class ReadingOptions:
    """How a run reads scans: keys of its [data] table, and how many spatial axes its model takes.

    normalisation and nifti_axes are for NIfTI files; the published h5 files are normalised and ordered already.
    """

    normalisation: Normalisation
    nifti_axes: tuple[int, ...]
    channels: int
    dimensions: tuple[int, ...]


@dataclass(frozen=True)
class Input:
    """A scan that was read.

    image: float32 (C, *S). write: puts arrays of a prediction by their names ("label" uint8 (*S); "probability" float32
    (K, *S) and "disagreement" float32 (*S) where they are asked for) into a folder, each file whole or not at all.
    """

    scan: Scan
    image: NDArray[np.float32]
    write: Callable[[Mapping[str, NDArray[Any]], Path], None]


def output_files(scan: Scan, out: Path, maps: Sequence[MapName]) -> dict[str, Path]:
    """The file of each array that is written for a scan, the label last, so that a label means that the rest is there.

    NIfTI maps have folders of their own, so that the labels' folder holds labels only; an h5 file holds all arrays.
    """
    label = out / scan.output
    return {name: label if scan.output.endswith(".h5") else out / name / scan.output for name in maps} | {"label": label}
