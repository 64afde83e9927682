"""What is found out before a run is made: the recipe holds, the data is whole, the device is there. Nothing is written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from crossview.core.errors import Problem, UserError, raise_all
from crossview.core.progress import Progress
from crossview.data import sources
from crossview.data.case import Case, Splits
from crossview.data.checks.case import read_case
from crossview.data.memory import Room
from crossview.data.preprocess import AS_STORED, Preprocessing
from crossview.data.store import Store
from crossview.data.stream import Stream
from crossview.methods import METHODS, find
from crossview.recipe.resolve import Recipe
from crossview.runs.run import Run
from crossview.training.distributed import ALONE, World


@dataclass(frozen=True)
class Prepared:
    """What ``train`` has found out before it writes anything: the recipe holds, the data is whole, the device is there."""

    recipe: Recipe
    splits: Splits
    stream: Stream
    device: torch.device
    data: Path | None

    @property
    def fingerprint(self) -> str:
        """Tells the training cases and their order: a batch is drawn by a case's place in it."""
        unlabelled = () if self.stream.unlabelled is None else self.stream.unlabelled.ids
        return hashlib.sha256(
            "\n".join((*self.stream.labelled.ids, "", *unlabelled)).encode(errors="replace")
        ).hexdigest()[:16]

    @property
    def on_disk(self) -> int:
        """Bytes of prepared volumes that lie on disk, because they are beyond training.memory_gb."""
        return sum(
            store.nbytes
            for store in (self.stream.labelled, self.stream.unlabelled)
            if store is not None and store.on_disk
        )


def check_same_cases(run: Run, prepared: Prepared) -> None:
    """A resumed run must draw from the cases it began with. Raises UserError."""
    then = run.environment.get("training_cases", prepared.fingerprint)
    if then != prepared.fingerprint:
        fix = "give the data the run began with, or train into another folder"
        where = str(prepared.data or prepared.recipe.data.source)
        found = f"{len(prepared.splits.labelled)} labelled and {len(prepared.splits.unlabelled)} unlabelled cases"
        raise UserError(
            Problem(
                "the training cases are not those the run began with",
                where,
                found,
                "the same cases in the same order",
                fix,
            )
        )


def check_share(recipe: Recipe, world: World) -> None:
    """Raise UserError, with all problems, unless the world's processes can share the recipe's batches."""
    if world.size == 1:
        return
    problems = []
    if not find(recipe.method.name).separable(recipe.method):
        able = ", ".join(
            name
            for name, method in METHODS.items()
            if ":" not in name and method.separable(method.Options(name=name))
        )
        what = f"{recipe.method.name} can't be trained in several processes: its loss takes the whole batch together"
        fix = f"train it in one process, or one of {able} (bcp with method.dice=sample)"
        problems.append(Problem(what, "[method]", f"{world.size} processes", fix=fix))
    unlabelled = any(stage.unlabelled for stage in recipe.stages())
    for key in ("labelled_batch", "unlabelled_batch") if unlabelled else ("labelled_batch",):
        size = getattr(recipe.training, key)
        if size % (2 * world.size):
            expected = f"a multiple of {2 * world.size}: each takes as many pairs (i, i + n/2) of a batch of n"
            problems.append(
                Problem(
                    f"{world.size} processes can't share the batch",
                    f"[training] {key}",
                    str(size),
                    expected,
                )
            )
    raise_all(problems)


def check_unlabelled(recipe: Recipe, splits: Splits) -> None:
    """Raise UserError where the method trains on unlabelled cases and there are none."""
    if not splits.unlabelled and any(stage.unlabelled for stage in recipe.stages()):
        fix = "fewer data.labelled, more scans without labels, or method.name=supervised"
        raise UserError(
            Problem(
                f"{recipe.method.name} needs unlabelled cases",
                "[data]",
                f"none beside the {len(splits.labelled)} labelled",
                fix=fix,
            )
        )


def prepare(
    recipe: Recipe,
    data: Path | None,
    progress: Progress | None = None,
    *,
    world: World = ALONE,
    out: Path | None = None,
) -> Prepared:
    """Read and check all training cases. out: the run folder, which need not exist; volumes beyond training.memory_gb lie on its disk.

    Raises UserError with every problem found.
    """
    check_share(recipe, world)
    device = world.device(recipe.training.device)
    splits = find_splits(recipe, data)
    options = recipe.training
    selection = {"last": None, "validation": splits.validation, "test": splits.test}[
        options.selection
    ]
    if selection is not None and not selection:
        fix = "data.validation=2 takes two of the labelled cases, or training.selection=last"
        raise UserError(
            Problem(
                f"there are no {options.selection} cases to select by",
                where="[training] selection",
                fix=fix,
            )
        )
    unlabelled = splits.unlabelled if any(stage.unlabelled for stage in recipe.stages()) else ()
    check_unlabelled(recipe, splits)
    check_scored(recipe, splits)
    total = len(splits.labelled) + len(unlabelled)

    preprocessing = preprocessing_of(recipe, splits)

    def store(cases: Sequence[Case], done: int, room: Room | None) -> Store:
        told = None if progress is None else lambda now, _: progress(done + now, total)
        slices = splits.raw and len(recipe.data.patch) == 2
        seen = [preprocessing.case(case) for case in cases]
        # Raw scans can be large, and being normalised and resampled takes three times their size: few at once.
        workers = min(4, os.cpu_count() or 1) if splits.raw else None
        counts = {"classes": splits.classes, "channels": splits.channels}
        return Store(
            seen, **counts, slices=slices, device=device, workers=workers, room=room, progress=told
        )

    room = Room.of(options.memory_gb, out)
    labelled = store(splits.labelled, 0, room)
    left = None if room is None else room.less(labelled.in_memory)
    stream = Stream(
        labelled,
        store(unlabelled, len(splits.labelled), left) if unlabelled else None,
        patch=recipe.data.patch,
        sampling=recipe.data.sampling,
        augmentation=recipe.data.augmentation,
        labelled_batch=options.labelled_batch,
        unlabelled_batch=options.unlabelled_batch,
        seed=options.seed,
        foreground_share=recipe.data.foreground_share,
        device=device,
        rank=world.rank,
        ranks=world.size,
    )
    return Prepared(recipe, splits, stream, device, data)


def scored_cases(recipe: Recipe, splits: Splits) -> tuple[Case, ...]:
    """The cases that are scored during training: the only way from training to test cases is a recipe that says so.

    A single validation case of a user's own scans is not scored where nothing is selected by it: it tells more of itself than of training.
    """
    if splits.raw and recipe.training.selection == "last" and len(splits.validation) < 2:
        return ()
    return splits.test if recipe.training.selection == "test" else splits.validation


def check_scored(recipe: Recipe, splits: Splits) -> None:
    """Read the cases that will be scored during training once, before anything is written. Raises one UserError with all problems."""
    axes = (2, 3) if len(recipe.data.patch) == 2 else (3,)

    def problems_of(case: Case) -> list[Problem]:
        read = read_case(case, splits.classes, splits.channels)
        if read.image is not None and read.image.ndim - 1 not in axes:
            found, expected = (
                f"{read.image.ndim - 1} axes",
                f"{' or '.join(map(str, axes))}, for inference.mode = {recipe.inference.mode}",
            )
            return [Problem("the case does not fit the way of inference", case.id, found, expected)]
        return read.problems

    with ThreadPoolExecutor(4) as pool:
        raise_all(
            [
                problem
                for problems in pool.map(problems_of, scored_cases(recipe, splits))
                for problem in problems
            ]
        )


def preprocessing_of(recipe: Recipe, splits: Splits) -> Preprocessing:
    """What is done to the images of cases before a network sees them."""
    return Preprocessing.of(recipe.data) if splits.raw else AS_STORED


def find_splits(recipe: Recipe, data: Path | None) -> Splits:
    """The data set's cases by their role. Raises UserError."""
    return sources.find(recipe.data.source).splits(data, recipe.data)
