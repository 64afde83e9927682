"""The minimum volume of predicted pieces: asked for, or chosen on the validation cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossview.core.errors import UserError, fail
from crossview.core.progress import Progress
from crossview.evaluation.evaluate import predicted
from crossview.evaluation.minimum_volume import Choice, chosen, found_in
from crossview.evaluation.patients import caution
from crossview.recipe.resolve import Recipe, resolve
from crossview.runs.prepare import find_splits, preprocessing_of
from crossview.runs.run import Run, make_predictor, stored_precision
from crossview.runs.unseen import unseen
from crossview.runs.weights import load_method
from crossview.training.device import find_device, set_kernels


def with_minimum_volume(recipe: Recipe, volumes: Sequence[float]) -> Recipe:
    """Return the recipe with other minimum volumes. Raise UserError if they do not fit."""
    numbers = [float(each) for each in volumes] if any(volumes) else []
    try:
        return resolve(recipe.tables(), [f"inference.minimum_volume={numbers}"])
    except UserError as error:
        where = "--minimum-volume"
        raise UserError(replace(problem, where=where) for problem in error.problems) from None


def unit_of(recipe: Recipe) -> str:
    """Return the unit of a recipe's volumes: "mm3", "voxels" or "pixels"."""
    if recipe.data.spacing:
        return "mm3"
    # Volumes of a user have a spacing; those of the published files have none.
    images = len(recipe.data.patch) == 2 and recipe.data.source == "folder"
    return "pixels" if images else "voxels"


def clean_up_of(recipe: Recipe) -> str:
    """Return the clean-up of a recipe's predictions in words; "none" for none."""
    inference = recipe.inference
    parts = ["largest component"] if inference.largest_component else []
    if any(inference.minimum_volume):
        every = inference.minimum_volume
        volumes = " and ".join(f"{each:g}" for each in (every if len({*every}) > 1 else every[:1]))
        parts.append(f"pieces of at least {volumes} {unit_of(recipe)}")
    return ", ".join(parts) or "none"


@dataclass(frozen=True)
class Choices:
    """The choice of each class.

    Attributes:
        unit: Of volumes: "mm3", "voxels" or "pixels".
        cases: Number of validation cases.
        patients: Of these cases.
        notes: What a user must know of them.
    """

    classes: tuple[Choice, ...]
    unit: str
    cases: int
    patients: int
    notes: tuple[str, ...]

    @property
    def advised(self) -> tuple[float, ...]:
        """The volume of each class, 0 where none is better by more than chance."""
        return tuple(each.advised for each in self.classes)


def choose_minimum_volume(
    run: Run | Path | str,
    data: Path | str | None = None,
    *,
    checkpoint_name: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Choices:
    """Choose the minimum volume of each class's pieces on a run's validation cases.

    Args:
        run: A run, or its folder.
        data: The folder of the data. Default: the folder that the run was trained on.
        checkpoint_name: "last" or "selected". Default: by the recipe's selection.
        device: "auto", "cpu", "cuda", "cuda:1" ...
        progress: Called with (done, total).

    Returns:
        The volume of each class with its mean Dice, next to those of the others that were tried.

    Raises:
        UserError: If there are no validation cases, one was trained on with its label, or a file
            cannot be read.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    recipe = with_minimum_volume(run.recipe, ())
    root = run.data_root(data)
    splits = find_splits(recipe, root)
    if not splits.validation:
        fix = "list labelled cases under validation in split.toml, and train on the others"
        fail("the data set has no validation cases", root or recipe.data.source, fix=fix)
    cases, seen = unseen(run, splits.validation, splits, "validation", root)
    where = find_device(device, "--device")
    set_kernels(deterministic=False)
    method, _ = load_method(run.recipe, run.checkpoint(checkpoint_name), splits.channels, where)
    precision = stored_precision(recipe)
    predictor = make_predictor(recipe, method, where, precision, progress, many=True)
    found = defaultdict(list)
    for item, label, prediction in predicted(
        predictor, cases, splits, preprocessing_of(recipe, splits)
    ):
        of_case = found_in(item.case, label, prediction.label, splits, item.voxel)
        for number, pieces in of_case.items():
            found[number].append(pieces)
    patients = len({case.patient for case in cases})
    return Choices(
        tuple(chosen(splits.scored_names[number], found[number]) for number in sorted(found)),
        unit_of(recipe),
        len(cases),
        patients,
        tuple(filter(None, [*seen(), caution(patients)])),
    )
