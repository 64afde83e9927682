"""Prediction and scoring of the cases of a split.

Cases are read when the predictor asks for them. They are scored in threads while it predicts the
next ones; the slow parts of the metrics run outside Python's lock. Memory therefore holds only a
few cases, and the device does not wait for distances.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, UserError, fail, raise_all
from crossview.core.files import folder_written_whole, write_text
from crossview.core.progress import Progress
from crossview.core.regions import voxels_of
from crossview.core.run_folder import EXPECTED
from crossview.core.threads import ThreadPool
from crossview.data.case import Case, Splits
from crossview.data.checks.case import read_case
from crossview.data.preprocess import AS_STORED, Preprocessing
from crossview.evaluation.bootstrap import mean_of_means
from crossview.evaluation.estimate import recorded
from crossview.evaluation.metrics import Mask, Measures, measure, overlap
from crossview.evaluation.scores import COMBINED, OTHER_CLEAN_UP, Header, Score, Summary, write
from crossview.evaluation.summary import summarise
from crossview.inference.items import CaseItem
from crossview.inference.predict import Prediction, Predictor

Image = NDArray[np.float32]

Label = NDArray[np.uint8]

OnCase = Callable[[Case, Image, Label, Prediction, Path | None], None]
"""Called with a case, its image, label and prediction, and the folder being written, if any."""


def evaluate(
    predictor: Predictor,
    cases: Sequence[Case],
    splits: Splits,
    *,
    out: Path | None,
    header: Header,
    preprocessing: Preprocessing = AS_STORED,
    notes: Callable[[], Sequence[str]] = tuple,
    on_case: OnCase | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Predict and score cases, and return the summary.

    With ``out``, the summary and ``cases.csv`` are written to it. That folder is built next to
    ``out`` and replaces it, with all that on_case wrote there, once it is complete; the old folder
    is then removed.

    Args:
        predictor: Predicts the images.
        cases: Labelled cases of the data set.
        splits: The data set: its classes, channels and unit ("mm" to score with each case's
            spacing, "voxel" to score without).
        out: The folder to write, or None.
        header: What the summary says of the run. Notes on failed predictions are added.
        notes: Called once all cases have been read; gives more notes, which come first.
        preprocessing: Applied to the predictor's images. Scores are on the cases' own grids.
        on_case: Called after each prediction with (case, image, label, prediction, folder).
        progress: Called with (done, all).

    Returns:
        The summary, as written to ``summary.json``.

    Raises:
        UserError: If cases have no label or do not fit; names them all. ``out`` is then unchanged.
    """
    started = time.perf_counter()
    if splits.unit == "mm":
        raise_all([_no_spacing(case) for case in cases if case.spacing is None])
    told, dimensions, partly = list(header.get("notes", ())), 3, 0
    scores: list[Future[list[Score]]] = []
    expected: dict[str, float] = {}
    workers = max(1, min(8, (os.cpu_count() or 1) - 1))
    aside = nullcontext() if out is None else folder_written_whole(out)
    with aside as folder, ThreadPool(workers) as pool:
        for item, label, prediction in predicted(predictor, cases, splits, preprocessing):
            dimensions = label.ndim
            # Without the probabilities: they are several times as large.
            labels = {COMBINED: prediction.label, OTHER_CLEAN_UP: prediction.other}
            labels |= prediction.views
            expected[item.case.id] = prediction.expected
            scores.append(pool.submit(score_case, item.case, label, labels, splits))
            if len(scores) > 2 * workers:
                scores[-2 * workers - 1].result()  # few cases wait in memory at a time
            partly += item.case.partial is not None and item.case.partial.are_in(label)
            if not prediction.finite:
                told.append(
                    f"{item.case.id}: the network returned NaN or infinity, so its prediction is "
                    "meaningless"
                )
            if on_case is not None:
                on_case(item.case, item.stored, label, prediction, folder)
            if progress is not None:
                progress(len(scores), len(cases))
        if partly:
            told.append(partly_labelled(partly, len(cases)))
        found = [score for of_case in scores for score in of_case.result()]
        summary = summarise(
            found,
            class_names=splits.scored_names,
            unit=splits.unit,
            header={**header, "notes": [*notes(), *told], "dimensions": dimensions},
            seconds=time.perf_counter() - started,
        )
        if folder is not None:
            write(folder, summary, found)
            step = header.get("step", 0)
            write_text(folder / EXPECTED, recorded(found, expected, step))
    return summary


def partly_labelled(number: int, of: int) -> str:
    """Return the note on cases in which the class of some voxels is not known."""
    return (
        f"{number} of {of} cases {'is' if number == 1 else 'are'} labelled in part: voxels without "
        "a label are not scored, and surfaces next to them not measured."
    )


def quick_dice(
    predictor: Predictor,
    cases: Sequence[Case],
    splits: Splits,
    preprocessing: Preprocessing = AS_STORED,
) -> Summary:
    """Return Dice only, for scoring during training.

    Every case counts the same. A class that is empty in a case's prediction and truth does not
    count there; its Dice is NaN if it never counts.

    Returns:
        {"classes": {"1": float}, "mean": float, "views": {name: {"1": float, "mean": float}}}.
    """
    found: dict[str, list[list[float]]] = {}
    scored = [splits.members(number) for number in range(1, len(splits.scored_names))]
    for item, label, prediction in predicted(predictor, cases, splits, preprocessing):
        for view, predicted_label in {COMBINED: prediction.label, **prediction.views}.items():
            dice = [
                overlap(*masks(item.case, label, predicted_label, classes)[:2])[0]
                for classes in scored
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
    predictor: Predictor, cases: Sequence[Case], splits: Splits, preprocessing: Preprocessing
) -> Iterator[tuple[CaseItem, Label, Prediction]]:
    """Yield every case with its label and prediction on its own grid, read lazily.

    Raises:
        UserError: With the problems of all cases that cannot be scored.
    """
    if not cases:
        fail("there are no cases to score", expected="at least one labelled case")

    def items() -> Iterator[CaseItem]:
        for index, case in enumerate(cases):
            image, label, problems = _read(case, splits)
            if image is None or problems:
                later = [_read(other, splits)[2] for other in cases[index + 1 :]]
                raise UserError([*problems, *itertools.chain(*later)])
            yield CaseItem(case, image, preprocessing, label)

    for item, prediction in predictor.predict(items()):
        assert item.label is not None  # _read names cases without one
        yield item, item.label, prediction


def _read(case: Case, splits: Splits) -> tuple[Image | None, Label | None, list[Problem]]:
    """Return a case's image, its label and its problems."""
    read = read_case(case, splits.classes, splits.channels)
    problems = read.problems
    if case.read_label is None:
        what, fix = (
            "the case has no label to score against",
            "add a label, or use crossview predict",
        )
        problems.append(Problem(what, case.where, fix=fix))
    elif read.label is not None and not scored_classes(case, read.label, splits):
        what, fix = "nobody labelled a voxel of the case", "label some, or use crossview predict"
        problems.append(Problem(what, case.where, fix=fix))
    return read.image, read.label, problems


def _no_spacing(case: Case) -> Problem:
    what = "distances in mm need the voxel spacing, and the file has none"
    fix = "use a format that stores the voxel spacing, or measure distances in voxels"
    return Problem(what, case.where, fix=fix)


def score_case(
    case: Case, label: Label, predictions: Mapping[str, Label], splits: Splits
) -> list[Score]:
    """Return the scores of all predictions (*S), by view, of one case with its label (*S)."""
    spacing = case.spacing if splits.unit == "mm" else None

    def measures(predicted_label: Label, label_class: int) -> Measures:
        prediction, truth, unknown = masks(
            case, label, predicted_label, splits.members(label_class)
        )
        return measure(prediction, truth, spacing, unknown)

    return [
        Score(case.id, case.patient, view, label_class, measures(predicted_label, label_class))
        for view, predicted_label in predictions.items()
        for label_class in scored_classes(case, label, splits)
    ]


def scored_classes(case: Case, label: Label, splits: Splits) -> list[int]:
    """Return the foreground classes, or regions, that a label says something about."""
    every, partial = range(1, len(splits.scored_names)), case.partial
    return [
        each
        for each in every
        if partial is None or not partial.unknown(label, splits.members(each)[0]).all()
    ]


def masks(
    case: Case, label: Label, prediction: Label, classes: Sequence[int]
) -> tuple[Mask, Mask, Mask | None]:
    """Return prediction and truth of some classes together where known, and where not, or None."""
    mine, true = voxels_of(prediction, classes), voxels_of(label, classes)
    if case.partial is None or not case.partial.are_in(label):
        return mine, true, None
    unknown = case.partial.unknown(label, classes[0])
    return mine & ~unknown, true, unknown
