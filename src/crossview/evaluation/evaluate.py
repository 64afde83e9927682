"""Predict the cases of a split and score them.

Cases are read as the predictor asks for them and scored in threads while it goes on with the next ones (what metrics wait for runs
outside Python's lock), so memory holds a few cases and the device does not wait for distances.
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
    """What is scored of a prediction: labels (*S) of the method, of each view, and with the clean-up the other way."""

    @property
    def label(self) -> Label: ...
    @property
    def views(self) -> Mapping[str, Label]: ...
    @property
    def other(self) -> Label: ...
    @property
    def finite(self) -> bool: ...


class Predictor(Protocol):
    """Maps images (C, *S) to predictions, in order, on the grids ``shapes``; it may read a few images ahead."""

    def predict(
        self, images: Iterable[Image], shapes: Iterable[Sequence[int]], /
    ) -> Iterator[Any]: ...


OnCase = Callable[[Case, Image, Label, Any, Path | None], None]
"""Given a case, its image, label and prediction, and the folder that the evaluation is being written to, if any."""
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
    """Predict and score cases; the summary, which is written with ``cases.csv`` where a folder ``out`` is given.

    classes counts the background; class_names has one name for each. unit: "mm" scores with each case's spacing, "voxel" without.
    channels: of every image; left out, the first image's. preprocessing: of the images for the predictor; predictions are scored on the
    cases' own grids. header: of the run; notes grow by what went wrong with a prediction.
    on_case is called after each prediction with (case, image, label, prediction, folder); progress with (done, all). The folder is
    built beside ``out`` and takes its place, with all that on_case wrote there, once it is whole; the old folder is removed then.
    UserError, naming all of them, if cases have no label or do not fit; ``out`` stays as it was then.
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
    """An empty folder beside ``out`` to write to; it replaces ``out`` at the end, and is removed if anything fails."""
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
    """The scores of all cases, in order, and what went wrong with a prediction."""
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
                    f"{case.id}: the network answered with NaN or infinity, so its prediction means nothing"
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
    """Dice only, for scoring during training: {"classes": {"1": float}, "mean": float, "views": {name: {"1": float, "mean": float}}}.

    Every case counts the same; a class that is empty in prediction and truth of a case does not count there (NaN if it never does).
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
    """Every case with its image, label and prediction, on its own grid, read lazily. UserError naming all cases that can't be scored."""
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
    """A case's image and label, and what is wrong with them."""
    try:
        image = case.read_image()
        if case.read_label is None:
            problem = Problem(
                "the case has no label to be scored against",
                f"{case.id} ({case.file})",
                fix="give a label, or use predict",
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
    fix = "use a format that stores the voxel sides, or distances in voxels"
    return Problem(
        "distances in mm need the spacing, and the file has none",
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
    """The scores of all predictions (*S), by view, of one case with its label (*S)."""
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
