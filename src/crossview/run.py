"""What the command's verbs do with a run: evaluate, predict, report. Training has its own file; the run folder stands in ``folder``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crossview.data.case import Case
from crossview.drawing import case_drawer
from crossview.errors import Problem, UserError
from crossview.evaluation.evaluate import evaluate as evaluate_cases
from crossview.folder import Run, load_method, other_plugin, stored_precision, trained_method
from crossview.inference.files import predict_files
from crossview.inference.origin import origin_of
from crossview.job import make_predictor
from crossview.plugins import command
from crossview.prepare import Progress, find_splits, preprocessing_of
from crossview.reporting.report import write_report
from crossview.resolve import resolve
from crossview.training.device import find_device, set_kernels
from crossview.training_run import train as train

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
        segment = command("predict", run.path, "SCANS", "--out", "DIR")
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


def predict(
    run: Run | Path | str,
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    probabilities: bool = False,
    disagreement: bool = False,
    entropy: bool = False,
    flips: bool | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    done: Callable[[Path], None] = lambda _: None,
    remark: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Segment scans (NIfTI, PNG, TIFF, or h5 in the LA and ACDC layouts) into the folder ``out``, each in its own grid, affine and name.

    disagreement, entropy: also write where the views differ, and where the prediction is unsure. flips: average over reflections, see
    :class:`Predictor`; left out, as the run's recipe says. resume: leave scans out whose prediction is there. done: is told each file as it
    is written. remark: is told a line for each prediction that holds nothing but background, and where maps are not what their name says.
    A folder that holds another model's predictions is refused, unless it is to be overwritten.
    Raises UserError naming every file that could not be predicted; the others are done.
    """
    where = find_device(device)
    set_kernels(deterministic=False)
    found = trained_method(run, where)
    recipe = found.recipe
    if flips is not None:
        recipe = resolve(recipe.tables(), [f"inference.flips={str(flips).lower()}"])
    return predict_files(
        make_predictor(recipe, found.method, where, stored_precision(recipe)),
        [Path(each) for each in inputs],
        Path(out),
        data=recipe.data,
        channels=found.channels,
        probabilities=probabilities,
        disagreement=disagreement,
        entropy=entropy,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
        done=done,
        remark=remark,
        origin=origin_of(
            recipe.method.name,
            found.step,
            found.state["weights"],
            recipe.inference.model_dump(mode="json"),
        ),
    )


def report(run: Run | Path | str, *, names: bool = True) -> Path:
    """Write report.html of a run again; without ``names`` a copy, report-no-names.html, that tells no case's name. Raises UserError."""
    run = run if isinstance(run, Run) else Run.open(run)
    return (
        write_report(run.path)
        if names
        else write_report(run.path, names=False, path=run.path / "report-no-names.html")
    )
