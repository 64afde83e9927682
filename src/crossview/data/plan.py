"""From the fingerprint of a user's scans to the keys of a recipe, each with its reason.

The rules are those the field has settled on (nnU-Net: Isensee et al., Nature Methods 2021): voxels of the median size; slices instead of
volumes where they are much thicker than their pixels; the median scan as patch, as far as memory goes; intensities clipped and scaled by
the scan's own values, by fixed numbers in CT. What a user has set is kept, and the rest follows it.
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
"""Slices at least so many times as thick as their pixels are segmented one by one (nnU-Net's threshold)."""
FEWEST_SLICES = 16
CLEARLY = 1.2
"""So many times the others' side makes an axis the one along which slices are counted."""
DIRECTIONS = ("left to right", "back to front", "foot to head")
AUGMENTATION = (
    "mild",
    "small turns, changes of size and intensity, noise: scans lie alike, so turns by 90 degrees teach what never comes",
)
READY_DICE = 0.5
"""Measured in docs/explanation/cml.md: a network with less of a class on labelled crops is one that has yet to find it."""
ONE_PIECE = 0.99
"""Share of a class's voxels that its largest component must have in every labelled case."""


@dataclass(frozen=True)
class Budget:
    """What a device gets through in good time.

    voxels, pixels: the most of a patch, of volumes and of slices. filters: the network's width. batch, flat_batch: labelled volumes and
    slices a step. steps: of the whole training.
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
    """What the method asks of a plan.

    steps: of its stages, by key, as shipped. unlabelled: whether it trains on unlabelled scans. even: whether it mixes the halves of a
    batch. cleans: whether it has the key ``largest_component``. waits: whether its labelled stage can wait (``ready_dice``).
    """

    steps: Mapping[str, int]
    unlabelled: bool
    even: bool
    cleans: bool
    waits: bool = False


@dataclass(frozen=True)
class Choice:
    """A key that the plan sets ("data.patch"), its value, and the reason in a sentence."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Plan:
    """The keys that a recipe left open, and what they were told from."""

    choices: tuple[Choice, ...]
    fingerprint: Fingerprint
    budget: Budget

    def tables(self) -> Tables:
        """The choices as raw tables of a recipe."""
        tables: Tables = {}
        for choice in self.choices:
            table, _, key = choice.key.partition(".")
            tables.setdefault(table, {})[key] = choice.value
        return tables

    def as_json(self) -> dict[str, Any]:
        """What RUN/plan.json holds."""
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
    """Takes down what is chosen; a key that the user gave keeps its value and is not taken down."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.made: list[Choice] = []

    def get(self, key: str) -> Any:
        """What the user gave, or None."""
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
    """The plan for a data set, a method and a device. given: raw tables of what the user has set; those keys are kept.

    The fingerprint's axes are the canonical ones: right, front, head.
    """
    choose = _Choices(given)
    choose(
        "data.classes",
        fingerprint.classes,
        f"background, and {fingerprint.classes - 1} as the highest class",
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
        f"half the patch; a quarter takes {quarter} times as long for smoother seams",
    )
    _choose_clean_up(fingerprint, choose, flat, needs)
    _choose_steps(choose, needs, budget)
    if needs.waits:
        reason = "the labelled stage goes on until each network finds each class that well: one that does not teaches the others nothing"
        choose("method.ready_dice", READY_DICE, reason)
    return Plan(tuple(choose.made), fingerprint, budget)


def _through(fingerprint: Fingerprint) -> int:
    """The axis that slices are counted along: that of the thickest voxels, else one of few voxels, else towards the head."""
    shape = _median(fingerprint.shapes)
    if fingerprint.spacings:
        spacing = _median(fingerprint.spacings)
        *_, second, thickest = sorted(spacing)
        if thickest > CLEARLY * second:
            return spacing.index(thickest)
    return shape.index(min(shape)) if min(shape) < FEWEST_SLICES else 2


def _flat(fingerprint: Fingerprint, choose: _Choices) -> tuple[bool, str]:
    """Whether slices are segmented instead of volumes, and why."""
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
    apart = f"slices lie {spacing[through]:g} mm apart and pixels are {pixel:g} mm wide"
    if spacing[through] >= THICK * pixel:
        return (
            True,
            f"{apart}, {spacing[through] / pixel:.1f} times as much: slice by slice (from {THICK:g} times)",
        )
    if slices < FEWEST_SLICES:
        return True, f"the median scan has {slices} slices: slice by slice (below {FEWEST_SLICES})"
    return False, f"{apart}, and the median scan has {slices} slices: volumes"


def _choose_grid(
    fingerprint: Fingerprint, choose: _Choices, flat: bool
) -> tuple[list[tuple[int, ...]], list[int]]:
    """The order of the axes and the voxels' size; returns the training scans' shapes in that order and size, and the order."""
    shapes, spacings = list(fingerprint.shapes), list(fingerprint.spacings)
    order: Any = list(range(fingerprint.axes))
    if fingerprint.axes == 3:
        through = _through(fingerprint)
        others = [axis for axis in range(3) if axis != through]
        place, order = ("first", [through, *others]) if flat else ("last", [*others, through])
        order = choose(
            "data.nifti_axes",
            order,
            f"the axis along which slices are counted ({DIRECTIONS[through]}) comes {place}",
        )
        shapes, spacings = (
            [tuple(row[axis] for axis in order) for row in rows] for rows in (shapes, spacings)
        )
    if not spacings:
        choose("data.spacing", [], "the files tell no voxel sides: images are taken as they are")
        return shapes, order
    target = [float(f"{side:.4g}") for side in _median(spacings)]
    reason = f"the median of {len(spacings)} training scans, to which every scan is resampled"
    if flat and fingerprint.axes == 3:
        target[0], reason = 0.0, reason + "; slices stay as they are (0)"
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
    """Patch, levels and width."""
    median = [round(side) for side in _median([shape[-2:] if flat else shape for shape in shapes])]
    most, what = (budget.pixels, "pixels") if flat else (budget.voxels, "voxels")
    if choose.get("data.patch") is not None:
        patch = list(choose.get("data.patch"))
        levels = choose(
            "network.levels",
            levels_of(patch),
            f"as many (at most {MOST_LEVELS}) as your patch allows",
        )
    else:
        asked = choose.get("network.levels")
        patch, levels = patch_of(
            median, most, range(MOST_LEVELS, 1, -1) if asked is None else [asked]
        )
        size = f"the median scan has {' x '.join(map(str, median))} {what}"
        bound = (
            f"; at most {most:,} {what} go through a {budget.name} in good time"
            if prod(median) > most
            else ""
        )
        choose("data.patch", patch, f"{size}{bound}; sides are multiples of {2 ** (levels - 1)}")
        deepest = min(patch) // 2 ** (levels - 1)
        choose(
            "network.levels",
            levels,
            f"the deepest level then has {deepest} {what} along its shortest side, and needs {SMALLEST_BOTTLENECK}",
        )
    published = (
        f"half the published {2 * budget.filters}: a CPU is slow"
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
    """Whether some labelled crops are centred on foreground: where uniformly drawn ones miss a class more than now and then."""
    if choose.get("data.sampling") == "resize":
        choose("data.foreground_share", 0.0, "whole slices are taken, not crops")
        return
    scans = [{value: at[:, order] for value, at in places.items()} for places in fingerprint.places]
    box = [1] * (fingerprint.axes - len(patch)) + list(patch)
    choose("data.foreground_share", *share_for(shares_met(scans, shapes[: len(scans)], box)))


def _choose_intensities(fingerprint: Fingerprint, choose: _Choices) -> None:
    if fingerprint.ct and fingerprint.foreground:
        reason = f"CT, told by {fingerprint.ct_told_by}: one scale for all scans, that of the labelled foreground"
    else:
        reason = "no absolute scale: each scan by its own mean and deviation, without its brightest and darkest 0.5 %"
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
            "lowest (0.5 %), highest (99.5 %), mean and deviation of the labelled foreground, a channel",
        )
    crops = choose.get("data.sampling") in (None, "crop")
    choose(
        "data.augmentation", *(AUGMENTATION if crops else ("none", "mild needs sampling = crop"))
    )


def _choose_batches(items: int, choose: _Choices, flat: bool, needs: Needs, budget: Budget) -> None:
    """As many labelled items as the device gets through and there are; as many unlabelled ones."""
    most = budget.flat_batch if flat else budget.batch
    size = min(most, items)
    if needs.even:
        size -= size % 2
    kind = "slices" if flat and items > most else "cases"
    there = f"there are {items} labelled {kind}"
    reason = (
        f"as many as go through the device at once in good time; {there}" if items > most else there
    ) + (", an even number as the method mixes pairs" if needs.even and size < most else "")
    size = choose("training.labelled_batch", size, reason)
    choose(
        "training.unlabelled_batch",
        size if needs.unlabelled else 0,
        "as many as labelled ones" if needs.unlabelled else "the method uses none",
    )


def _choose_clean_up(fingerprint: Fingerprint, choose: _Choices, flat: bool, needs: Needs) -> None:
    shares = fingerprint.pieces
    loose = {value: share for value, share in shares.items() if share < ONE_PIECE}
    if loose:
        value = min(loose, key=loose.__getitem__)
        reason = f"class {value} has {loose[value]:.0%} of its voxels in one piece in some labelled case: all pieces are kept"
    else:
        least = min(shares.values(), default=1)
        of_it = "" if least == 1 else f" but for {1 - least:.2%} of its voxels at most"
        reason = f"each class is one piece in every labelled case{of_it}"
    choose("inference.largest_component", not loose, reason)
    if needs.cleans:
        slices = flat and fingerprint.axes == 3
        why = (
            "what is one piece in a scan can be several in a slice"
            if slices and not loose
            else "of pseudo-labels, likewise"
        )
        choose("method.largest_component", not loose and not slices, why)


def _choose_steps(choose: _Choices, needs: Needs, budget: Budget) -> None:
    """The device's steps, shared out as the method's own; in proportion to those that the user gave, if any above 0."""
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
        else f"of {total:,} in all, for a {budget.name}; more steps rarely harm"
    )
    for key, steps in with_total_steps({"method": left}, max(total, len(left)))["method"].items():
        choose(f"method.{key}", steps, reason)


def _median(rows: Sequence[Sequence[float]]) -> list[float]:
    return [float(value) for value in np.median(np.array(rows, dtype=np.float64), axis=0)]
