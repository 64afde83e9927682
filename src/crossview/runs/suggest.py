"""The verb suggest: choose the unlabelled scans to label next."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from crossview.core.errors import fail
from crossview.core.files import check_writable, write_text
from crossview.core.progress import Progress
from crossview.data.case import Case
from crossview.evaluation.doubt import Doubt, Suggestion, choose, describe, doubt
from crossview.evaluation.estimate import estimate_of
from crossview.inference.items import CaseItem
from crossview.inference.predict import Prediction
from crossview.reporting.pictures.suggestions import Shown, suggestion_sheet
from crossview.runs.drafts import check_drafts, format_of, write_drafts
from crossview.runs.prepare import find_splits, preprocessing_of
from crossview.runs.run import Run, make_predictor, stored_precision
from crossview.runs.weights import load_method
from crossview.training.device import find_device, set_kernels


def suggest(
    run: Run | Path | str,
    data: Path | str | None = None,
    *,
    count: int = 5,
    out: Path | str | None = None,
    drafts: Path | str | None = None,
    form: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    remark: Callable[[str], None] = lambda _: None,
) -> list[Suggestion]:
    """Suggest the unlabelled scans to label next, the most uncertain first, no two alike.

    Writes ``suggest.json`` and the pictures ``suggest.png``.
    :mod:`crossview.evaluation.doubt` describes the choice.

    Args:
        run: A run, or its folder.
        data: The folder of the data. Default: the folder that the run was trained on.
        count: Number of scans to suggest.
        out: The folder of the files. Default: RUN/suggest.
        drafts: A new folder for a draft segmentation of each suggested scan, to be corrected, and
            a map of where the model is unsure. ``rounds.json`` in the data folder records them.
        form: Format of the drafts of volumes, as in :func:`crossview.predict`. Default: "seg.nrrd",
            or "nifti" if the extra ``formats`` is not installed.
        device: "auto", "cpu", "cuda", "cuda:1" ...
        progress: Called with (done, total).
        remark: Called with a line of what a user should know, such as an empty draft.

    Returns:
        The suggestions.

    Raises:
        UserError: If the data set has no unlabelled scans, or one cannot be read; or if ``drafts``
            is not empty, or is a folder of scans or labels; or if ``form`` does not fit the scans.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if count < 1:
        fail("the number of scans is too small", "-n", found=count, expected="1 or more")
    folder = Path(out) if out is not None else run.path / "suggest"
    check_writable(folder)
    recipe, root = run.recipe, run.data_root(data)
    place = None if drafts is None else Path(drafts)
    home = None if place is None else check_drafts(place, root, recipe.data.source)
    if place is None and form is not None:
        fail("--format is the format of drafts", "--format", found=form, fix="add --drafts DIR")
    splits = find_splits(recipe, root)
    if not splits.unlabelled:
        fail(
            "every scan of this data set is labelled",
            root or recipe.data.source,
            fix="add scans without labels",
        )
    if place is not None:
        form = format_of(form, recipe, splits, remark)
    where = find_device(device, "--device")
    set_kernels(deterministic=False)
    method, step = load_method(recipe, run.checkpoint(None), splits.channels, where)
    predictor = make_predictor(recipe, method, where, stored_precision(recipe), progress)
    preprocessing = preprocessing_of(recipe, splits)

    def predicted(cases: Sequence[Case]) -> Iterator[tuple[CaseItem, Prediction]]:
        return predictor.predict(CaseItem(case, case.read_image(), preprocessing) for case in cases)

    estimate, known = estimate_of(run, step)
    remark(known)
    found = [
        Doubt(
            item.case,
            doubt(prediction),
            describe(item.stored, prediction.label),
            estimate.of(prediction.expected) if estimate else None,
        )
        for item, prediction in predicted(splits.unlabelled)
    ]
    labelled = [
        (case.id, describe(case.read_image(), case.classes_of(case.read_label())))
        for case in splits.labelled
        if case.read_label
    ]
    chosen = choose(found, labelled, count)
    cases = {case.id: case for case in splits.unlabelled}
    shown = predicted([cases[each.case] for each in chosen])
    folder.mkdir(parents=True, exist_ok=True)
    suggestion_sheet(
        (
            Shown(suggestion, item.stored, prediction, item.case.affine)
            for suggestion, (item, prediction) in zip(chosen, shown, strict=True)
        ),
        folder / "suggest.png",
        slice_axis=0 if len(recipe.data.patch) == 2 else -1,
        names=dict(enumerate(splits.class_names)),
    )
    content = json.dumps(_as_json(run, chosen, found) | {"estimate": known}, indent=1)
    write_text(folder / "suggest.json", content + "\n")
    if place is not None and home is not None:
        write_drafts(
            *(run, home, splits, chosen, place),
            form=form,
            device=device,
            progress=progress,
            remark=remark,
        )
    return chosen


def _as_json(run: Run, chosen: Sequence[Suggestion], found: Sequence[Doubt]) -> dict[str, Any]:
    """Return suggest.json: the suggestions, and the doubt of every scan, the largest first."""
    suggestions = [
        {**asdict(each), "distance": None if np.isnan(each.distance) else each.distance}
        for each in chosen
    ]
    ranked = sorted(found, key=lambda each: -each.score)
    doubts = {each.case.id: each.score for each in ranked}
    dice = {each.case.id: each.estimated_dice for each in ranked}
    return {
        "run": str(run.path),
        "suggestions": suggestions,
        "doubt": doubts,
        "estimated_dice": dice,
    }
