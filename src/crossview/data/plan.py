"""The plan: keys of a recipe chosen from the fingerprint of a user's scans, each with a reason.

The rules are the established ones (nnU-Net: Isensee et al., Nature Methods 2021): the median voxel
spacing; slices instead of volumes if slices are much thicker than pixels; the median scan as patch,
as far as memory allows; intensities clipped and scaled per scan, or by fixed numbers in CT. Keys
that the user has set are kept, and the others follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from crossview.data.fingerprint import Fingerprint
from crossview.data.foreground import share_for, shares_met
from crossview.data.patch import MOST_LEVELS, SMALLEST_BOTTLENECK, levels_of, patch_of
from crossview.recipe import Tables, with_total_steps

THICK = 3.0
"""Minimum ratio of slice thickness to pixel size to segment slices one by one (as in nnU-Net)."""
FEWEST_SLICES = 16
CLEARLY = 1.2
"""Minimum ratio of an axis' spacing to the next largest that makes it the slice axis."""
DIRECTIONS = ("left to right", "back to front", "foot to head")
AUGMENTATION = (
    "mild",
    "small rotations, scaling, intensity changes and noise; scans share one orientation, so turns "
    "by 90 degrees would show images that never occur",
)
READY_DICE = 0.5
"""A network with a lower Dice for a class on labelled crops has not found it yet.

Measured in docs/explanation/cml.md.
"""
ONE_PIECE = 0.99
"""Minimum share of a class's voxels in its largest component, in every labelled case."""


@dataclass(frozen=True)
class Budget:
    """The amount of work that a device handles in reasonable time.

    Attributes:
        name: Name of the device, for reasons.
        voxels: Most voxels of a patch of volumes.
        pixels: Most pixels of a patch of slices.
        filters: Width of the network.
        batch: Labelled volumes per step.
        flat_batch: Labelled slices per step.
        steps: Steps of the whole training.
    """

    name: str
    voxels: int
    pixels: int
    filters: int
    batch: int
    flat_batch: int
    steps: int


CPU = Budget("CPU", 48**3, 192**2, 8, 4, 8, 1500)
GPU = Budget("GPU", 112 * 112 * 80, 384**2, 16, 4, 12, 15000)


@dataclass(frozen=True)
class Needs:
    """The properties of a method that a plan depends on.

    Attributes:
        steps: Shipped steps of its stages, by key.
        unlabelled: True if it trains on unlabelled scans.
        even: True if it mixes the halves of a batch.
        cleans: True if it has the key ``largest_component``.
        waits: True if its labelled stage can wait (``ready_dice``).
    """

    steps: Mapping[str, int]
    unlabelled: bool
    even: bool
    cleans: bool
    waits: bool = False


@dataclass(frozen=True)
class Choice:
    """A key that the plan sets, e.g. "data.patch", its value, and the reason in a sentence."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Plan:
    """The choices for the keys that a recipe left open, and their basis."""

    choices: tuple[Choice, ...]
    fingerprint: Fingerprint
    budget: Budget

    def tables(self) -> Tables:
        """Return the choices as raw tables of a recipe."""
        tables: Tables = {}
        for choice in self.choices:
            table, _, key = choice.key.partition(".")
            tables.setdefault(table, {})[key] = choice.value
        return tables

    def as_json(self) -> dict[str, Any]:
        """Return the content of RUN/plan.json."""
        choices = [
            {"key": choice.key, "value": choice.value, "reason": choice.reason}
            for choice in self.choices
        ]
        return {
            "device": self.budget.name,
            "choices": choices,
            "fingerprint": self.fingerprint.as_json(),
        }


class _Choices:
    """A record of choices. A key that the user gave keeps its value and is not recorded."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.made: list[Choice] = []

    def get(self, key: str) -> Any:
        """Return the value that the user gave, or None."""
        table, _, name = key.partition(".")
        return self.given.get(table, {}).get(name)

    def __call__(self, key: str, value: Any, reason: str) -> Any:
        given = self.get(key)
        if given is None:
            self.made.append(Choice(key, value, reason))
        return value if given is None else given


def make_plan(
    fingerprint: Fingerprint, given: Mapping[str, Any], needs: Needs, budget: Budget
) -> Plan:
    """Return the plan for a data set, a method and a device.

    Args:
        fingerprint: Facts of the training scans, with canonical axes: right, front, head.
        given: Raw tables of the user's keys, which are kept.
        needs: Properties of the method.
        budget: Limits of the device.
    """
    choose = _Choices(given)
    choose(
        "data.classes",
        fingerprint.classes,
        f"the background is class 0 and the highest class is {fingerprint.classes - 1}",
    )
    flat, why = _flat(fingerprint, choose)
    choose("network.name", "unet" if flat else "vnet", why)
    shapes, order = _choose_grid(fingerprint, choose, flat)
    patch = _choose_patch(shapes, choose, flat, budget)
    _choose_foreground(fingerprint, choose, shapes, order, patch)
    _choose_intensities(fingerprint, choose)
    items = (
        sum(shape[0] for shape in shapes[: fingerprint.labelled])
        if flat and fingerprint.axes == 3
        else fingerprint.labelled
    )
    _choose_batches(items, choose, flat, needs, budget)
    quarter = 2 ** len(patch)
    choose(
        "inference.stride",
        [side // 2 for side in patch],
        f"half the patch; a quarter gives smoother seams but takes {quarter} times as long",
    )
    _choose_clean_up(fingerprint, choose, flat, needs)
    _choose_steps(choose, needs, budget)
    if needs.waits:
        reason = (
            "the labelled stage runs on until each network reaches this Dice for each class; "
            "a network that misses a class would teach the others nothing about it"
        )
        choose("method.ready_dice", READY_DICE, reason)
    return Plan(tuple(choose.made), fingerprint, budget)


def _through(fingerprint: Fingerprint) -> int:
    """Return the slice axis: that of the thickest voxels, else of few voxels, else foot to head."""
    shape = _median(fingerprint.shapes)
    if fingerprint.spacings:
        spacing = _median(fingerprint.spacings)
        *_, second, thickest = sorted(spacing)
        if thickest > CLEARLY * second:
            return spacing.index(thickest)
    return shape.index(min(shape)) if min(shape) < FEWEST_SLICES else 2


def _flat(fingerprint: Fingerprint, choose: _Choices) -> tuple[bool, str]:
    """Return True if slices are segmented instead of volumes, and the reason."""
    if fingerprint.axes == 2:
        return True, "the images have two axes"
    if choose.get("data.patch") is not None:
        return len(
            choose.get("data.patch")
        ) == 2, f"your patch has {len(choose.get('data.patch'))} sides"
    if choose.get("network.name") is not None:
        return choose.get("network.name") == "unet", ""
    through = _through(fingerprint)
    slices = round(_median(fingerprint.shapes)[through])
    spacing = _median(fingerprint.spacings) if fingerprint.spacings else [1.0, 1.0, 1.0]
    pixel = max(side for axis, side in enumerate(spacing) if axis != through)
    apart = f"slices are {spacing[through]:g} mm apart and pixels are {pixel:g} mm wide"
    if spacing[through] >= THICK * pixel:
        return (
            True,
            f"{apart}, a ratio of {spacing[through] / pixel:.1f}: segmented slice by slice "
            f"(from a ratio of {THICK:g})",
        )
    if slices < FEWEST_SLICES:
        return (
            True,
            f"the median scan has {slices} slices: segmented slice by slice "
            f"(fewer than {FEWEST_SLICES})",
        )
    return False, f"{apart}, and the median scan has {slices} slices: segmented as volumes"


def _choose_grid(
    fingerprint: Fingerprint, choose: _Choices, flat: bool
) -> tuple[list[tuple[int, ...]], list[int]]:
    """Choose axis order and spacing. Return the scans' shapes in them, and the order."""
    shapes, spacings = list(fingerprint.shapes), list(fingerprint.spacings)
    order: Any = list(range(fingerprint.axes))
    if fingerprint.axes == 3:
        through = _through(fingerprint)
        others = [axis for axis in range(3) if axis != through]
        place, order = ("first", [through, *others]) if flat else ("last", [*others, through])
        order = choose(
            "data.nifti_axes",
            order,
            f"the slice axis ({DIRECTIONS[through]}) comes {place}",
        )
        shapes, spacings = (
            [tuple(row[axis] for axis in order) for row in rows] for rows in (shapes, spacings)
        )
    if not spacings:
        choose("data.spacing", [], "the files store no voxel spacing: images are used as they are")
        return shapes, order
    target = [float(f"{side:.4g}") for side in _median(spacings)]
    reason = f"the median of {len(spacings)} training scans; every scan is resampled to it"
    if flat and fingerprint.axes == 3:
        target[0], reason = 0.0, reason + ", except along the slice axis (0)"
    target = choose("data.spacing", target, reason)
    if not target:
        return shapes, order
    resampled: list[tuple[int, ...]] = [
        tuple(
            max(1, round(side * here / (there or here)))
            for side, here, there in zip(shape, spacing, target, strict=True)
        )
        for shape, spacing in zip(shapes, spacings, strict=True)
    ]
    return resampled, order


def _choose_patch(
    shapes: Sequence[Sequence[int]], choose: _Choices, flat: bool, budget: Budget
) -> list[int]:
    """Choose patch, levels and width. Return the patch."""
    median = [round(side) for side in _median([shape[-2:] if flat else shape for shape in shapes])]
    most, what = (budget.pixels, "pixels") if flat else (budget.voxels, "voxels")
    if choose.get("data.patch") is not None:
        patch = list(choose.get("data.patch"))
        levels = choose(
            "network.levels",
            levels_of(patch),
            f"the most that your patch allows, up to {MOST_LEVELS}",
        )
    else:
        asked = choose.get("network.levels")
        patch, levels = patch_of(
            median, most, range(MOST_LEVELS, 1, -1) if asked is None else [asked]
        )
        size = f"the median scan has {' x '.join(map(str, median))} {what}"
        bound = (
            f"; a {budget.name} handles at most {most:,} {what} in reasonable time"
            if prod(median) > most
            else ""
        )
        choose("data.patch", patch, f"{size}{bound}; sides are multiples of {2 ** (levels - 1)}")
        deepest = min(patch) // 2 ** (levels - 1)
        choose(
            "network.levels",
            levels,
            f"the deepest level then has {deepest} {what} along its shortest side; "
            f"the minimum is {SMALLEST_BOTTLENECK}",
        )
    published = (
        f"half the published {2 * budget.filters}, because a CPU is slow"
        if budget.filters < GPU.filters
        else "as published"
    )
    choose("network.filters", budget.filters, published)
    return patch


def _choose_foreground(
    fingerprint: Fingerprint,
    choose: _Choices,
    shapes: Sequence[Sequence[int]],
    order: Sequence[int],
    patch: Sequence[int],
) -> None:
    """Centre some labelled crops on foreground if uniformly drawn ones miss a class too often."""
    if choose.get("data.sampling") == "resize":
        choose("data.foreground_share", 0.0, "training uses whole slices, not crops")
        return
    scans = [{value: at[:, order] for value, at in places.items()} for places in fingerprint.places]
    box = [1] * (fingerprint.axes - len(patch)) + list(patch)
    choose("data.foreground_share", *share_for(shares_met(scans, shapes[: len(scans)], box)))


def _choose_intensities(fingerprint: Fingerprint, choose: _Choices) -> None:
    if fingerprint.ct and fingerprint.foreground:
        reason = (
            f"CT, according to {fingerprint.ct_told_by}: "
            "all scans are scaled by the labelled foreground"
        )
    else:
        reason = (
            "intensities have no absolute scale: each scan is clipped to its 0.5th and 99.5th "
            "percentile and scaled by its own mean and standard deviation"
        )
    way = choose(
        "data.normalisation",
        "foreground" if fingerprint.ct and fingerprint.foreground else "z_score_clipped",
        reason,
    )
    if way == "foreground":
        numbers = [list(channel) for channel in fingerprint.foreground]
        choose(
            "data.intensities",
            numbers,
            "per channel, 0.5th and 99.5th percentile, mean and standard deviation "
            "of the labelled foreground",
        )
    crops = choose.get("data.sampling") in (None, "crop")
    choose(
        "data.augmentation",
        *(AUGMENTATION if crops else ("none", "mild needs data.sampling = crop")),
    )


def _choose_batches(items: int, choose: _Choices, flat: bool, needs: Needs, budget: Budget) -> None:
    """Choose the batch: as many labelled items as device and data allow; the same of unlabelled."""
    most = budget.flat_batch if flat else budget.batch
    size = min(most, items)
    if needs.even:
        size -= size % 2
    kind = "slices" if flat and items > most else "cases"
    there = f"there are {items} labelled {kind}"
    reason = (
        f"the most that the device handles in reasonable time; {there}" if items > most else there
    ) + ("; an even number, because the method mixes pairs" if needs.even and size < most else "")
    size = choose("training.labelled_batch", size, reason)
    choose(
        "training.unlabelled_batch",
        size if needs.unlabelled else 0,
        "the same as training.labelled_batch"
        if needs.unlabelled
        else "the method uses no unlabelled scans",
    )


def _choose_clean_up(fingerprint: Fingerprint, choose: _Choices, flat: bool, needs: Needs) -> None:
    shares = fingerprint.pieces
    loose = {value: share for value, share in shares.items() if share < ONE_PIECE}
    if loose:
        value = min(loose, key=loose.__getitem__)
        reason = (
            f"in a labelled case the largest component of class {value} has "
            f"{loose[value]:.0%} of its voxels, so all components are kept"
        )
    else:
        least = min(shares.values(), default=1)
        of_it = "" if least == 1 else f", except for at most {1 - least:.2%} of its voxels"
        reason = f"each class is one connected component in every labelled case{of_it}"
    choose("inference.largest_component", not loose, reason)
    if needs.cleans:
        slices = flat and fingerprint.axes == 3
        why = (
            "one component in a scan can be several in a slice"
            if slices and not loose
            else "the same for pseudo-labels"
        )
        choose("method.largest_component", not loose and not slices, why)


def _choose_steps(choose: _Choices, needs: Needs, budget: Budget) -> None:
    """Divide the device's steps among the stages as shipped, or scale them to the user's steps."""
    given = {
        key: choose.get(f"method.{key}")
        for key in needs.steps
        if choose.get(f"method.{key}") is not None
    }
    left = {key: steps for key, steps in needs.steps.items() if key not in given}
    if not any(left.values()):
        return
    shipped = sum(needs.steps[key] for key in given)
    total = (
        round(sum(left.values()) * sum(given.values()) / shipped)
        if any(given.values()) and shipped
        else budget.steps
    )
    reason = (
        "in proportion to the steps you set"
        if any(given.values())
        else f"a share of {total:,} in all, chosen for a {budget.name}; more steps rarely do harm"
    )
    for key, steps in with_total_steps({"method": left}, max(total, len(left)))["method"].items():
        choose(f"method.{key}", steps, reason)


def _median(rows: Sequence[Sequence[float]]) -> list[float]:
    return [float(value) for value in np.median(np.array(rows, dtype=np.float64), axis=0)]
