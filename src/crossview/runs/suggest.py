"""The verb suggest: choose the unlabelled scans to label next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, UserError
from crossview.core.files import write_text
from crossview.core.progress import Progress
from crossview.data.case import Case
from crossview.data.preprocess import Preprocessing
from crossview.evaluation.doubt import Suggestion, choose, describe, doubts
from crossview.inference.predict import Prediction, Predictor
from crossview.reporting.pictures.suggestions import Shown, suggestion_sheet
from crossview.runs.prepare import find_splits, preprocessing_of
from crossview.runs.run import Run, load_method, make_predictor, stored_precision
from crossview.training.device import find_device, set_kernels

Image = NDArray[np.float32]


def suggest(
    run: Run | Path | str,
    data: Path | str | None = None,
    *,
    count: int = 5,
    out: Path | str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[Suggestion]:
    """Suggest the unlabelled scans to label next, the most uncertain first, no two alike.

    Writes ``suggest.json`` and the pictures ``suggest.png``.
    :mod:`crossview.evaluation.suggest` describes the choice.

    Args:
        run: A run, or its folder.
        data: The folder of the data. Default: the folder that the run was trained on.
        count: Number of scans to suggest.
        out: The folder of the files. Default: RUN/suggest.
        device: "auto", "cpu", "cuda", "cuda:1" ...
        progress: Called with (done, total).

    Returns:
        The suggestions.

    Raises:
        UserError: If the data set has no unlabelled scans, or one cannot be read.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if count < 1:
        raise UserError(Problem("the number of scans is too small", "-n", str(count), "1 or more"))
    recipe, root = run.recipe, run.data_root(data)
    splits = find_splits(recipe, root)
    if not splits.unlabelled:
        raise UserError(
            Problem(
                "every scan of this data set is labelled",
                str(root or recipe.data.source),
                fix="add scans without labels",
            )
        )
    where = find_device(device)
    set_kernels(deterministic=False)
    method, _ = load_method(recipe, run.checkpoint(None), splits.channels, where)
    predictor = make_predictor(recipe, method, where, stored_precision(recipe), progress)
    preprocessing = preprocessing_of(recipe, splits)
    images, seen = tee((case.read_image() for case in splits.unlabelled), 2)
    found = list(
        doubts(
            splits.unlabelled,
            images,
            _predictions(predictor, splits.unlabelled, seen, preprocessing),
        )
    )
    labelled = [
        (case.id, describe(case.read_image(), case.read_label()))
        for case in splits.labelled
        if case.read_label
    ]
    chosen = choose(found, labelled, count)
    cases = {case.id: case for case in splits.unlabelled}
    shown = [cases[each.case] for each in chosen]
    read = [case.read_image() for case in shown]
    drawn = zip(
        chosen, shown, read, _predictions(predictor, shown, read, preprocessing), strict=True
    )
    folder = Path(out) if out is not None else run.path / "suggest"
    folder.mkdir(parents=True, exist_ok=True)
    suggestion_sheet(
        (Shown(told, image, prediction, case.affine) for told, case, image, prediction in drawn),
        folder / "suggest.png",
        slice_axis=0 if len(recipe.data.patch) == 2 else -1,
        names=dict(enumerate(splits.class_names)),
    )
    write_text(
        folder / "suggest.json",
        json.dumps(_as_json(run, chosen, [(each.case.id, each.score) for each in found]), indent=1)
        + "\n",
    )
    return chosen


def _predictions(
    predictor: Predictor,
    cases: Sequence[Case],
    images: Iterator[Image] | Sequence[Image],
    preprocessing: Preprocessing,
) -> Iterator[Prediction]:
    """Yield the cases' predictions on their own grids."""
    first, second = tee(images, 2)
    ready = (
        preprocessing.image(image, case.spacing, f"{case.id} ({case.file})")
        for case, image in zip(cases, first, strict=True)
    )
    return predictor.predict(ready, (image.shape[1:] for image in second))


def _as_json(
    run: Run, chosen: Sequence[Suggestion], scores: Sequence[tuple[str, float]]
) -> dict[str, Any]:
    """Return suggest.json: the suggestions, and every unlabelled scan's doubt, highest first."""
    suggestions = [
        {**asdict(each), "distance": None if np.isnan(each.distance) else each.distance}
        for each in chosen
    ]
    ranked = sorted(scores, key=lambda each: -each[1])
    return {"run": str(run.path), "suggestions": suggestions, "doubt": dict(ranked)}
