"""Memory that the prediction of a scan takes, compared with what there is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from crossview.core.errors import Problem, UserError
from crossview.core.memory import available_memory
from crossview.data.io import ScanFiles
from crossview.data.preprocess import Preprocessing
from crossview.data.sources.source import DataOptions
from crossview.inference.windows import HALVED

PREPARING = 16
"""Bytes per voxel and channel while a scan is normalised: itself and three copies."""

CLEANING = 10
"""Bytes per voxel for the label, the cleaned label and the numbers of its components."""


def needed_memory(
    shape: Sequence[int], there: Sequence[int], channels: int, classes: int, patch: Sequence[int]
) -> int:
    """Return the bytes that the prediction of a scan takes at least.

    Args:
        shape: Shape of the scan, *S.
        there: Its shape on the model's grid, *S'.
        channels: Channels of the model.
        classes: Classes of the model.
        patch: Size of a window.
    """
    largest = max(math.prod(shape), math.prod(there))
    row = math.prod(there) // max(there)
    values = (classes - 1) * row * (max(patch) if len(patch) == len(there) else 1)
    windows = values * (4 if values < HALVED else 2)
    predicting = 4 * channels * math.prod(there) + windows + CLEANING * math.prod(shape)
    return max(PREPARING * channels * largest, predicting)


def memory_problems(scans: Sequence[ScanFiles], data: DataOptions, channels: int) -> list[Problem]:
    """Return a problem for each scan that needs more memory than there is, by its header."""
    available = available_memory()
    if available is None:
        return []
    problems = []
    for scan in scans:
        try:
            header = scan.format.read_header(scan.files[0])
            orientation = header.orientation(data.nifti_axes, data.orientation == "canonical")
            shape = [header.shape[axis] for axis in orientation.axes]
            spacing = None if header.affine is None else orientation.spacing(header.affine)
            there = Preprocessing(spacing=data.spacing).shape(shape, spacing)
        except UserError:
            continue  # reported when the scan is read
        needed = needed_memory(shape, there, channels, data.classes, data.patch)
        if needed > available:
            problems.append(_too_little(scan, needed, available))
    return problems


def _too_little(scan: ScanFiles, needed: int, available: int) -> Problem:
    return Problem(
        "there is too little memory for the scan",
        str(scan.files[0]),
        f"{available / 1e9:.1f} GB available",
        f"at least {needed / 1e9:.1f} GB",
        "close other programs, raise the memory limit of the job or container, or check the voxel "
        "spacing in the scan's header: it is resampled to the model's spacing",
    )
