"""What the command's verbs do: train, evaluate, predict, report. The run folder itself stands in :mod:`crossview.folder`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from crossview.data.case import Case
from crossview.data.plan import Plan
from crossview.drawing import case_drawer, draw_batch
from crossview.environment import environment_now
from crossview.errors import Problem, UserError
from crossview.evaluation.evaluate import evaluate as evaluate_cases
from crossview.evaluation.evaluate import quick_dice
from crossview.files import write_text
from crossview.folder import (
    Run,
    check_disk,
    check_free,
    create,
    load_method,
    other_environment,
    recipe_on_resume,
    shared_model,
    stored_precision,
    write_model,
)
from crossview.inference.files import predict_files
from crossview.inference.predict import Predictor
from crossview.lock import locked
from crossview.methods.method import Method
from crossview.planned import asked_on_resume, resolve_planned
from crossview.prepare import Prepared, Progress, check_same_cases, find_splits, prepare, preprocessing_of, scored_cases
from crossview.reporting.report import write_report
from crossview.resolve import Recipe, resolve
from crossview.rng import Randomness
from crossview.training import checkpoint
from crossview.training.compiling import compile_networks, networks_of
from crossview.training.device import Precision, find_device, place, set_kernels
from crossview.training.loop import Job, Outcome
from crossview.training.loop import train as train_job
from crossview.training.measured import measure


def train(
    recipe: str | Path | Mapping[str, Any],
    data: Path | str | None,
    out: Path | str,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    max_steps: int | None = None,
    progress: Progress | None = None,
    tell: Callable[[Plan], None] | None = None,
) -> tuple[Run, Outcome]:
    """Train a recipe on a data set into the folder ``out``.

    Keys of recipe "folder" that are left open are planned from the data first; ``tell`` is told the plan. On resume nothing is planned:
    the run's own recipe holds every key. Nothing is written until the recipe, the data and the device have been checked. Raises UserError,
    and LockedError where another process works in the folder.
    """
    path = Path(out)
    if resume:
        Run.open(path)
    else:
        check_free(path, overwrite)  # before the lock, which would be put into somebody's folder
    with locked(path):
        return _train(recipe, Path(data) if data is not None else None, path, overrides, resume, overwrite, max_steps, progress, tell)


def _train(
    recipe: str | Path | Mapping[str, Any],
    root: Path | None,
    path: Path,
    overrides: Sequence[str],
    resume: bool,
    overwrite: bool,
    max_steps: int | None,
    progress: Progress | None,
    tell: Callable[[Plan], None] | None,
) -> tuple[Run, Outcome]:
    plan = None
    if resume:
        resolved = recipe_on_resume(Run.open(path), asked_on_resume(Run.open(path).recipe, recipe, overrides))
        if Run(path).finished and (path / "model.pt").exists():
            return Run(path), Outcome("finished", sum(stage.steps for stage in resolved.stages()))
    else:
        check_free(path, overwrite)
        resolved, plan = resolve_planned(recipe, overrides, root, progress)
        if plan is not None and tell is not None:
            tell(plan)
    set_kernels(resolved.training.deterministic)
    prepared = prepare(resolved, root, progress)
    torch.manual_seed(Randomness(resolved.training.seed).number("weights"))
    method = resolved.build_method(prepared.splits.channels)
    place(method, prepared.device, len(resolved.data.patch))
    check_disk(path, method)
    if resume:
        check_same_cases(Run(path), prepared)
        job = _job(path, resolved, prepared, method, stored_precision(resolved))
        job.resumed_with = {"device_name": environment_now(prepared.device)["device_name"], **_changed(Run(path).recipe, resolved)}
        job.warnings = other_environment(Run(path), prepared.device)
    else:
        measured, seconds = measure(resolved.training, method, prepared.stream.batch(0, 0, unlabelled=False).image)
        resolved = resolve(resolved.tables(), measured)
        job = _job(path, resolved, prepared, method, stored_precision(resolved))
        create(path, resolved, _about(prepared, seconds))
        if plan is not None:
            write_text(path / "plan.json", json.dumps(plan.as_json(), indent=1))
    run = Run(path)
    outcome = train_job(job, resume=resume, max_steps=max_steps)
    if outcome.how == "finished":
        write_model(run, prepared.splits)
    write_report(run.path)
    return run, outcome


def _changed(old: Recipe, new: Recipe) -> dict[str, Any]:
    """The keys of [training] that a resume changes."""
    before, after = old.training.model_dump(), new.training.model_dump()
    return {key: value for key, value in after.items() if value != before[key]}


def _about(prepared: Prepared, seconds: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """What environment.json tells of a run."""
    splits = prepared.splits
    about = environment_now(prepared.device) | {
        "command": shlex.join(["crossview", *sys.argv[1:]]) if Path(sys.argv[0]).stem in ("crossview", "__main__") else "",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": str(prepared.data.absolute()) if prepared.data else "",
        "labelled": [case.id for case in splits.labelled],
        "unlabelled": 0 if prepared.stream.unlabelled is None else len(prepared.stream.unlabelled),
        "training_cases": prepared.fingerprint,
        "validation": [case.id for case in splits.validation],
        "notes": list(splits.notes),
    }
    return about | {f"{key}_seconds": dict(values) for key, values in seconds.items() if values}


def _job(path: Path, recipe: Recipe, prepared: Prepared, method: Method, precision: Precision) -> Job:
    splits = prepared.splits
    scored = scored_cases(recipe, splits)
    predictor = make_predictor(recipe, method, prepared.device, precision)
    preprocessing = preprocessing_of(recipe, splits)
    if recipe.training.compile is True:
        compile_networks(networks_of(method))
    return Job(
        method=method,
        stream=prepared.stream,
        options=recipe.training,
        folder=path,
        device=prepared.device,
        precision=precision,
        recipe=recipe.tables(),
        score=(lambda: quick_dice(predictor, scored, splits.classes, splits.channels, preprocessing)) if scored else None,
        draw=draw_batch,
    )


def make_predictor(
    recipe: Recipe, method: Method, device: torch.device, precision: Precision, progress: Progress | None = None
) -> Predictor:
    """The recipe's way from an image to a prediction."""
    options = recipe.inference
    return Predictor(
        method,
        mode=options.mode,
        patch=recipe.data.patch,
        stride=options.stride,
        largest_component=options.largest_component,
        batch=options.batch,
        flips=options.flips,
        device=device,
        precision=precision,
        progress=progress,
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
    """Score a run's checkpoint on the test or validation cases; writes evaluation/<split>/ and the report. Returns the summary.

    ``cases`` limits the evaluation to the first so many; the summary names those it counts. Raises UserError.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    recipe, environment = run.recipe, run.environment
    if split not in ("test", "validation"):
        raise UserError(Problem(f"there is no split '{split}'", expected="test or validation"))
    root = Path(data) if data is not None else (Path(environment["data"]) if environment["data"] else None)
    splits = find_splits(recipe, root)
    chosen: tuple[Case, ...] = getattr(splits, split)[:cases]
    if not chosen:
        raise UserError(Problem(f"there are no {split} cases", where=str(root or recipe.data.source)))
    where = find_device(device)
    set_kernels(deterministic=False)
    path = run.checkpoint(checkpoint_name)
    method, step = load_method(recipe, path, splits.channels, where)
    precision = stored_precision(recipe)
    folder = run.path / "evaluation" / split
    predictor = make_predictor(recipe, method, where, precision, progress)
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
            "notes": list(splits.notes),
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
    flips: bool | None = None,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    remark: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Segment scans (NIfTI, PNG, TIFF, or h5 in the LA and ACDC layouts) into the folder ``out``, each in its own grid, affine and name.

    flips: average over reflections, see :class:`Predictor`; left out, as the run's recipe says. remark: is told a line for each
    prediction that holds nothing but background.
    Raises UserError naming every file that could not be predicted; the others are done.
    """
    path, recipe = shared_model(run)
    where = find_device(device)
    set_kernels(deterministic=False)
    state = checkpoint.read(path)
    channels = int(state.get("channels", 1))
    method, _ = load_method(recipe, path, channels, where)
    if flips is not None:
        recipe = resolve(recipe.tables(), [f"inference.flips={str(flips).lower()}"])
    return predict_files(
        make_predictor(recipe, method, where, stored_precision(recipe)),
        [Path(each) for each in inputs],
        Path(out),
        data=recipe.data,
        channels=channels,
        probabilities=probabilities,
        disagreement=disagreement,
        overwrite=overwrite,
        progress=progress,
        remark=remark,
    )


def report(run: Run | Path | str, *, names: bool = True) -> Path:
    """Write report.html of a run again; without ``names`` a copy, report-no-names.html, that tells no case's name. Raises UserError."""
    run = run if isinstance(run, Run) else Run.open(run)
    return write_report(run.path) if names else write_report(run.path, names=False, path=run.path / "report-no-names.html")
