"""What a case holds, measured in one reading: the facts from which a data set is checked and a plan is made."""

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
"""Voxels of a case's foreground that are kept: enough for percentiles over a whole data set."""
PERCENTILES = (0.5, 50, 99.5)
NO_FOREGROUND: NDArray[np.float32] = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class CaseFacts:
    """What one reading of a case tells. Where the image could not be read or holds NaN, all but ``case`` and ``problems`` is empty.

    shape: of the image, (C, *S), in the order in which ``Case.read_image`` gives it. spacing: mm, one number an axis of S, or None.
    percentiles: a channel, the 0.5th, 50th and 99.5th percentile of all voxels. mean_sd, extremes: a channel, mean and standard
    deviation, smallest and largest value, over all voxels. foreground: (C, n), the intensities of at most 10,000 foreground voxels of
    a labelled case, drawn with a fixed seed; (C, 0) without. label_counts: voxels by class value, {} without a label that can be read.
    digest, label_digest: of the content, to find duplicates; "" without. problems: what makes this one case unusable.
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
        """0 where the image could not be read."""
        return self.shape[0] if self.shape else 0


def inspect(
    cases: Sequence[Case],
    classes: int | None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[CaseFacts]:
    """The facts of each case, in their order. Reads in parallel threads; ``progress`` is told (done, total)."""
    facts = []
    # Four at most: each holds a scan and its copies for sorting, about 1 GiB for one of 512 x 512 x 300 voxels.
    pool = ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1))
    try:
        for done, found in enumerate(
            pool.map(lambda case: inspect_case(case, classes), cases), start=1
        ):
            facts.append(found)
            if progress:
                progress(done, len(cases))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C doesn't wait for the rest of the cases
    return facts


def inspect_case(case: Case, classes: int | None) -> CaseFacts:
    """The facts of one case; every problem is collected and none raised.

    classes: label values from there on are a problem; None accepts every class value.
    """
    image, problems = _attempt(case.read_image)
    label, label_problems = _attempt(case.read_label) if case.read_label else (None, [])
    problems = list(
        dict.fromkeys(problems + label_problems)
    )  # a damaged scan fails its label's reading too
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
    """A piece at a time: squares in float64 of a whole scan would take twice its memory."""
    mean = float(channel.mean(dtype=np.float64))
    squares = sum(
        float(np.square(channel[at : at + 2**20] - mean, dtype=np.float64).sum())
        for at in range(0, channel.size, 2**20)
    )
    return mean, (squares / channel.size) ** 0.5


def _counts(label: NDArray[np.uint8] | None) -> dict[int, int]:
    """Voxels by class value. A slice at a time: bincount takes eight bytes a voxel."""
    if label is None:
        return {}
    total = np.zeros(256, np.int64)
    for part in label:
        total += np.bincount(part.ravel(), minlength=256)
    return {int(value): int(total[value]) for value in np.flatnonzero(total)}


def _foreground(image: NDArray[np.float32], label: NDArray[np.uint8] | None) -> NDArray[np.float32]:
    """(C, n): the intensities of at most 10,000 foreground voxels, drawn without replacement."""
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
