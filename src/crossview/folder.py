"""A run folder: opened, made, resumed, and what it holds of weights.

It is complete: recipe.toml (resolved), environment.json, journal.jsonl, checkpoints/, pictures/, evaluation/<split>/,
model.pt and report.html.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import crossview
from crossview.data.case import Splits
from crossview.environment import environment_now
from crossview.errors import Problem, UserError, raise_all
from crossview.files import write_text
from crossview.methods.method import Method
from crossview.recipe import CHANGEABLE_ON_RESUME, Tables, read_tables
from crossview.resolve import Recipe, resolve
from crossview.training import checkpoint
from crossview.training.device import Precision, place
from crossview.training.journal import Journal, read_journal


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


def check_free(path: Path, overwrite: bool) -> None:
    """``path`` must be free, or a run that may be overwritten; anything else in a folder is somebody's and stays."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / "recipe.toml").is_file():
        raise UserError(Problem("this is in the way and is not a run folder", where=str(path), fix="choose another --out"))
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
    """The run folder, made aside and then put in its place: a run that was there (``check_free`` allowed it) goes only now.

    about: what environment.json shall hold.
    """
    aside = path.with_name(path.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    for folder in ("checkpoints", "pictures"):
        (aside / folder).mkdir(parents=True)
    write_text(aside / "environment.json", json.dumps(dict(about), indent=1))
    write_text(aside / "recipe.toml", recipe.toml())
    if path.exists():
        shutil.rmtree(path)
    aside.rename(path)
    return Run(path)


def recipe_on_resume(run: Run, asked: Recipe) -> Recipe:
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


def stored_precision(recipe: Recipe) -> Precision:
    return "bf16" if recipe.training.precision == "bf16" else "float32"


def warn_of_another_environment(run: Run) -> None:
    then = run.environment
    now = environment_now(torch.device(then["device"].split(":")[0] if then["device"] == "cpu" else "cpu"))
    different = [f"{key} {then[key]} then, {now[key]} now" for key in ("torch", "threads") if then.get(key) != now[key]]
    if different:
        text = "bit-equal resume needs the same build and thread count: " + "; ".join(different)
        run.journal.append("warning", total_step=0, text=text)
        print(f"warning: {text}", file=sys.stderr)  # noqa: T201


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
