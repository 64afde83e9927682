"""Prediction and scoring of the cases of a split.

Cases are read when the predictor asks for them. They are scored in threads while it predicts the
next ones; the slow parts of the metrics run outside Python's lock. Memory therefore holds only a
few cases, and the device does not wait for distances.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import tee
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crossview.data.case import Case
from crossview.data.check import check_case
from crossview.data.preprocess import AS_STORED, Preprocessing
from crossview.errors import Problem, UserError, raise_all
from crossview.evaluation.bootstrap import mean_of_means
from crossview.evaluation.metrics import measure, overlap
from crossview.evaluation.scores import (
    COMBINED,
    OTHER_CLEAN_UP,
    Header,
    Score,
    Summary,
    summarise,
    write,
)

Image = NDArray[np.float32]
Label = NDArray[np.uint8]


class Prediction(Protocol):
    """Scored labels (*S) of a method: its own, each view's, and its own with the other clean-up."""

    @property
    def label(self) -> Label: ...
    @property
    def views(self) -> Mapping[str, Label]: ...
    @property
    def other(self) -> Label: ...
    @property
    def finite(self) -> bool: ...


class Predictor(Protocol):
    """A map from images (C, *S) to predictions, in order, on the grids ``shapes``.

    It may read a few images ahead.
    """

    def predict(
        self, images: Iterable[Image], shapes: Iterable[Sequence[int]], /
    ) -> Iterator[Any]: ...


OnCase = Callable[[Case, Image, Label, Any, Path | None], None]
"""Called with a case, its image, label and prediction, and the folder being written, if any."""
Progress = Callable[[int, int], None]


def evaluate(
    predictor: Predictor,
    cases: Sequence[Case],
    *,
    classes: int,
    class_names: Sequence[str],
    unit: str,
    out: Path | None,
    header: Header,
    channels: int | None = None,
    preprocessing: Preprocessing = AS_STORED,
    on_case: OnCase | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Predict and score cases, and return the summary.

    With ``out``, the summary and ``cases.csv`` are written to it. That folder is built next to
    ``out`` and replaces it, with all that on_case wrote there, once it is complete; the old folder
    is then removed.

    Args:
        predictor: Predicts the images.
        cases: Labelled cases.
        classes: Number of classes with the background.
        class_names: One name per class.
        unit: "mm" to score with each case's spacing, "voxel" to score without.
        out: The folder to write, or None.
        header: What the summary says of the run. Notes on failed predictions are added.
        channels: Channels of every image. By default those of the first image.
        preprocessing: Applied to the predictor's images. Scores are on the cases' own grids.
        on_case: Called after each prediction with (case, image, label, prediction, folder).
        progress: Called with (done, all).

    Returns:
        The summary, as written to ``summary.json``.

    Raises:
        UserError: If cases have no label or do not fit; names them all. ``out`` is then unchanged.
    """
    started = time.perf_counter()
    if unit == "mm":
        raise_all([_no_spacing(case) for case in cases if case.spacing is None])
    with _replaced_whole(out) as folder:
        scores, notes = _score_all(
            predictor, cases, classes, channels, preprocessing, unit, folder, on_case, progress
        )
        header = {**header, "notes": [*header.get("notes", ()), *notes]}
        summary = summarise(
            scores,
            class_names=class_names,
            unit=unit,
            header=header,
            seconds=time.perf_counter() - started,
        )
        if folder is not None:
            write(folder, summary, scores)
    return summary


@contextmanager
def _replaced_whole(out: Path | None) -> Iterator[Path | None]:
    """Yield an empty folder next to ``out`` to write to.

    It replaces ``out`` at the end, and is removed if anything fails.
    """
    if out is None:
        yield None
        return
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if out.exists():
            shutil.rmtree(out)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _score_all(
    predictor: Predictor,
    cases: Sequence[Case],
    classes: int,
    channels: int | None,
    preprocessing: Preprocessing,
    unit: str,
    folder: Path | None,
    on_case: OnCase | None,
    progress: Progress | None,
) -> tuple[list[Score], list[str]]:
    """Return the scores of all cases, in order, and notes on failed predictions."""
    scores: list[list[Score]] = []
    notes: list[str] = []
    waiting: deque[Future[list[Score]]] = deque()
    workers = max(1, min(8, (os.cpu_count() or 1) - 1))
    with ThreadPoolExecutor(workers) as pool:
        for case, image, label, prediction in predicted(
            predictor, cases, classes, channels, preprocessing
        ):
            spacing = case.spacing if unit == "mm" else None
            waiting.append(
                pool.submit(score_case, case, label, _labels(prediction), classes, spacing)
            )
            if not prediction.finite:
                notes.append(
                    f"{case.id}: the network returned NaN or infinity, so its prediction is "
                    "meaningless"
                )
            if on_case is not None:
                on_case(case, image, label, prediction, folder)
            while len(waiting) > 2 * workers or (waiting and waiting[0].done()):
                scores.append(waiting.popleft().result())
            if progress is not None:
                progress(len(scores) + len(waiting), len(cases))
        scores.extend(future.result() for future in waiting)
    return [score for of_case in scores for score in of_case], notes


def quick_dice(
    predictor: Predictor,
    cases: Sequence[Case],
    classes: int,
    channels: int | None = None,
    preprocessing: Preprocessing = AS_STORED,
) -> Summary:
    """Return Dice only, for scoring during training.

    Every case counts the same. A class that is empty in a case's prediction and truth does not
    count there; its Dice is NaN if it never counts.

    Returns:
        {"classes": {"1": float}, "mean": float, "views": {name: {"1": float, "mean": float}}}.
    """
    found: dict[str, list[list[float]]] = {}
    for _, _, label, prediction in predicted(predictor, cases, classes, channels, preprocessing):
        for view, predicted_label in {COMBINED: prediction.label, **prediction.views}.items():
            dice = [
                overlap(predicted_label == label_class, label == label_class)[0]
                for label_class in range(1, classes)
            ]
            found.setdefault(view, []).append(dice)
    means = {view: _dice_means(np.array(rows)) for view, rows in found.items()}
    combined = means.pop(COMBINED)
    mean = combined.pop("mean")
    return {"classes": combined, "mean": mean, "views": means}


def _dice_means(values: NDArray[np.float64]) -> dict[str, float]:
    classes = {
        str(index + 1): mean_of_means(values[:, [index]]) for index in range(values.shape[1])
    }
    return {**classes, "mean": mean_of_means(values)}


def predicted(
    predictor: Predictor,
    cases: Sequence[Case],
    classes: int,
    channels: int | None,
    preprocessing: Preprocessing,
) -> Iterator[tuple[Case, Image, Label, Any]]:
    """Yield every case with its image, label and prediction on its own grid, read lazily.

    Raises:
        UserError: With the problems of all cases that cannot be scored.
    """
    if not cases:
        raise UserError(
            Problem("there are no cases to score", expected="at least one labelled case")
        )

    def read() -> Iterator[tuple[Case, Image, Label]]:
        nonlocal channels
        for index, case in enumerate(cases):
            image, label, problems = _read(case, classes, channels)
            if label is None or problems:
                later = [
                    problem
                    for other in cases[index + 1 :]
                    for problem in _read(other, classes, channels)[2]
                ]
                raise UserError(problems + later)
            channels = len(image) if channels is None else channels
            yield case, image, label

    first, second, third = tee(read(), 3)
    images = (
        preprocessing.image(image, case.spacing, f"{case.id} ({case.file})")
        for case, image, _ in first
    )
    predictions = predictor.predict(images, (label.shape for _, _, label in second))
    for prediction, (case, image, label) in zip(predictions, third, strict=True):
        yield case, image, label, prediction


def _read(
    case: Case, classes: int, channels: int | None
) -> tuple[Image, Label | None, list[Problem]]:
    """Return a case's image, its label and its problems."""
    try:
        image = case.read_image()
        if case.read_label is None:
            problem = Problem(
                "the case has no label to score against",
                f"{case.id} ({case.file})",
                fix="add a label, or use crossview predict",
            )
            return image, None, [problem]
        label = case.read_label()
    except UserError as error:
        return np.empty(0, dtype=np.float32), None, list(error.problems)
    return (
        image,
        label,
        check_case(image, label, case, classes, len(image) if channels is None else channels),
    )


def _no_spacing(case: Case) -> Problem:
    fix = "use a format that stores the voxel spacing, or measure distances in voxels"
    return Problem(
        "distances in mm need the voxel spacing, and the file has none",
        f"{case.id} ({case.file})",
        fix=fix,
    )


def _labels(prediction: Prediction) -> dict[str, Label]:
    return {COMBINED: prediction.label, OTHER_CLEAN_UP: prediction.other, **prediction.views}


def score_case(
    case: Case,
    label: Label,
    predictions: Mapping[str, Label],
    classes: int,
    spacing: Sequence[float] | None,
) -> list[Score]:
    """Return the scores of all predictions (*S), by view, of one case with its label (*S)."""
    return [
        Score(
            case.id,
            case.patient,
            view,
            label_class,
            measure(prediction == label_class, label == label_class, spacing),
        )
        for view, prediction in predictions.items()
        for label_class in range(1, classes)
    ]
