"""Run folders: opening, creation and resume, and the weights they contain.

A run folder is complete: recipe.toml (resolved), environment.json, journal.jsonl, checkpoints/,
pictures/, evaluation/<split>/, model.pt and report.html.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from crossview.core import plugins
from crossview.core.environment import VERSION, environment_now
from crossview.core.errors import Problem, UserError, raise_all
from crossview.core.files import check_writable, write_text
from crossview.core.progress import Progress
from crossview.core.run_folder import Journal, read_journal
from crossview.data.case import Splits
from crossview.inference.predict import Predictor
from crossview.methods.method import Method
from crossview.recipe.layers import Tables, differences, read_tables
from crossview.recipe.resolve import Recipe, resolve
from crossview.runs.lock import LOCK
from crossview.training import checkpoint
from crossview.training.device import Precision, networks_of, place
from crossview.training.graphs import Recordings
from crossview.training.options import CHANGEABLE_ON_RESUME, current


@dataclass(frozen=True)
class Run:
    """A run folder that exists."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # accepts a str as well

    @staticmethod
    def open(path: Path | str) -> Run:
        """Return the run in ``path``. Raise UserError if it is not a run folder."""
        run = Run(Path(path))
        if not (run.path / "recipe.toml").is_file():
            found = "no such folder" if not run.path.is_dir() else "a folder without recipe.toml"
            raise UserError(
                Problem(
                    "this is not a run folder",
                    where=str(path),
                    found=found,
                    fix="give a folder that crossview train wrote",
                )
            )
        return run

    @property
    def recipe(self) -> Recipe:
        path = self.path / "recipe.toml"
        tables = current(read_tables(path))
        try:
            return resolve(tables)
        except UserError as error:
            raise UserError(
                [
                    replace(each, where=f"{path}: {each.where}".rstrip(": "))
                    for each in error.problems
                ]
            ) from None

    @property
    def environment(self) -> dict[str, Any]:
        path = self.path / "environment.json"
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError(f"a {type(content).__name__} instead of an object")
        except (OSError, ValueError) as error:
            fix = "restore the file, or train again with --overwrite"
            raise UserError(
                Problem(
                    "the run's environment can't be read",
                    str(path),
                    str(error),
                    "the file that crossview train wrote",
                    fix,
                )
            ) from None
        return content

    def data_root(self, given: Path | str | None) -> Path | None:
        """Return the folder of the data: the one given, else the one used in training.

        It is None for a source that needs no data. Raise UserError if the folder used in training
        no longer exists.
        """
        stored = self.environment.get("data")
        if given is not None or not stored:
            return None if given is None else Path(given)
        if not Path(stored).is_dir():
            fix = "give its new place with --data DATA"
            raise UserError(
                Problem(
                    "the data folder that the run was trained on no longer exists",
                    stored,
                    "no such folder",
                    fix=fix,
                )
            )
        return Path(stored)

    @property
    def journal(self) -> Journal:
        return Journal(self.path / "journal.jsonl")

    @property
    def finished(self) -> bool:
        return any(row["kind"] == "finished" for row in read_journal(self.journal.path))

    @property
    def trained(self) -> bool:
        """True if at least one step is trained that a resume would keep.

        Raise UserError for a checkpoint that can't be read.
        """
        last = self.path / "checkpoints" / "last.pt"
        return self.finished or (
            last.exists() and checkpoint.read(last)["position"]["total_step"] > 0
        )

    @property
    def waited_in_vain(self) -> bool:
        """True if the networks never became ready, so that no unlabelled scan was used.

        The labelled stage waited for them and took all steps of the run.
        """
        looks = [row for row in read_journal(self.journal.path) if row["kind"] == "readiness"]
        return self.finished and bool(looks) and not looks[-1]["ready"]

    def checkpoint(self, name: str | None = None) -> Path:
        """Return a checkpoint's file, by default that of the run's selection policy.

        Raise UserError for an unknown name.
        """
        name = name or ("last" if self.recipe.training.selection == "last" else "selected")
        if name not in ("last", "selected"):
            raise UserError(
                Problem(
                    f"there is no checkpoint '{name}'",
                    where=str(self.path),
                    expected="last or selected",
                )
            )
        return self.path / "checkpoints" / f"{name}.pt"


ENTRIES = (
    "environment.json",
    "checkpoints",
    "pictures",
    "recipe.toml",
    "plan.json",
    "journal.jsonl",
    "evaluation",
    "model.pt",
    "report.html",
)
"""Entries that crossview writes into a run folder. --overwrite deletes only these."""


def check_free(path: Path, overwrite: bool) -> None:
    """Raise UserError unless ``path`` is free or is a run that may be overwritten.

    A folder with anything else in it belongs to somebody and is left alone.
    """
    try:
        found = {entry.name for entry in path.iterdir()} - {LOCK} if path.exists() else set()
    except OSError as error:
        raise UserError(
            Problem(
                "the run folder can't be created",
                str(path),
                error.strerror or str(error),
                fix="choose another --out",
            )
        ) from None
    check_writable(path)
    # A run that was killed while its folder was being created.
    begun = "environment.json" in found and found <= {
        "environment.json",
        "checkpoints",
        "pictures",
    }
    if not found or begun:
        return
    if not {"recipe.toml", "environment.json"} <= found:
        raise UserError(
            Problem(
                "the output folder exists and is not a crossview run",
                where=str(path),
                fix="choose another --out",
            )
        )
    if not overwrite:
        fix = "resume it with --resume, replace it with --overwrite, or choose another --out"
        raise UserError(Problem("this folder already contains a run", where=str(path), fix=fix))


def check_disk(path: Path, method: Method) -> None:
    """Raise UserError if the disk lacks room for checkpoints, model and pictures.

    Three checkpoints hold weights and momentum: last, selected and the one being written.
    """
    numbers = sum(tensor.numel() for tensor in method.state_dict().values())
    needed = 4 * numbers * (3 * 2 + 1) + 100 * 2**20
    there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            Problem(
                "not enough disk space",
                str(path),
                f"{free / 2**20:.0f} MiB free",
                f"at least {needed / 2**20:.0f} MiB",
                "free disk space, or choose another --out",
            )
        )


def create(path: Path, recipe: Recipe, about: Mapping[str, Any]) -> Run:
    """Create the run folder, in place of what ``check_free`` allowed to be deleted.

    recipe.toml is deleted first and written last: a folder without it is no run. ``about`` is the
    content of environment.json.
    """
    for name in sorted(ENTRIES, key=lambda name: name != "recipe.toml"):
        old = path / name
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    write_text(path / "environment.json", json.dumps(dict(about), indent=1))
    for folder in ("checkpoints", "pictures"):
        (path / folder).mkdir()
    write_text(path / "recipe.toml", recipe.toml())
    return Run(path)


def recipe_on_resume(run: Run, asked: Recipe) -> Recipe:
    """Return the run's recipe, with the keys that may change on resume taken from ``asked``.

    Raise UserError for any other difference.
    """
    stored, new = run.recipe.tables(), asked.tables()
    problems = differences(stored, new)
    if stored["method"]["name"] != new["method"]["name"]:
        problems = [
            Problem(
                "the run to resume was trained with another method",
                str(run.path),
                new["method"]["name"],
                stored["method"]["name"],
            )
        ]
    raise_all(problems)
    changed: Tables = {
        **stored,
        "training": {
            **stored["training"],
            **{key: new["training"][key] for key in CHANGEABLE_ON_RESUME},
        },
    }
    return resolve(changed)


def stored_precision(recipe: Recipe) -> Precision:
    return "bf16" if recipe.training.precision == "bf16" else "float32"


def other_environment(run: Run, device: torch.device, processes: int = 1) -> list[str]:
    """Return a warning if a run is resumed in another environment than it began in."""
    then, now = (
        {"processes": 1, **run.environment},
        {**environment_now(device), "processes": processes},
    )
    keys = ("torch", "threads", "device_name", "processes")
    different = [
        f"{key} {then[key]} then, {now[key]} now" for key in keys if then.get(key) != now[key]
    ]
    text = "a bit-equal resume needs the same torch build, device, threads and number of processes"
    return [f"{text}: {'; '.join(different)}"] if different else []


def other_plugin(run: Run) -> list[str]:
    """Return a warning if the plugin's code has changed since the run began."""
    name = run.recipe.method.name
    change = plugins.changed(name, run.environment)
    return [f"The code of {name} has changed since the run began: {change}."] if change else []


def plugin_on_resume(run: Run, writes: bool) -> list[str]:
    """Return the warning of :func:`other_plugin`, unless no step is trained yet.

    Such a run adopts the new code; the process with ``writes`` records it in environment.json.
    """
    warnings = other_plugin(run)
    if not warnings or run.trained:
        return warnings
    if writes:
        about = run.environment | plugins.remembered(run.recipe.method.name)
        write_text(run.path / "environment.json", json.dumps(about, indent=1))
    return []


def write_model(run: Run, splits: Splits) -> Path:
    """Write model.pt, the file to share: weights, recipe, classes, all that ``predict`` needs."""
    state = checkpoint.read(run.checkpoint())
    content = {
        "weights": state["weights"],
        "recipe": run.recipe.tables(),
        "classes": splits.classes,
        "class_names": list(splits.class_names),
        "channels": splits.channels,
        "notes": list(splits.notes),
        "step": state["position"]["total_step"],
        "crossview": VERSION,
    }
    path = run.path / "model.pt"
    checkpoint.write(path, content)
    return path


@dataclass(frozen=True)
class TrainedMethod:
    """A trained method on its device.

    step: the training step of its weights. state: the whole content of its file.
    """

    recipe: Recipe
    method: Method
    channels: int
    step: int
    state: Mapping[str, Any]


def trained_method(run: Run | Path | str, device: torch.device) -> TrainedMethod:
    """Return the method of a model.pt, or of a run folder.

    A run folder's model.pt is preferred to its checkpoint. Raise UserError if none can be read.
    """
    if not isinstance(run, Run) and Path(run).is_file():
        path = Path(run)
        state = checkpoint.read(path)
        recipe = resolve(state.get("recipe", {}))
    else:
        run = run if isinstance(run, Run) else Run.open(run)
        path = model if (model := run.path / "model.pt").exists() else run.checkpoint()
        state, recipe = checkpoint.read(path), run.recipe
    channels = int(state.get("channels", 1))
    method, step = load_method(recipe, path, channels, device)
    return TrainedMethod(recipe, method, channels, step, state)


def load_method(
    recipe: Recipe, path: Path, channels: int, device: torch.device
) -> tuple[Method, int]:
    """Return the method with a checkpoint's weights, and the step of these weights.

    Raise UserError for a checkpoint of another recipe.
    """
    state = checkpoint.read(path, "cpu")
    method = recipe.build_method(channels)
    different = differences(state["recipe"], recipe.tables()) if "recipe" in state else []
    checkpoint.load_weights(method, state, path, different)
    place(method, device, len(recipe.data.patch))
    step = state["position"]["total_step"] if "position" in state else state["step"]
    return method, step


def recordable(recipe: Recipe, device: torch.device) -> bool:
    """True if passes are recorded as CUDA graphs: the recipe asks for it, and this is a GPU."""
    return recipe.training.compile == "graphs" and device.type == "cuda"


def make_predictor(
    recipe: Recipe,
    method: Method,
    device: torch.device,
    precision: Precision,
    progress: Progress | None = None,
    *,
    many: bool = False,
) -> Predictor:
    """Return the recipe's predictor. many: for a whole set, so passes are recorded if possible."""
    options = recipe.inference
    passes = (
        Recordings(networks_of(method)).passes
        if many and recordable(recipe, device)
        else nullcontext
    )
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
        passes=passes,
    )
