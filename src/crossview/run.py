"""One run folder: create it, open it, train, evaluate, predict, report.

A run folder is complete: recipe.toml (resolved), environment.json, journal.jsonl, checkpoints/, pictures/,
evaluation/<split>/, model.pt and report.html. These functions are what the command's verbs call.
"""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import crossview
from crossview.batch import Batch
from crossview.data import sources
from crossview.data.case import Case, Splits
from crossview.data.store import Store
from crossview.data.stream import Stream
from crossview.errors import Problem, UserError, raise_all
from crossview.evaluation import pictures
from crossview.evaluation.evaluate import evaluate as evaluate_cases
from crossview.evaluation.evaluate import quick_dice
from crossview.files import write_text
from crossview.inference.files import predict_files
from crossview.inference.predict import Prediction, Predictor
from crossview.methods.method import Method
from crossview.recipe import CHANGEABLE_ON_RESUME, Tables, read_tables
from crossview.reporting.report import write_report
from crossview.resolve import Recipe, resolve
from crossview.rng import Randomness
from crossview.training import checkpoint
from crossview.training.device import Precision, choose_precision, find_device, make_deterministic, place
from crossview.training.journal import Journal, read_journal
from crossview.training.loop import Job, Outcome
from crossview.training.loop import train as train_job

Progress = Callable[[int, int], None]
"""Told (done, total) as work goes on."""


@dataclass(frozen=True)
class Run:
    """A run folder that exists."""

    path: Path

    @staticmethod
    def open(path: Path | str) -> Run:
        """Raises UserError for a folder that is not a run."""
        run = Run(Path(path))
        if not (run.path / "recipe.toml").is_file():
            found = "no such folder" if not run.path.is_dir() else "a folder without recipe.toml"
            raise UserError(Problem("this is not a run folder", where=str(path), found=found, fix="crossview train RECIPE --out makes one"))
        return run

    @property
    def recipe(self) -> Recipe:
        return resolve(read_tables(self.path / "recipe.toml"))

    @property
    def environment(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
        return content

    @property
    def journal(self) -> Journal:
        return Journal(self.path / "journal.jsonl")

    @property
    def finished(self) -> bool:
        return any(row["kind"] == "finished" for row in read_journal(self.journal.path))

    def checkpoint(self, name: str | None = None) -> Path:
        """The checkpoint's file; by default the one that the run's selection policy names. Raises UserError for an unknown name."""
        name = name or ("last" if self.recipe.training.selection == "last" else "selected")
        if name not in ("last", "selected"):
            raise UserError(Problem(f"there is no checkpoint '{name}'", where=str(self.path), expected="last or selected"))
        return self.path / "checkpoints" / f"{name}.pt"


@dataclass(frozen=True)
class Prepared:
    """What ``train`` has found out before it writes anything: the recipe holds, the data is whole, the device is there."""

    recipe: Recipe
    splits: Splits
    stream: Stream
    device: torch.device
    data: Path | None


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
) -> tuple[Run, Outcome]:
    """Train a recipe on a data set into the folder ``out``.

    Nothing is written until the recipe, the data and the device have been checked. Raises UserError.
    """
    path = Path(out)
    resolved = resolve(recipe, overrides)
    if resume:
        resolved = _recipe_on_resume(Run.open(path), resolved)
        if Run(path).finished and (path / "model.pt").exists():
            return Run(path), Outcome("finished", sum(stage.steps for stage in resolved.stages()))
    else:
        _check_free(path, overwrite)
    make_deterministic(resolved.training.deterministic)
    prepared = prepare(resolved, Path(data) if data is not None else None, progress)
    torch.manual_seed(Randomness(resolved.training.seed).number("weights"))
    method = resolved.build_method(prepared.splits.channels)
    place(method, prepared.device, len(resolved.data.patch))
    _check_disk(path, method)
    if resume:
        run, precision = Run(path), _stored_precision(resolved)
        _warn_of_another_environment(run)
    else:
        precision, seconds = _precision(prepared, method)
        resolved = resolve(resolved.tables(), [f"training.precision={precision}"])
        run = _create(path, resolved, prepared, seconds)
    job = _job(run, resolved, prepared, method, precision)
    outcome = train_job(job, resume=resume, max_steps=max_steps)
    if outcome.how == "finished":
        write_model(run, prepared.splits)
    write_report(run.path)
    return run, outcome


def prepare(recipe: Recipe, data: Path | None, progress: Progress | None = None) -> Prepared:
    """Read and check all training cases. Raises UserError with every problem found."""
    device = find_device(recipe.training.device)
    splits = find_splits(recipe, data)
    options = recipe.training
    selection = {"last": None, "validation": splits.validation, "test": splits.test}[options.selection]
    if selection is not None and not selection:
        fix = "data.validation=2 takes two of the labelled cases, or training.selection=last"
        raise UserError(Problem(f"there are no {options.selection} cases to select by", where="[training] selection", fix=fix))
    unlabelled = splits.unlabelled if any(stage.unlabelled for stage in recipe.stages()) else ()
    total = len(splits.labelled) + len(unlabelled)

    def store(cases: Sequence[Case], done: int) -> Store:
        told = None if progress is None else lambda now, _: progress(done + now, total)
        return Store(cases, classes=splits.classes, channels=splits.channels, device=device, progress=told)

    stream = Stream(
        store(splits.labelled, 0),
        store(unlabelled, len(splits.labelled)) if unlabelled else None,
        patch=recipe.data.patch,
        sampling=recipe.data.sampling,
        augmentation=recipe.data.augmentation,
        labelled_batch=options.labelled_batch,
        unlabelled_batch=options.unlabelled_batch,
        seed=options.seed,
    )
    return Prepared(recipe, splits, stream, device, data)


def find_splits(recipe: Recipe, data: Path | None) -> Splits:
    """The data set's cases by their role. Raises UserError."""
    return sources.find(recipe.data.source).splits(data, recipe.data)


def _job(run: Run, recipe: Recipe, prepared: Prepared, method: Method, precision: Precision) -> Job:
    splits, selection = prepared.splits, recipe.training.selection
    # The only way from training to test cases: a recipe that says so, and then every output says so too.
    scored = splits.test if selection == "test" else splits.validation
    predictor = make_predictor(recipe, method, prepared.device, precision)
    return Job(
        method=method,
        stream=prepared.stream,
        options=recipe.training,
        folder=run.path,
        device=prepared.device,
        precision=precision,
        recipe=recipe.tables(),
        score=(lambda: quick_dice(predictor, scored, splits.classes, splits.channels)) if scored else None,
        draw=_draw_batch,
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
        device=device,
        precision=precision,
        progress=progress,
    )


def _draw_batch(batch: Batch, show: Mapping[str, Tensor], path: Path) -> None:
    def array(tensor: Tensor) -> NDArray[Any]:
        return tensor.detach().float().cpu().numpy() if tensor.is_floating_point() else tensor.detach().to(torch.uint8).cpu().numpy()

    unlabelled = None if batch.unlabelled is None else array(batch.unlabelled)
    pictures.batch_picture(array(batch.image), array(batch.label), unlabelled, {name: array(t) for name, t in show.items()}, path)


# -- the folder ----------------------------------------------------------------------------------------------------


def _check_free(path: Path, overwrite: bool) -> None:
    """``path`` must be free, or a run that may be overwritten; anything else in a folder is somebody's and stays."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / "recipe.toml").is_file():
        raise UserError(Problem("this is in the way and is not a run folder", where=str(path), fix="choose another --out"))
    if not overwrite:
        fix = "--resume goes on with it, --overwrite deletes it and starts anew, or choose another --out"
        raise UserError(Problem("a run is here already", where=str(path), fix=fix))


def _check_disk(path: Path, method: Method) -> None:
    """Room for the checkpoints (weights and momentum; last, selected and the one being written), the model and the pictures."""
    numbers = sum(tensor.numel() for tensor in method.state_dict().values())
    needed = 4 * numbers * (3 * 2 + 1) + 100 * 2**20
    there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            Problem(
                "too little free disk space",
                str(path),
                f"{free / 2**20:.0f} MiB free",
                f"at least {needed / 2**20:.0f} MiB",
                "free some, or another --out",
            )
        )


def _create(path: Path, recipe: Recipe, prepared: Prepared, precision_seconds: Mapping[str, float]) -> Run:
    """The run folder, made aside and then put in its place: a run that was there (``_check_free`` allowed it) goes only now."""
    aside = path.with_name(path.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    for folder in ("checkpoints", "pictures"):
        (aside / folder).mkdir(parents=True)
    environment = environment_now(prepared.device) | {
        "command": shlex.join(["crossview", *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": str(prepared.data.absolute()) if prepared.data else "",
        "labelled": [case.id for case in prepared.splits.labelled],
        "unlabelled": len(prepared.splits.unlabelled),
        "validation": [case.id for case in prepared.splits.validation],
        "notes": list(prepared.splits.notes),
    }
    if precision_seconds:
        environment["precision_seconds"] = dict(precision_seconds)
    write_text(aside / "environment.json", json.dumps(environment, indent=1))
    write_text(aside / "recipe.toml", recipe.toml())
    if path.exists():
        shutil.rmtree(path)
    aside.rename(path)
    return Run(path)


def environment_now(device: torch.device) -> dict[str, Any]:
    """What a result depends on beside its recipe."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "crossview": crossview.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "commit": crossview.commit(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# -- resume --------------------------------------------------------------------------------------------------------


def _recipe_on_resume(run: Run, asked: Recipe) -> Recipe:
    """The run's own recipe, with the keys that may change on resume as asked. Raises UserError for any other difference."""
    stored, new = run.recipe.tables(), asked.tables()
    problems = []
    for table in new:
        if table == "setting":
            continue
        for key, value in new[table].items():
            old = stored[table].get(key)
            free = table == "training" and (key in CHANGEABLE_ON_RESUME or (key == "precision" and value == "auto"))
            if value != old and not free:
                fix = "leave it as it was, or train into another folder"
                problems.append(Problem(f"'{key}' differs from the run that is resumed", f"[{table}] {key}", repr(value), repr(old), fix))
    if stored["method"]["name"] != new["method"]["name"]:
        problems = [Problem("the run that is resumed is of another method", str(run.path), new["method"]["name"], stored["method"]["name"])]
    raise_all(problems)
    changed: Tables = {**stored, "training": {**stored["training"], **{key: new["training"][key] for key in CHANGEABLE_ON_RESUME}}}
    return resolve(changed)


def _stored_precision(recipe: Recipe) -> Precision:
    return "bf16" if recipe.training.precision == "bf16" else "float32"


def _warn_of_another_environment(run: Run) -> None:
    then = run.environment
    now = environment_now(torch.device(then["device"].split(":")[0] if then["device"] == "cpu" else "cpu"))
    different = [f"{key} {then[key]} then, {now[key]} now" for key in ("torch", "threads") if then.get(key) != now[key]]
    if different:
        text = "bit-equal resume needs the same build and thread count: " + "; ".join(different)
        run.journal.append("warning", total_step=0, text=text)
        print(f"warning: {text}", file=sys.stderr)  # noqa: T201


def _precision(prepared: Prepared, method: Method) -> tuple[Precision, dict[str, float]]:
    """The recipe's precision; "auto" is decided by a measurement on one real image of the patch's size."""
    asked = prepared.recipe.training.precision
    if asked != "auto":
        return asked, {}
    image = prepared.stream.batch(0, 0, unlabelled=False).image[:1]
    view = next(method.children())
    return choose_precision(view, image, prepared.device)


# -- after training ------------------------------------------------------------------------------------------------


def write_model(run: Run, splits: Splits) -> Path:
    """model.pt: weights, recipe and classes; what one shares, and all that ``predict`` needs."""
    state = checkpoint.read(run.checkpoint())
    content = {
        "weights": state["weights"],
        "recipe": run.recipe.tables(),
        "classes": splits.classes,
        "class_names": list(splits.class_names),
        "channels": splits.channels,
        "notes": list(splits.notes),
        "step": state["position"]["total_step"],
        "crossview": crossview.__version__,
    }
    path = run.path / "model.pt"
    checkpoint.write(path, content)
    return path


def load_method(run: Run, recipe: Recipe, path: Path, channels: int, device: torch.device) -> tuple[Method, int]:
    """The method with a checkpoint's weights, and the step they are of. Raises UserError for a checkpoint of another recipe."""
    state = checkpoint.read(path, "cpu")
    method = recipe.build_method(channels)
    try:
        method.load_state_dict(state["weights"])
    except RuntimeError:
        expected = f"weights of {recipe.method.name} with {recipe.network.name}, as in {run.path / 'recipe.toml'}"
        raise UserError(Problem("this checkpoint is of another recipe", where=str(path), expected=expected)) from None
    place(method, device, len(recipe.data.patch))
    step = state["position"]["total_step"] if "position" in state else state["step"]
    return method, step


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
    path = run.checkpoint(checkpoint_name)
    method, step = load_method(run, recipe, path, splits.channels, where)
    precision = _stored_precision(recipe)
    folder = run.path / "evaluation" / split
    predictor = make_predictor(recipe, method, where, precision, progress)
    summary = evaluate_cases(
        predictor,
        chosen,
        classes=splits.classes,
        class_names=splits.class_names,
        unit=splits.unit,
        channels=splits.channels,
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
        },
        on_case=_case_drawer(folder, recipe, splits),
    )
    write_report(run.path)
    return summary


def _case_drawer(folder: Path, recipe: Recipe, splits: Splits) -> Callable[[Case, NDArray[Any], NDArray[Any], Prediction], None]:
    axis = 0 if recipe.inference.mode == "slices" else -1
    names = dict(enumerate(splits.class_names))

    def draw(case: Case, image: NDArray[Any], label: NDArray[Any], prediction: Prediction) -> None:
        path = folder / "pictures" / f"{case.id}.png"
        views, affine = prediction.views, case.affine
        pictures.case_picture(image, label, prediction.label, views, path, title=case.id, slice_axis=axis, affine=affine, names=names)

    return draw


def predict(
    run: Run | Path | str,
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    probabilities: bool = False,
    disagreement: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[Path]:
    """Segment scans (NIfTI, or h5 in the LA and ACDC layouts) into the folder ``out``, each in its own grid, affine and name.

    Raises UserError naming every file that could not be predicted; the others are done.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    recipe = run.recipe
    where = find_device(device)
    path = run.path / "model.pt"
    path = path if path.exists() else run.checkpoint()
    state = checkpoint.read(path)
    channels = int(state.get("channels", 1))
    method, _ = load_method(run, recipe, path, channels, where)
    return predict_files(
        make_predictor(recipe, method, where, _stored_precision(recipe)),
        [Path(each) for each in inputs],
        Path(out),
        normalisation=recipe.data.normalisation,
        nifti_axes=recipe.data.nifti_axes,
        channels=channels,
        probabilities=probabilities,
        disagreement=disagreement,
        overwrite=overwrite,
        progress=progress,
    )


def report(run: Run | Path | str) -> Path:
    """Write report.html of a run again. Raises UserError."""
    run = run if isinstance(run, Run) else Run.open(run)
    return write_report(run.path)
