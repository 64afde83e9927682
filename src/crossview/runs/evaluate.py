from __future__ import annotations

from pathlib import Path
from typing import Any

from crossview.core.errors import Problem, UserError
from crossview.core.progress import Progress
from crossview.data.case import Case
from crossview.evaluation.evaluate import evaluate as evaluate_cases
from crossview.reporting.page import write_report
from crossview.reporting.pictures.case import case_drawer
from crossview.runs.prepare import find_splits, preprocessing_of
from crossview.runs.run import Run, load_method, make_predictor, other_plugin, stored_precision
from crossview.training.device import find_device, set_kernels

WAITED_IN_VAIN = "The labelled stage waited to the last step for its networks to learn: the unlabelled scans were not used."


def evaluate(
    run: Run | Path | str,
    data: Path | str | None = None,
    *,
    split: str = "test",
    checkpoint_name: str | None = None,
    device: str = "auto",
    cases: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score a run's checkpoint on the test or validation cases; writes evaluation/<split>/ and the report. Returns the summary.

    ``cases`` limits the evaluation to the first so many; the summary names those it counts. Raises UserError.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    recipe = run.recipe
    if split not in ("test", "validation"):
        raise UserError(Problem(f"there is no split '{split}'", expected="test or validation"))
    root = run.data_root(data)
    splits = find_splits(recipe, root)
    chosen: tuple[Case, ...] = getattr(splits, split)[:cases]
    if not chosen:
        segment = run.command("predict", "SCANS", "--out", "DIR")
        fix = f"to segment scans: {segment}; to score some, name labelled cases as {split} in split.toml"
        raise UserError(
            Problem(
                f"there are no {split} cases",
                where=str(root or recipe.data.source),
                fix=fix if splits.raw else "",
            )
        )
    where = find_device(device)
    set_kernels(deterministic=False)
    path = run.checkpoint(checkpoint_name)
    method, step = load_method(recipe, path, splits.channels, where)
    precision = stored_precision(recipe)
    folder = run.path / "evaluation" / split
    predictor = make_predictor(recipe, method, where, precision, progress, many=True)
    summary = evaluate_cases(
        predictor,
        chosen,
        classes=splits.classes,
        class_names=splits.class_names,
        unit=splits.unit,
        channels=splits.channels,
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
            "clean_up": "largest component" if recipe.inference.largest_component else "none",
            "notes": [
                *splits.notes,
                *other_plugin(run),
                *([WAITED_IN_VAIN] if run.waited_in_vain else []),
            ],
            "partial": len(chosen) < len(getattr(splits, split)),
        },
        on_case=case_drawer(recipe, splits),
    )
    write_report(run.path)
    return summary
