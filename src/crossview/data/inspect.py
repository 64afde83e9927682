"""Facts of a case, measured in one reading, for the check of a data set and for the plan."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.data.case import Case
from crossview.data.check import check_case
from crossview.errors import Problem, UserError
from crossview.rng import Randomness

MOST_FOREGROUND = 10_000
"""Most foreground voxels kept per case: enough for percentiles over a whole data set."""
PERCENTILES = (0.5, 50, 99.5)
NO_FOREGROUND: NDArray[np.float32] = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class CaseFacts:
    """Facts of one case.

    If the image cannot be read or contains NaN, all facts about it are empty.

    Attributes:
        case: The case.
        shape: Shape of the image, (C, *S), in the order of ``Case.read_image``.
        spacing: Voxel spacing in mm, one number per axis of S, or None.
        percentiles: Per channel, the 0.5th, 50th and 99.5th percentile of all voxels.
        mean_sd: Per channel, mean and standard deviation of all voxels.
        foreground: (C, n), intensities of at most 10,000 foreground voxels of a labelled case,
            drawn with a fixed seed; (C, 0) for an unlabelled case.
        label_counts: Voxels by class value; {} without a readable label.
        digest: Digest of the image's content, to find duplicates, or "".
        problems: Problems that make this case unusable.
        extremes: Per channel, the smallest and the largest value of all voxels.
        label_digest: Digest of the label's content, or "".
    """

    case: Case
    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    percentiles: tuple[tuple[float, float, float], ...]
    mean_sd: tuple[tuple[float, float], ...]
    foreground: NDArray[np.float32]
    label_counts: dict[int, int]
    digest: str
    problems: tuple[Problem, ...]
    extremes: tuple[tuple[float, float], ...] = ()
    label_digest: str = ""

    @property
    def channels(self) -> int:
        """Number of channels; 0 if the image could not be read."""
        return self.shape[0] if self.shape else 0


def inspect(
    cases: Sequence[Case],
    classes: int | None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[CaseFacts]:
    """Return the facts of each case, in order, read by threads. Calls ``progress(done, total)``."""
    facts = []
    # At most four: each holds a scan and its copies for sorting, about 1 GiB for
    # 512 x 512 x 300 voxels.
    pool = ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1))
    try:
        for done, found in enumerate(
            pool.map(lambda case: inspect_case(case, classes), cases), start=1
        ):
            facts.append(found)
            if progress:
                progress(done, len(cases))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the remaining cases
    return facts


def inspect_case(case: Case, classes: int | None) -> CaseFacts:
    """Return the facts of one case. Problems are collected, not raised.

    classes: Label values from here on are a problem; None accepts every value.
    """
    image, problems = _attempt(case.read_image)
    label, label_problems = _attempt(case.read_label) if case.read_label else (None, [])
    # A damaged scan makes reading its label fail too.
    problems = list(dict.fromkeys(problems + label_problems))
    if image is None:
        return CaseFacts(
            case,
            (),
            None,
            (),
            (),
            NO_FOREGROUND,
            _counts(label),
            "",
            tuple(problems),
            (),
            _digest(label),
        )
    problems += check_case(image, label, case, classes or 256, image.shape[0])
    fits = label is not None and label.shape == image.shape[1:]
    channels = (
        [channel.ravel() for channel in image] if np.isfinite(image.sum(dtype=np.float64)) else []
    )
    return CaseFacts(
        case=case,
        shape=image.shape if channels else (),
        spacing=case.spacing,
        percentiles=tuple(_percentiles(channel) for channel in channels),
        mean_sd=tuple(_mean_sd(channel) for channel in channels),
        foreground=_foreground(image, label if fits else None),
        label_counts=_counts(label),
        digest=_digest(image),
        problems=tuple(problems),
        extremes=tuple((float(channel.min()), float(channel.max())) for channel in channels),
        label_digest=_digest(label),
    )


def _attempt(read: Callable[[], NDArray[Any]]) -> tuple[NDArray[Any] | None, list[Problem]]:
    try:
        return read(), []
    except UserError as error:
        return None, list(error.problems)


def _percentiles(channel: NDArray[np.float32]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(channel, PERCENTILES)
    return float(low), float(middle), float(high)


def _mean_sd(channel: NDArray[np.float32]) -> tuple[float, float]:
    """Return mean and standard deviation, in pieces: float64 squares would double the memory."""
    mean = float(channel.mean(dtype=np.float64))
    squares = sum(
        float(np.square(channel[at : at + 2**20] - mean, dtype=np.float64).sum())
        for at in range(0, channel.size, 2**20)
    )
    return mean, (squares / channel.size) ** 0.5


def _counts(label: NDArray[np.uint8] | None) -> dict[int, int]:
    """Return voxels by class value, slice by slice: bincount needs eight bytes per voxel."""
    if label is None:
        return {}
    total = np.zeros(256, np.int64)
    for part in label:
        total += np.bincount(part.ravel(), minlength=256)
    return {int(value): int(total[value]) for value in np.flatnonzero(total)}


def _foreground(image: NDArray[np.float32], label: NDArray[np.uint8] | None) -> NDArray[np.float32]:
    """Return intensities (C, n) of at most 10,000 foreground voxels, without replacement."""
    if label is None:
        return np.zeros((image.shape[0], 0), np.float32)
    places = np.flatnonzero(label)
    if len(places) > MOST_FOREGROUND:
        places = Randomness(0).host("foreground").choice(places, MOST_FOREGROUND, replace=False)
    return image.reshape(image.shape[0], -1)[:, places]


def _digest(array: NDArray[Any] | None) -> str:
    if array is None:
        return ""
    digest = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
