"""Checks and preparation of a recipe's data before a run is made. Nothing is written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch

from crossview.core.errors import Problem, raise_all
from crossview.core.files import nearest_folder
from crossview.core.progress import Progress
from crossview.core.threads import ThreadPool
from crossview.data import sources
from crossview.data.case import Case, Splits
from crossview.data.checks.case import read_case
from crossview.data.contents import Contents
from crossview.data.preprocess import AS_STORED, Preprocessing
from crossview.data.store import Mask, Store
from crossview.data.stream import Stream
from crossview.methods import METHODS, find
from crossview.recipe.planned import no_unlabelled, unlabelled_problems
from crossview.recipe.resolve import Recipe
from crossview.training.distributed import ALONE, World


@dataclass(frozen=True)
class Prepared:
    """The checked recipe, data and batches of a training run.

    data: the folder, if any. contents: digests of the training cases, taken as they were read.
    """

    recipe: Recipe
    splits: Splits
    stream: Stream
    data: Path | None
    contents: Contents

    @property
    def device(self) -> torch.device:
        return self.stream.device

    @property
    def fingerprint(self) -> str:
        """Return a hash of the training cases in order: batches are drawn by a case's position."""
        unlabelled = () if self.stream.unlabelled is None else self.stream.unlabelled.ids
        return hashlib.sha256(
            "\n".join((*self.stream.labelled.ids, "", *unlabelled)).encode(errors="replace")
        ).hexdigest()[:16]


def prepare(
    recipe: Recipe,
    data: Path | None,
    progress: Progress | None = None,
    *,
    world: World = ALONE,
    out: Path | None = None,
) -> Prepared:
    """Read and check all training cases. Raise UserError with every problem found.

    Args:
        recipe: The recipe.
        data: The folder of the data; None if the source needs none.
        progress: Called with (cases read, cases in all).
        world: The processes that share the batches.
        out: The run folder, which need not exist. The prepared volumes are mapped from its disk;
            None: from the disk of the system's temporary folder.
    """
    raise_all(sharing_problems(recipe, world))
    options, device = recipe.training, world.device(recipe.training.device)
    splits = find_splits(recipe, data)
    problems = [problem for check in CHECKS for problem in check(recipe, splits)]
    raise_all([*problems, *partial_problems(recipe, splits, world)])
    unlabelled = splits.unlabelled if recipe.uses_unlabelled else ()
    preprocessing, contents = preprocessing_of(recipe, splits), Contents(splits.raw)

    def store(cases: Sequence[Case], before: int, only: Mapping[str, Mask] | None = None) -> Store:
        total = len(splits.taught) + len(unlabelled)
        return Store(
            [preprocessing.case(contents.watched(case)) for case in cases],
            classes=splits.classes,
            channels=splits.channels,
            slices=splits.raw and len(recipe.data.patch) == 2,
            only=only,
            device=device,
            # Raw scans can be large, and preprocessing takes three times their size: few at once.
            workers=min(4, os.cpu_count() or 1) if splits.raw else None,
            folder=None if out is None else nearest_folder(out),
            progress=progress and (lambda done, _: progress(before + done, total)),
        )

    labelled = store(splits.taught, 0)
    if recipe.uses_unlabelled:
        # A voxel that nobody labelled is an unlabelled one, whatever is labelled around it.
        unsure = [case for case in splits.labelled if case.id in labelled.unsure]
        unlabelled = (*unlabelled, *(case.without_label() for case in unsure))
        raise_all([] if unlabelled else no_unlabelled(recipe, splits))
    stream = Stream(
        labelled,
        store(unlabelled, len(splits.taught), labelled.unsure) if unlabelled else None,
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
    return Prepared(recipe, splits, stream, data, contents)


def sharing_problems(recipe: Recipe, world: World) -> list[Problem]:
    """Return why the processes cannot share the recipe's batches."""
    if world.size == 1:
        return []
    problems = []
    name, processes = recipe.method.name, f"{world.size} processes"
    if not find(name).separable(recipe.method):
        able = ", ".join(
            name
            for name, method in METHODS.items()
            if ":" not in name and method.separable(method.Options(name=name))
        )
        what = f"{name} cannot be trained in several processes: its loss needs the whole batch"
        fix = f"train it in one process, or choose one of {able} (bcp only with method.dice=sample)"
        problems.append(Problem(what, "[method]", processes, fix=fix))
    keys = ("labelled_batch", *(["unlabelled_batch"] if recipe.uses_unlabelled else []))
    expected = (
        f"a multiple of {2 * world.size}: "
        "each takes the same number of pairs (i, i + n/2) of a batch of n"
    )
    sizes = {key: getattr(recipe.training, key) for key in keys}
    return problems + [
        Problem(f"{processes} cannot share the batch", f"[training] {key}", str(size), expected)
        for key, size in sizes.items()
        if size % (2 * world.size)
    ]


def partial_problems(recipe: Recipe, splits: Splits, world: World) -> list[Problem]:
    """Return why partial labels can't be trained on with this recipe."""
    if not any(case.partial for case in splits.labelled):
        return []
    problems = []
    name = recipe.method.name
    if not find(name).partial_labels:
        what = f"{name} cannot be trained on partial labels"
        found, fix = "an ignore value or [slices] in the data", "label these scans whole"
        fix += ", or set partial_labels in the method's class and leave such voxels out of its loss"
        problems.append(Problem(what, "[method]", found, fix=fix))
    if world.size > 1:
        what = "several processes cannot share a batch of partial labels"
        found, fix = f"{world.size} processes", "train in one process"
        reason = "one process: the loss is a mean over the labelled voxels of the whole batch"
        problems.append(Problem(what, "[training]", found, reason, fix))
    return problems


def selection_problems(recipe: Recipe, splits: Splits) -> list[Problem]:
    """Return a problem if the checkpoint is selected by cases that do not exist."""
    by = recipe.training.selection
    if by == "last" or (splits.test if by == "test" else splits.validation):
        return []
    fix = "set data.validation=2 to hold out two labelled patients, or set training.selection=last"
    what = f"no {by} cases to select the checkpoint by"
    return [Problem(what, where="[training] selection", fix=fix)]


def scoring_problems(recipe: Recipe, splits: Splits) -> list[Problem]:
    """Return the problems of the cases scored during training, each of which is read once."""
    axes = (2, 3) if len(recipe.data.patch) == 2 else (3,)

    def problems_of(case: Case) -> list[Problem]:
        read = read_case(case, splits.classes, splits.channels)
        if read.image is None or read.image.ndim - 1 in axes:
            return read.problems
        what = "the case does not fit the inference mode"
        fitting = " or ".join(map(str, axes))
        expected = f"{fitting}, for inference.mode = {recipe.inference.mode}"
        return [Problem(what, case.id, f"{read.image.ndim - 1} axes", expected)]

    with ThreadPool(4) as pool:
        return [*chain.from_iterable(pool.map(problems_of, scored_cases(recipe, splits)))]


CHECKS = (unlabelled_problems, selection_problems, scoring_problems)
"""Checks of a recipe with its cases before the training cases are read."""


def scored_cases(recipe: Recipe, splits: Splits) -> tuple[Case, ...]:
    """Return the cases scored during training: test cases only if the recipe selects by them.

    A single validation case of a user's own scans is not scored unless it selects the checkpoint:
    its Dice says more about that case than about training.
    """
    if splits.raw and recipe.training.selection == "last" and len(splits.validation) < 2:
        return ()
    return splits.test if recipe.training.selection == "test" else splits.validation


def preprocessing_of(recipe: Recipe, splits: Splits) -> Preprocessing:
    """Return the preprocessing of images before a network sees them."""
    return Preprocessing.of(recipe.data) if splits.raw else AS_STORED


def find_splits(recipe: Recipe, data: Path | None) -> Splits:
    """Return the data set's cases by their role. Raise UserError."""
    return sources.find_splits(recipe.data, data)
