"""One case, read once: its problems, and its facts for the check of a data set and for the plan."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, UserError
from crossview.core.partial import IGNORED, PartialLabels
from crossview.core.progress import Progress
from crossview.core.rng import Randomness
from crossview.core.text import values_in_words
from crossview.core.threads import ThreadPool
from crossview.data.case import Case
from crossview.data.checks.fill import Fill, fill_of
from crossview.data.checks.grey_edges import has_grey_edges
from crossview.data.checks.hounsfield import LOWEST_HU, air_of, scanned
from crossview.data.checks.likeness import NONE, Likeness, likeness
from crossview.data.io.scan import count_not_finite
from crossview.data.io.storage import Storage
from crossview.data.padding import unpadded

MOST_FOREGROUND = 10_000
"""Most foreground voxels kept per case: enough for percentiles over a whole data set."""

PERCENTILES = (0.5, 50, 99.5)

NO_CLASSES = "the label has values outside the classes"


@dataclass(frozen=True, eq=False)
class ReadCase:
    """A case in memory, with all its problems.

    image: (C, *S), None if it cannot be read. label: (*S), None without a readable label.
    """

    image: NDArray[np.float32] | None
    label: NDArray[np.uint8] | None
    problems: list[Problem]


def read_case(case: Case, classes: int, channels: int | None = None) -> ReadCase:
    """Read a case. Problems are collected, not raised.

    Beside those of reading they concern channels, shapes, NaN or infinite values, and label values
    outside the classes.

    Args:
        case: The case.
        classes: Label values from here on are a problem.
        channels: Number of channels to expect, None for any.
    """
    image, problems = _attempt(case.read_image)
    label, more = _attempt(case.read_label) if case.read_label else (None, [])
    if image is not None:
        named = None if label is None else case.classes_of(label)
        more += _problems(image, named, case.where, classes, channels or image.shape[0])
    # A damaged scan makes reading its label fail too.
    return ReadCase(image, label, list(dict.fromkeys(problems + more)))


def _attempt(read: Callable[[], NDArray[Any]]) -> tuple[NDArray[Any] | None, list[Problem]]:
    try:
        return read(), []
    except UserError as error:
        return None, list(error.problems)


def _problems(
    image: NDArray[np.float32],
    label: NDArray[np.uint8] | None,
    where: str,
    classes: int,
    channels: int,
) -> list[Problem]:
    problems = []

    def note(what: str, found: str, expected: str, fix: str) -> None:
        problems.append(Problem(what, where, found, expected, fix))

    if image.ndim not in (3, 4) or image.shape[0] != channels:
        expected = f"{channels} channel(s), then two or three axes"
        fix = "give every case the same channels"
        note("the image has an unexpected shape", str(image.shape), expected, fix)
    if bad := count_not_finite(image):
        what, found = "the image contains values that are not numbers", f"{bad} NaN or infinite"
        note(what, f"{found} voxels", "finite values", "repair the image or exclude the case")
    if label is not None and label.shape != image.shape[1:]:
        found = f"image {image.shape[1:]}, label {label.shape}"
        fix = "use the label that belongs to this image"
        note("image and label differ in shape", found, "the same shape", fix)
    if label is not None and label.size and int(label.max()) >= classes:
        found = values_in_words(np.unique(label).tolist())
        fix = "correct the label file or data.classes"
        note(NO_CLASSES, found, f"0 to {classes - 1}", fix)
    return problems


@dataclass(frozen=True)
class CaseFacts:
    """Facts of one case.

    If the image cannot be read or contains NaN, all facts about it are empty.

    Attributes:
        case: The case.
        problems: Problems that make this case unusable.
        shape: Shape of the image, (C, *S), in the order of ``Case.read_image``.
        spacing: Voxel spacing in mm, one number per axis of S, or None.
        percentiles: Per channel, the 0.5th, 50th and 99.5th percentile of all voxels.
        hounsfield: The same of a CT, without values far below air that fill what was not scanned.
        air: Per channel, a low value, which is that of air in CT; see ``air_of``.
        mean_sd: Per channel, mean and standard deviation of all voxels.
        extremes: Per channel, the smallest and the largest value of all voxels.
        fills: Per channel, the value that fills the scan's margin if it lies far below the rest.
        signal: Per channel, the share of voxels that differ from the 0.5th percentile if the 99.5th
            is the same; else 1.
        foreground: (C, n), intensities of at most 10,000 foreground voxels of a labelled case,
            drawn with a fixed seed; (C, 0) for an unlabelled case.
        label_counts: Voxels by class value; {} without a readable label.
        ignored: Voxels of the label that nobody labelled.
        border_labelled: True if foreground is labelled in the image's constant border.
        encloses: True if the label is foreground all around its background.
        digest: Digest of the image's content, to find duplicates, or "".
        label_digest: Digest of the label's content, or "".
        grey_edges: True if the label is a mask with grey edges, not a map of classes.
        likeness: Signatures of the image, to find it saved in another way.
        storage: How the image's file stores its pixels, None for a format without such facts.
        label_storage: Likewise for the label's file.
    """

    case: Case
    problems: tuple[Problem, ...] = ()
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] | None = None
    percentiles: tuple[tuple[float, float, float], ...] = ()
    hounsfield: tuple[tuple[float, float, float], ...] = ()
    air: tuple[float, ...] = ()
    mean_sd: tuple[tuple[float, float], ...] = ()
    extremes: tuple[tuple[float, float], ...] = ()
    fills: tuple[Fill | None, ...] = ()
    signal: tuple[float, ...] = ()
    foreground: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    label_counts: dict[int, int] = field(default_factory=dict)
    ignored: int = 0
    border_labelled: bool = False
    encloses: bool = False
    digest: str = ""
    label_digest: str = ""
    grey_edges: bool = False
    likeness: Likeness = NONE
    storage: Storage | None = None
    label_storage: Storage | None = None

    @property
    def channels(self) -> int:
        """Number of channels; 0 if the image could not be read."""
        return self.shape[0] if self.shape else 0

    @property
    def constant(self) -> bool:
        """True if every channel has a single value."""
        return bool(self.extremes) and all(low == high for low, high in self.extremes)


def inspect(
    cases: Sequence[Case],
    classes: int | None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[CaseFacts]:
    """Return the facts of each case, in order, read by threads. Calls ``progress(done, total)``."""
    facts = []
    # At most four: each holds a scan and its copies for sorting, about 1 GiB for
    # 512 x 512 x 300 voxels.
    pool = ThreadPool(workers or min(4, os.cpu_count() or 1))
    try:
        found = pool.map(lambda case: inspect_case(case, classes), cases)
        for done, of_case in enumerate(found, start=1):
            facts.append(of_case)
            if progress:
                progress(done, len(cases))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the remaining cases
    return facts


def inspect_case(case: Case, classes: int | None) -> CaseFacts:
    """Return the facts of one case. Problems are collected, not raised.

    classes: Label values from here on are a problem; None accepts every value.
    """
    read = read_case(case, classes or 256)
    image, label = read.image, None if read.label is None else case.classes_of(read.label)
    counts, ignored = _counts(read.label, case.partial)
    grey = label is not None and has_grey_edges(label, counts)
    of_label = CaseFacts(
        case,
        # Grey edges are told once for all cases, in their own words.
        tuple(problem for problem in read.problems if not (grey and problem.what == NO_CLASSES)),
        label_counts=counts,
        ignored=ignored,
        label_digest=_digest(read.label),
        encloses=label is not None and _encloses(label),
        grey_edges=grey,
    )
    if image is None:
        return of_label
    storage, label_storage = case.read_storage() if case.read_storage else (None, None)
    finite = bool(np.isfinite(image.sum(dtype=np.float64)))
    channels = [channel.ravel() for channel in image] if finite else []
    fits = label is not None and label.shape == image.shape[1:]
    percentiles = tuple(_percentiles(channel) for channel in channels)
    return replace(
        of_label,
        shape=image.shape if finite else (),
        spacing=case.spacing,
        percentiles=percentiles,
        hounsfield=tuple(
            _percentiles(scanned(channel)) if found[0] < LOWEST_HU else found
            for channel, found in zip(channels, percentiles, strict=True)
        ),
        air=tuple(map(air_of, channels)),
        mean_sd=tuple(_mean_sd(channel) for channel in channels),
        extremes=tuple((float(channel.min()), float(channel.max())) for channel in channels),
        fills=tuple(fill_of(channel) for channel in channels),
        signal=tuple(map(_signal, channels, percentiles)),
        foreground=_foreground(image, label if fits else None),
        border_labelled=label is not None and fits and finite and _border_labelled(image, label),
        digest=_digest(image),
        likeness=likeness(image) if finite else NONE,
        storage=storage,
        label_storage=label_storage,
    )


def _percentiles(channel: NDArray[np.float32]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(channel, PERCENTILES)
    return float(low), float(middle), float(high)


def _signal(channel: NDArray[np.float32], percentiles: tuple[float, float, float]) -> float:
    low, _, high = percentiles
    return 1.0 if low < high else float(np.count_nonzero(channel != low) / channel.size)


def _mean_sd(channel: NDArray[np.float32]) -> tuple[float, float]:
    """Return mean and standard deviation, in pieces: float64 squares would double the memory."""
    mean = float(channel.mean(dtype=np.float64))
    squares = sum(
        float(np.square(channel[at : at + 2**20] - mean, dtype=np.float64).sum())
        for at in range(0, channel.size, 2**20)
    )
    return mean, (squares / channel.size) ** 0.5


def _counts(
    label: NDArray[np.uint8] | None, partial: PartialLabels | None
) -> tuple[dict[int, int], int]:
    """Return voxels by class value, and those that nobody labelled.

    A voxel that can be of a class nobody looked for counts as background. Slice by slice: bincount
    needs eight bytes per voxel.
    """
    if label is None:
        return {}, 0
    total = np.zeros(256, np.int64)
    for part in label:
        total += np.bincount(part.ravel(), minlength=256)
    ignored = 0
    if partial is not None:
        ignored, total[0] = int(total[IGNORED]), total[0] + total[partial.lowest : IGNORED].sum()
        total[partial.lowest :] = 0
    return {int(value): int(total[value]) for value in np.flatnonzero(total)}, ignored


def _foreground(image: NDArray[np.float32], label: NDArray[np.uint8] | None) -> NDArray[np.float32]:
    """Return intensities (C, n) of at most 10,000 foreground voxels, without replacement."""
    if label is None:
        return np.zeros((image.shape[0], 0), np.float32)
    places = np.flatnonzero(label)
    if len(places) > MOST_FOREGROUND:
        places = Randomness(0).host("foreground").choice(places, MOST_FOREGROUND, replace=False)
    return image.reshape(image.shape[0], -1)[:, places]


def _border_labelled(image: NDArray[np.float32], label: NDArray[np.uint8]) -> bool:
    inside = label[unpadded(image)]
    return inside.size < label.size and bool(np.count_nonzero(inside) < np.count_nonzero(label))


def _encloses(label: NDArray[np.uint8]) -> bool:
    """Return True if there is background, and none of it in the outermost rows and columns.

    Of a volume those of its slices count: a structure may pass through the first and the last one.
    """
    inner = min(range(label.ndim), key=lambda axis: label.shape[axis]) if label.ndim > 2 else -1
    planes = (
        label.take(end, axis) for axis in range(label.ndim) if axis != inner for end in (0, -1)
    )
    return bool(label.size and not label.all() and all(plane.all() for plane in planes))


def _digest(array: NDArray[Any] | None) -> str:
    if array is None:
        return ""
    digest = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
