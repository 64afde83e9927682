"""Warm start: a run whose weights begin as those of another run.

Networks are taken whole, but for the tensors whose shape depends on the number of classes: these
are new where the classes differ. Of a run of the same method every part is taken by its name.
Between methods only networks are taken, each by one network at most, because two networks with the
same weights have nothing to teach each other; an averaged teacher begins as its student.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from crossview.core.errors import Problem, UserError, fail, raise_all
from crossview.core.progress import Progress
from crossview.core.run_folder import RunFolder
from crossview.core.text import listed
from crossview.data.case import Splits
from crossview.data.sources.folder import stated_classes
from crossview.data.sources.stated import SEGMENTS
from crossview.inference.inputs import of_images
from crossview.inference.origin import weights_digest
from crossview.methods.method import Method
from crossview.recipe.layers import Tables, layers, merged
from crossview.recipe.plan import Choice, Plan
from crossview.recipe.planned import open_keys, resolve_planned
from crossview.recipe.resolve import Recipe
from crossview.runs.parts import heads_of, load_part, matching, parts, prefixed, teachers
from crossview.runs.run import Run
from crossview.runs.trained import Trained, inherited, remembered
from crossview.runs.weights import TrainedMethod, trained_method

GRID = ("spacing", "nifti_axes", "orientation")
"""Keys of [data] that must be those of the run: its weights know scans on this grid only."""

LIKE = ("spacing", "nifti_axes", "normalisation", "intensities")
"""Keys of [data] that a plan takes from the run."""

RECORD = "from"
"""Key of environment.json."""


def _scans(recipe: Recipe) -> str:
    """Return the scans that a recipe is for."""
    if of_images(recipe.data):
        return "2D images"
    return "slices of volumes" if len(recipe.data.patch) == 2 else "volumes"


@dataclass(frozen=True)
class Start:
    """The trained method that a run begins with.

    run: The folder, or the model file. trained: The cases that its weights have seen; None if
    unknown.
    """

    run: Path
    found: TrainedMethod
    trained: Trained | None

    @classmethod
    def read(cls, run: Run | Path | str) -> Start:
        """Return a run's weights. Raise UserError if it has none that are trained."""
        path = Path(run.path if isinstance(run, Run) else run)
        found = trained_method(run, torch.device("cpu"))
        if found.step == 0:
            fail("the run to start from has no trained step", path, fix="train it first")
        trained = None if path.is_file() else remembered(RunFolder(path))
        return cls(path, found, trained)

    @property
    def class_names(self) -> tuple[str, ...]:
        names = self.found.state.get("class_names") or ["background"]
        more = range(len(names), self.found.recipe.data.classes)
        return (*map(str, names), *(f"class {number}" for number in more))

    def planned(
        self,
        recipe: str | Path | Mapping[str, Any],
        overrides: Sequence[str],
        data: Path | None,
        progress: Progress | None,
    ) -> tuple[Recipe, Plan | None]:
        """Return what ``resolve_planned`` does; a plan takes network and grid from the run."""
        own, of_run = layers(recipe).own, self.found.recipe.tables()
        read = layers(recipe, overrides)
        if not open_keys(read) or of_run["data"]["source"] != "folder":
            return resolve_planned(recipe, overrides, data, progress)
        table = {key: of_run["data"][key] for key in LIKE if of_run["data"].get(key)}
        order = self._order(data)
        kept: Tables = {"data": table | order, "network": of_run["network"]}
        try:
            asked, plan = resolve_planned(merged(kept, own), overrides, data, progress)
        except UserError as error:
            other, _ = resolve_planned(recipe, overrides, data, progress)
            raise_all([*self._other_axes(other)])
            raise error from None
        if plan is None:
            return asked, plan
        reason = "as in the run that this one starts from"
        choices = [
            Choice(name, kept[table][key], reason)
            for name in open_keys(read)
            for table, _, key in [name.partition(".")]
            if key in kept.get(table, {})
        ]
        choices += [Choice(f"data.{key}", order[key], f"{reason}, in its order") for key in order]
        return asked, replace(plan, choices=(*choices, *plan.choices))

    def _order(self, data: Path | None) -> dict[str, Any]:
        """Return the run's classes where new labels name the same ones in another order.

        Of a folder's segments the first label decides the order, and a new one may come first.
        """
        stated = stated_classes(data)
        of_run = getattr(self.found.recipe.data, "label_values", ())
        if stated.by != SEGMENTS or stated.entries == of_run or {*stated.entries} != {*of_run}:
            return {}
        return {"label_values": self.found.recipe.tables()["data"]["label_values"]}

    def check(self, recipe: Recipe, splits: Splits) -> None:
        """Raise UserError with every reason why the weights do not fit a recipe and its data."""
        raise_all([*self._misfits(recipe), *self._other_channels(splits)])

    def _other_channels(self, splits: Splits) -> Iterator[Problem]:
        if splits.channels != self.found.channels:
            yield self._problem("number of channels", splits.channels, self.found.channels)

    def _other_axes(self, recipe: Recipe) -> Iterator[Problem]:
        """Yield a problem if one of the two trains on volumes and the other on 2D images."""
        new, old = (_scans(each) for each in (recipe, self.found.recipe))
        if new != old:
            what = "the run to start from was trained on other scans"
            yield Problem(what, f"--from {self.run}", new, old, "omit --from")

    def _misfits(self, recipe: Recipe) -> Iterator[Problem]:
        if axes := [*self._other_axes(recipe)]:
            yield from axes
            return
        new, old = recipe.tables(), self.found.recipe.tables()
        for key in (*GRID, "regions"):
            if (new["data"].get(key) or []) != (old["data"].get(key) or []):
                name = f"data.{key}"
                yield self._problem(name, new["data"].get(key), old["data"].get(key))
        for key in sorted(new["network"].keys() | old["network"].keys() - {"dropout"}):
            pair = new["network"].get(key), old["network"].get(key)
            if key != "dropout" and pair[0] != pair[1]:
                yield self._problem(f"network.{key}", *pair)

    def _problem(self, name: str, found: object, expected: object) -> Problem:
        what = f"the run to start from has another {name}"
        its = "" if self.run.is_file() else f"use its recipe (crossview train {self.run} ...), or "
        fix = f"{its}omit --from"
        return Problem(what, f"--from {self.run}", str(found), f"{expected}, as in the run", fix)

    def begin(self, method: Method, recipe: Recipe, names: Sequence[str]) -> Taken:
        """Load the weights into a new method, and return what was taken.

        names: the classes of the new run. Raise UserError if no network of the run fits.
        """
        same = _same_classes(self.class_names, names)
        heads = heads_of(recipe, self.found.channels, self.found.recipe.data.classes)
        source = self.found.method
        if recipe.method.name == self.found.recipe.method.name:
            pairs = [(name, name) for name in parts(method.state_dict())]
        else:
            pairs = list(matching(method, source, heads))
        taken, new = [], dict.fromkeys(parts(method.state_dict()))
        for own, other in pairs:
            if load_part(method, own, parts(source.state_dict()).get(other, {}), heads, same):
                taken.append(own)
                del new[own]
        for teacher, student in teachers(method) if taken else ():
            if teacher in new and student in taken:
                method.load_state_dict(
                    method.state_dict() | prefixed(teacher, parts(method.state_dict())[student])
                )
                taken.append(teacher)
                del new[teacher]
        if not taken:
            fail(
                "no network of the run to start from fits this method",
                f"--from {self.run}",
                found=f"networks of {self.found.recipe.method.name}",
                expected=f"networks of {recipe.method.name}",
                fix="omit --from, or train with the run's method",
            )
        return Taken(self, tuple(taken), tuple(new), () if same else tuple(names))


@dataclass(frozen=True)
class Taken:
    """The parts of a method that begin with the weights of a run, and those that are new.

    classes: of the new heads; () if the run's heads are taken.
    """

    start: Start
    parts: tuple[str, ...]
    new: tuple[str, ...]
    classes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the record in environment.json."""
        found = self.start.found
        return {
            "run": str(self.start.run.absolute()),
            "started": str(found.state.get("started", "")),
            "method": found.recipe.method.name,
            "step": found.step,
            "weights": weights_digest(found.state["weights"]),
            "taken": list(self.parts),
            "new": [*self.new, *(["heads"] if self.classes else [])],
        }

    def text(self, run: str = "") -> str:
        """Return what was taken, in words. run: a name for the run instead of its folder's."""
        found, run = self.start.found, run or self.start.run.name
        begin = f"Training starts from the weights of {run} ({found.recipe.method.name}, "
        text = f"{begin}step {found.step:,}): taken {listed(self.parts)}"
        if self.new:
            text += f"; new {listed(self.new)}"
        if self.classes:
            before, now = listed(self.start.class_names[1:]), listed(self.classes[1:])
            text += f"; new heads, because the classes were {before} and are {now}"
        return f"{text}."

    def notes(self) -> list[str]:
        """Return the notes of the run for its report."""
        text = self.text("another run")  # environment.json has its folder
        if self.start.trained is not None:
            return [text]
        unknown = (
            "The cases that these weights were trained on are not known: a model file does not "
            "list them. Test cases may be among them."
        )
        return [text, unknown]

    def trained(self, now: Trained) -> Trained:
        """Return the cases that the weights will have seen: ``now`` and those of the run."""
        return inherited(now, self.start.trained or {})


def started(source: Run | Path | str | None, out: Path) -> Start | None:
    """Return what a new run in ``out`` starts from. Raise UserError if it would be deleted."""
    if source is None:
        return None
    start = Start.read(source)
    if out.resolve() in (start.run.resolve(), start.run.resolve().parent):
        fail("a run cannot start from the run that it replaces", out, fix="choose another --out")
    return start


def data_root(given: Path | str | None, start: Start | None) -> Path | None:
    """Return the folder of the data: the one given, else the one that ``start`` was trained on."""
    if given is not None or start is None or start.run.is_file():
        return None if given is None else Path(given)
    return Run(start.run).data_root(None)


def restarted(run: Run, asked: object = None) -> Start | None:
    """Return what a run started from that was killed before its first checkpoint.

    None for a cold start, or if there is a checkpoint. Raise UserError if these weights are not
    there any more, or others are ``asked`` for.
    """
    if asked is not None:
        what = "--from and --resume cannot be combined"
        fail(what, fix="omit --from: a resumed run has its weights")
    record = run.environment.get(RECORD)
    if not record or (run.path / "checkpoints" / "last.pt").exists():
        return None
    start = Start.read(record["run"])
    found = weights_digest(start.found.state["weights"])
    if found != record["weights"]:
        fail(
            "the weights that the run started from have changed",
            record["run"],
            found=found,
            expected=record["weights"],
            fix="train again with --overwrite",
        )
    return start


def _same_classes(old: Sequence[str], new: Sequence[str]) -> bool:
    """True if the classes are the same, in the same order. A class without a name fits any."""
    return len(old) == len(new) and all(
        one == other or f"class {number}" in (one, other)
        for number, (one, other) in enumerate(zip(old, new, strict=True))
    )
