"""A run folder: opened, made, resumed, and what it holds of weights.

It is complete: recipe.toml (resolved), environment.json, journal.jsonl, checkpoints/, pictures/, evaluation/<split>/,
model.pt and report.html.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import crossview
from crossview import plugins
from crossview.data.case import Splits
from crossview.environment import environment_now
from crossview.errors import Problem, UserError, raise_all
from crossview.files import check_writable, write_text
from crossview.lock import LOCK
from crossview.methods.method import Method
from crossview.recipe import CHANGEABLE_ON_RESUME, Tables, differences, read_tables
from crossview.resolve import Recipe, resolve
from crossview.training import checkpoint
from crossview.training.device import Precision, place
from crossview.training.journal import Journal, read_journal


@dataclass(frozen=True)
class Run:
    """A run folder that exists."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # a text will do too

    @staticmethod
    def open(path: Path | str) -> Run:
        """Raises UserError for a folder that is not a run."""
        run = Run(Path(path))
        if not (run.path / "recipe.toml").is_file():
            found = "no such folder" if not run.path.is_dir() else "a folder without recipe.toml"
            raise UserError(
                Problem(
                    "this is not a run folder",
                    where=str(path),
                    found=found,
                    fix="crossview train RECIPE --out makes one",
                )
            )
        return run

    @property
    def recipe(self) -> Recipe:
        path = self.path / "recipe.toml"
        tables = read_tables(path)
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
            fix = "restore it, or train again with --overwrite"
            raise UserError(
                Problem(
                    "the run's environment can't be read",
                    str(path),
                    str(error),
                    "what crossview train wrote",
                    fix,
                )
            ) from None
        return content

    def data_root(self, given: Path | str | None) -> Path | None:
        """The folder of the data: the one given, else where they were in training; None for a source that needs none. Raises UserError."""
        stored = self.environment.get("data")
        if given is not None or not stored:
            return None if given is None else Path(given)
        if not Path(stored).is_dir():
            fix = "give their new place: --data DATA"
            raise UserError(
                Problem(
                    "the data are no longer where the run was trained on them",
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
        """Whether a step has been trained that a resume would keep. Raises UserError for a checkpoint that can't be read."""
        last = self.path / "checkpoints" / "last.pt"
        return self.finished or (
            last.exists() and checkpoint.read(last)["position"]["total_step"] > 0
        )

    @property
    def waited_in_vain(self) -> bool:
        """Whether the labelled stage waited to the end for its networks to learn, so that the unlabelled scans were not used."""
        looks = [row for row in read_journal(self.journal.path) if row["kind"] == "readiness"]
        return self.finished and bool(looks) and not looks[-1]["ready"]

    def checkpoint(self, name: str | None = None) -> Path:
        """The checkpoint's file; by default the one that the run's selection policy names. Raises UserError for an unknown name."""
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
"""What crossview writes into a run folder. --overwrite deletes these and nothing else."""


def check_free(path: Path, overwrite: bool) -> None:
    """``path`` must be free, or a run that may be overwritten; anything else in a folder is somebody's and stays. Raises UserError."""
    try:
        found = {entry.name for entry in path.iterdir()} - {LOCK} if path.exists() else set()
    except OSError as error:
        raise UserError(
            Problem(
                "a run can't be made here",
                str(path),
                error.strerror or str(error),
                fix="choose another --out",
            )
        ) from None
    check_writable(path)
    begun = "environment.json" in found and found <= {
        "environment.json",
        "checkpoints",
        "pictures",
    }  # a kill while it was being made
    if not found or begun:
        return
    if not {"recipe.toml", "environment.json"} <= found:
        raise UserError(
            Problem(
                "this is in the way and is not a run folder",
                where=str(path),
                fix="choose another --out",
            )
        )
    if not overwrite:
        fix = "--resume goes on with it, --overwrite deletes it and starts anew, or choose another --out"
        raise UserError(Problem("a run is here already", where=str(path), fix=fix))


def check_disk(path: Path, method: Method) -> None:
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


def create(path: Path, recipe: Recipe, about: Mapping[str, Any]) -> Run:
    """The run folder, in place of what ``check_free`` allowed to go. about: what environment.json shall hold.

    recipe.toml is deleted first and written last: a folder without it is no run.
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
    """The run's own recipe, with the keys that may change on resume as asked. Raises UserError for any other difference."""
    stored, new = run.recipe.tables(), asked.tables()
    problems = differences(stored, new)
    if stored["method"]["name"] != new["method"]["name"]:
        problems = [
            Problem(
                "the run that is resumed is of another method",
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
    """What a person must know who resumes a run elsewhere than it was begun."""
    then, now = (
        {"processes": 1, **run.environment},
        {**environment_now(device), "processes": processes},
    )
    keys = ("torch", "threads", "device_name", "processes")
    different = [
        f"{key} {then[key]} then, {now[key]} now" for key in keys if then.get(key) != now[key]
    ]
    text = "bit-equal resume needs the same build, device, thread count and number of processes"
    return [f"{text}: {'; '.join(different)}"] if different else []


def other_plugin(run: Run) -> list[str]:
    """What a person must know whose own method is not the code any more that the run began with."""
    name = run.recipe.method.name
    change = plugins.changed(name, run.environment)
    return [f"The code of {name} is not what the run began with: {change}."] if change else []


def plugin_on_resume(run: Run, writes: bool) -> list[str]:
    """As :func:`other_plugin`; a run of which no step is trained yet is from now on one of the new code. writes: it is noted by us."""
    warnings = other_plugin(run)
    if not warnings or run.trained:
        return warnings
    if writes:
        about = run.environment | plugins.remembered(run.recipe.method.name)
        write_text(run.path / "environment.json", json.dumps(about, indent=1))
    return []


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


@dataclass(frozen=True)
class TrainedMethod:
    """A trained method to predict with, on its device. step: that its weights are of. state: the whole content of its file."""

    recipe: Recipe
    method: Method
    channels: int
    step: int
    state: Mapping[str, Any]


def trained_method(run: Run | Path | str, device: torch.device) -> TrainedMethod:
    """The method of a model.pt alone, or of a run folder: its model.pt, before that its checkpoint. Raises UserError."""
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
    """The method with a checkpoint's weights, and the step they are of. Raises UserError for a checkpoint of another recipe."""
    state = checkpoint.read(path, "cpu")
    method = recipe.build_method(channels)
    checkpoint.load_weights(method, state, path, recipe.tables())
    place(method, device, len(recipe.data.patch))
    step = state["position"]["total_step"] if "position" in state else state["step"]
    return method, step
