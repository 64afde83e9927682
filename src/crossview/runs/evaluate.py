"""The verb evaluate: score a run's checkpoint on the test or validation cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossview.core.errors import fail
from crossview.core.progress import Progress
from crossview.data.case import Case
from crossview.data.sources.divided import BEGIN
from crossview.evaluation.evaluate import evaluate as evaluate_cases
from crossview.reporting.page import write_report
from crossview.reporting.pictures.case import case_drawer
from crossview.runs.minimum_volume import clean_up_of, with_minimum_volume
from crossview.runs.prepare import find_splits, preprocessing_of
from crossview.runs.run import Run, make_predictor, other_plugin, stored_precision
from crossview.runs.trained import CHANGED, changed_data
from crossview.runs.unseen import CHOSE, COPIED, SEEN, unseen
from crossview.runs.weights import load_method
from crossview.training.device import find_device, set_kernels

WAITED_IN_VAIN = (
    "The networks did not learn enough before the last step of the labelled stage: "
    "the unlabelled scans were not used."
)

DOUBTS = (SEEN, CHOSE, COPIED, CHANGED, BEGIN, WAITED_IN_VAIN)
"""Begins of the notes that say why a score may mislead."""


def evaluate(
    run: Run | Path | str,
    data: Path | str | None = None,
    *,
    split: str = "test",
    checkpoint_name: str | None = None,
    minimum_volume: Sequence[float] | None = None,
    device: str = "auto",
    cases: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score a run's checkpoint on its test or validation cases.

    Writes ``evaluation/<split>/`` and ``report.html`` into the run folder.

    Args:
        run: A run, or its folder.
        data: The folder of the data. Default: the folder that the run was trained on.
        split: "test" or "validation".
        checkpoint_name: "last" or "selected". Default: by the recipe's selection.
        minimum_volume: Remove smaller pieces, as the key inference.minimum_volume does. Default: by
            the run's recipe.
        device: "auto", "cpu", "cuda", "cuda:1" ...
        cases: Number of cases to score, from the first; the summary is then marked as partial.
        progress: Called with (done, total).

    Returns:
        The content of ``summary.json``.

    Raises:
        UserError: If the split is unknown or has no cases, a case was trained on with its label,
            or a file cannot be read.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    recipe = run.recipe
    if minimum_volume is not None:
        recipe = with_minimum_volume(recipe, minimum_volume)
    if split not in ("test", "validation"):
        fail(f"unknown split '{split}'", expected="test or validation")
    root = run.data_root(data)
    splits = find_splits(recipe, root)
    chosen: tuple[Case, ...] = getattr(splits, split)[:cases]
    if not chosen:
        segment = run.command("predict", "SCANS", "--out", "DIR")
        fix = (
            f"to segment scans: {segment}; "
            f"to score cases, list labelled cases as {split} in split.toml and train a new run, "
            "since this one has been trained on them"
        )
        fail(
            f"the data set has no {split} cases",
            root or recipe.data.source,
            fix=fix if splits.raw else "",
        )
    fresh, seen = unseen(run, chosen, splits, split, root)
    where = find_device(device, "--device")
    set_kernels(deterministic=False)
    path = run.checkpoint(checkpoint_name)
    method, step = load_method(run.recipe, path, splits.channels, where)
    precision = stored_precision(recipe)
    folder = run.path / "evaluation" / split
    predictor = make_predictor(recipe, method, where, precision, progress, many=True)
    summary = evaluate_cases(
        predictor,
        fresh,
        splits,
        preprocessing=preprocessing_of(recipe, splits),
        out=folder,
        header={
            "split": split,
            "checkpoint": path.stem,
            "step": step,
            "selection": recipe.training.selection,
            "method": recipe.method.name,
            "variant": recipe.method.variant,
            "setting": recipe.setting,
            "seed": recipe.training.seed,
            "clean_up": clean_up_of(recipe),
            "minimum_volume": list(recipe.inference.minimum_volume),
            "notes": [
                *splits.notes,
                *changed_data(run),
                *other_plugin(run),
                *([WAITED_IN_VAIN] if run.waited_in_vain else []),
            ],
            "partial": len(chosen) < len(getattr(splits, split)),
        },
        notes=seen,
        on_case=case_drawer(recipe, splits),
    )
    write_report(run.path)
    return summary
