"""The verbs evaluate, predict and report. Train is in ``training_run``, the files in ``folder``."""

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

WAITED_IN_VAIN = (
    "The networks did not learn enough before the last step of the labelled stage: "
    "the unlabelled scans were not used."
)


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
    """Score a run's checkpoint on its test or validation cases.

    Writes ``evaluation/<split>/`` and ``report.html`` into the run folder.

    Args:
        run: A run, or its folder.
        data: The folder of the data. Default: the folder that the run was trained on.
        split: "test" or "validation".
        checkpoint_name: "last" or "selected". Default: by the recipe's selection.
        device: "auto", "cpu", "cuda", "cuda:1" ...
        cases: Number of cases to score, from the first; the summary is then marked as partial.
        progress: Called with (done, total).

    Returns:
        The content of ``summary.json``.

    Raises:
        UserError: If the split is unknown or has no cases, or a file cannot be read.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    recipe = run.recipe
    if split not in ("test", "validation"):
        raise UserError(Problem(f"unknown split '{split}'", expected="test or validation"))
    root = run.data_root(data)
    splits = find_splits(recipe, root)
    chosen: tuple[Case, ...] = getattr(splits, split)[:cases]
    if not chosen:
        segment = command("predict", run.path, "SCANS", "--out", "DIR")
        fix = (
            f"to segment scans: {segment}; "
            f"to score cases, list labelled cases as {split} in split.toml"
        )
        raise UserError(
            Problem(
                f"the data set has no {split} cases",
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
    """Segment scans into the folder ``out``. A prediction keeps its scan's grid, affine and name.

    Args:
        run: A run, its folder, or a model file.
        inputs: Files or folders of scans: NIfTI, PNG, TIFF, or h5 in the LA and ACDC layouts.
        out: The folder of the predictions. A folder with a different model's predictions is
            refused unless ``overwrite`` is true.
        probabilities: Also write the probabilities of the classes.
        disagreement: Also write a map of where the views differ.
        entropy: Also write a map of where the prediction is uncertain.
        flips: Average over reflections, see :class:`Predictor`. Default: by the run's recipe.
        resume: Skip scans whose prediction exists.
        overwrite: Replace predictions that exist.
        device: "auto", "cpu", "cuda", "cuda:1" ...
        progress: Called with (done, total).
        done: Called with each file once it is written.
        remark: Called with a line per prediction that contains only background, and if a map is
            not what its name says.

    Returns:
        The files of the predictions.

    Raises:
        UserError: If files could not be predicted. It names all of them; the others are written.
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
    """Write a run's ``report.html`` again.

    Args:
        run: A run, or its folder.
        names: False: write ``report-no-names.html`` instead, a copy without the cases' names.

    Returns:
        The report's file.

    Raises:
        UserError: If it is not a run folder, or a file in it cannot be read.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    return (
        write_report(run.path)
        if names
        else write_report(run.path, names=False, path=run.path / "report-no-names.html")
    )
