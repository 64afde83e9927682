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
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from crossview.core import plugins
from crossview.core.busy import is_lock, worker
from crossview.core.environment import environment_now
from crossview.core.errors import UserError, fail, raise_all
from crossview.core.files import check_writable, write_text
from crossview.core.progress import Progress
from crossview.core.run_folder import (
    ENVIRONMENT,
    JOURNAL,
    MEMBERSHIP,
    PLAN,
    RECIPE,
    ROUNDS,
    TRAINING_CASES,
    RunFolder,
)
from crossview.inference.predict import Predictor
from crossview.methods.method import Method
from crossview.recipe.layers import differences
from crossview.recipe.resolve import Recipe, resolve
from crossview.training import checkpoint
from crossview.training.device import Precision, networks_of
from crossview.training.graphs import Recordings
from crossview.training.options import CHANGEABLE_ON_RESUME, current


@dataclass(frozen=True)
class Run(RunFolder):
    """A run folder with its typed recipe, its data and its checkpoints."""

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Return the run in ``path``. Raise UserError if it is not a run folder."""
        return cls.require(path)

    @cached_property
    def recipe(self) -> Recipe:
        tables, file = current(self.tables), self.path / RECIPE
        try:
            return resolve(tables)
        except UserError as error:
            named = [
                replace(each, where=f"{file}: {each.where}".rstrip(": ")) for each in error.problems
            ]
            raise UserError(named) from None

    def data_root(self, given: Path | str | None) -> Path | None:
        """Return the folder of the data: the one given, else the one used in training.

        It is None for a source that needs no data. Raise UserError if the folder used in training
        no longer exists.
        """
        stored = self.require_environment().get("data")
        if given is not None:
            return Path(given)
        if stored and not Path(stored).is_dir():
            fail(
                "the data folder that the run was trained on no longer exists",
                stored,
                found="no such folder",
                fix="give its new place with --data DATA",
            )
        return Path(stored) if stored else None

    @property
    def trained(self) -> bool:
        """True if at least one step is trained that a resume would keep.

        Raise UserError for a checkpoint that can't be read.
        """
        last = self.path / "checkpoints" / "last.pt"
        return self.finished or (
            last.exists() and checkpoint.read(last)["position"]["total_step"] > 0
        )

    def checkpoint(self, name: str | None = None) -> Path:
        """Return a checkpoint's file, by default that of the run's selection policy.

        Raise UserError for an unknown name.
        """
        name = name or ("last" if self.recipe.training.selection == "last" else "selected")
        if name not in ("last", "selected"):
            fail(f"there is no checkpoint '{name}'", self.path, expected="last or selected")
        return self.path / "checkpoints" / f"{name}.pt"


FOLDERS = ("checkpoints", "pictures")


ENTRIES = (
    ENVIRONMENT,
    *FOLDERS,
    RECIPE,
    PLAN,
    TRAINING_CASES,
    ROUNDS,
    JOURNAL,
    "evaluation",
    "tensorboard",
    "mlflow",
    "model.pt",
    "report.html",
)
"""Entries that crossview writes into a run folder. --overwrite deletes only these."""

LATER = (MEMBERSHIP, "suggest", "report-no-names.html")
"""Entries that other verbs add to a run folder."""


def check_free(path: Path, overwrite: bool) -> None:
    """Raise UserError unless ``path`` is free or is a run that may be overwritten.

    A folder with anything else in it belongs to somebody and is left alone.
    """
    check_writable(path)
    try:
        # A kill leaves the file that was being written aside.
        entries = path.iterdir() if path.exists() else ()
        names = {entry.name.removesuffix(".part") for entry in entries}
    except OSError as error:
        why, fix = error.strerror or error, "choose another --out"
        fail("the output folder can't be read", path, found=why, fix=fix)
    found = {name for name in names if not is_lock(name)}
    if not found:
        return
    if ENVIRONMENT in found and not (path / RECIPE).exists():
        # The process was killed while it made the folder, or put it in the place of another.
        if found <= {ENVIRONMENT, *FOLDERS, RECIPE} or (overwrite and found <= {*ENTRIES, *LATER}):
            return
        if found <= {*ENTRIES, *LATER}:
            what = "a run was being replaced here when its process was killed"
            fail(what, path, fix="add --overwrite, or choose another --out")
    if not {RECIPE, ENVIRONMENT} <= found:
        what = "the output folder exists and is not a crossview run"
        fail(what, path, fix="choose another --out")
    if not overwrite and (by := worker(path)):
        fix = "wait until it has finished, or choose another --out"
        fail("a run is training in this folder", path, found=by, fix=fix)
    if not overwrite:
        fix = "resume it with --resume, replace it with --overwrite, or choose another --out"
        fail("this folder already contains a run", path, fix=fix)


def check_disk(path: Path, method: Method) -> None:
    """Raise UserError if the disk lacks room for checkpoints, model and pictures.

    Three checkpoints hold weights and momentum: last, selected and the one being written.
    """
    numbers = sum(tensor.numel() for tensor in method.state_dict().values())
    needed = 4 * numbers * (3 * 2 + 1) + 100 * 2**20
    there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        fail(
            "not enough disk space",
            path,
            found=f"{free / 2**20:.0f} MiB free",
            expected=f"at least {needed / 2**20:.0f} MiB",
            fix="free disk space, or choose another --out",
        )


def create(path: Path, recipe: Recipe, about: Mapping[str, Any]) -> Run:
    """Create the run folder, in place of what ``check_free`` allowed to be deleted.

    recipe.toml is deleted first and written last: a folder without it is no run. ``about`` is the
    content of environment.json, which is deleted last: it tells a run from a foreign folder.
    """
    for name in sorted(ENTRIES, key=lambda name: (name != RECIPE, name == ENVIRONMENT)):
        old = path / name
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    write_text(path / ENVIRONMENT, json.dumps(dict(about), indent=1))
    for folder in FOLDERS:
        (path / folder).mkdir()
    write_text(path / RECIPE, recipe.toml())
    return Run(path)


def recipe_on_resume(run: Run, asked: Recipe) -> Recipe:
    """Return the run's recipe, with the keys that may change on resume taken from ``asked``.

    Raise UserError for any other difference.
    """
    stored, new = run.recipe.tables(), asked.tables()
    method, other = stored["method"]["name"], new["method"]["name"]
    if method != other:
        what = "the run to resume was trained with another method"
        fix = f"resume it as it is ({run.command('train', '--resume')}), or choose another --out"
        fail(what, run.path, found=other, expected=method, fix=fix)
    raise_all(differences(stored, new))
    changed = {key: new["training"][key] for key in CHANGEABLE_ON_RESUME}
    return resolve({**stored, "training": stored["training"] | changed})


def check_steps(run: Run, steps: int) -> None:
    """Raise UserError if a run to resume has another number of steps than ``--steps`` asks for."""
    own = sum(stage.steps for stage in run.recipe.stages)
    if steps != own:
        onwards = f"crossview train {run.recipe.setting} --data DATA --from {run.path} --out NEW"
        fail(
            "a run keeps its number of steps, since its learning rate follows it",
            f"--steps {steps}",
            found=f"{run.path} has {own:,}",
            fix=f"resume it without --steps, or train a new run on from its weights: {onwards}",
        )


def stored_precision(recipe: Recipe) -> Precision:
    return "bf16" if recipe.training.precision == "bf16" else "float32"


def other_environment(run: Run, device: torch.device, processes: int = 1) -> list[str]:
    """Return a warning if a run is resumed in another environment than it began in."""
    then = {"processes": 1, **run.require_environment()}
    now = {**environment_now(device), "processes": processes}
    keys = ("torch", "threads", "device_name", "processes")
    different = [
        f"{key} {then[key]} then, {now[key]} now" for key in keys if then.get(key) != now[key]
    ]
    text = "a bit-equal resume needs the same torch build, device, threads and number of processes"
    return [f"{text}: {'; '.join(different)}"] if different else []


def other_plugin(run: Run) -> list[str]:
    """Return a warning if the plugin's code has changed since the run began."""
    name = run.recipe.method.name
    change = plugins.changed(name, run.require_environment())
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
        write_text(run.path / ENVIRONMENT, json.dumps(about, indent=1))
    return []


def recordable(recipe: Recipe, device: torch.device) -> bool:
    """True if passes are recorded as CUDA graphs: the recipe asks for it and the device can."""
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
    """Return the predictor that the recipe describes.

    many: True for whole sets: passes are then recorded, if the recipe records them.
    """
    recorded = many and recordable(recipe, device)
    passes = Recordings(networks_of(method)).passes if recorded else nullcontext
    return Predictor(
        method,
        recipe.inference,
        recipe.data.patch,
        device=device,
        precision=precision,
        progress=progress,
        passes=passes,
    )
