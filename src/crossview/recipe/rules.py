"""The rules of a plan: from the fingerprint of a user's scans to the keys of a recipe.

The rules are the established ones (nnU-Net: Isensee et al., Nature Methods 2021): the median voxel
spacing; slices instead of volumes if slices are much thicker than pixels; the median scan as patch,
as far as memory allows; intensities clipped and scaled per scan, or by fixed numbers in CT. Keys
that the user has set are kept, and the others follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from crossview.data.fingerprint import Fingerprint
from crossview.data.foreground import share_for, shares_met
from crossview.data.grid import FEWEST_SLICES, THICK, median, resampled_side, slice_axis
from crossview.recipe.layers import with_total_steps
from crossview.recipe.patch import (
    MOST_LEVELS,
    SMALLEST_BOTTLENECK,
    check_patch_fills,
    levels_of,
    patch_of,
)
from crossview.recipe.plan import GPU, Budget, Choice, Needs, Plan
from crossview.recipe.reasons import (
    FEW_STEPS,
    GREY,
    MILD,
    NUMBERS,
    OURS,
    READY,
    STRONG,
    UNPADDED,
    WHOLE,
    WIDER,
    Z_SCORE,
)

DIRECTIONS = ("left to right", "back to front", "foot to head")

READY_DICE = 0.5
"""Dice on labelled crops below which a network has not found a class (docs/explanation/cml.md)."""

ONE_PIECE = 0.99
"""Minimum share of a class's voxels in its largest component, in every labelled case."""


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
    return _Planner(fingerprint, given, needs, budget).plan()


class _Planner:
    """The choices so far. A key that the user gave keeps its value and is not recorded."""

    def __init__(
        self, fingerprint: Fingerprint, given: Mapping[str, Any], needs: Needs, budget: Budget
    ) -> None:
        self.scans, self.given, self.needs, self.budget = fingerprint, given, needs, budget
        self.choices: list[Choice] = []
        self.shape = median(fingerprint.shapes)
        self.spacing = median(fingerprint.spacings) if fingerprint.spacings else []

    def get(self, key: str) -> Any:
        """Return the value that the user gave, or None."""
        table, _, name = key.partition(".")
        return self.given.get(table, {}).get(name)

    def choose(self, key: str, value: Any, reason: str) -> Any:
        """Return the user's value, or record this one with its reason and return it."""
        given = self.get(key)
        if given is None:
            self.choices.append(Choice(key, value, reason))
        return value if given is None else given

    def plan(self) -> Plan:
        """Choose all keys, in the order in which they depend on each other."""
        scans = self.scans
        highest = f"the background is class 0 and the highest class is {scans.classes - 1}"
        self.choose("data.classes", scans.classes, highest)
        if scans.colour == "grey":
            self.choose("data.colour", "grey", GREY)
        flat, why = self.flatness()
        stacks = flat and scans.axes == 3
        self.choose("network.name", "unet" if flat else "vnet", why)
        shapes, order = self.grid(flat)
        patch = self.patch(shapes, flat)
        self.foreground(shapes, order, patch)
        self.intensities()
        self.batches(self.labelled_items(shapes, order[0] if stacks else None), flat)
        seams = f"a quarter gives smoother seams but takes {2 ** len(patch)} times as long"
        self.choose("inference.stride", [side // 2 for side in patch], f"half the patch; {seams}")
        self.clean_up(stacks)
        self.steps()
        if self.needs.waits:
            self.choose("method.ready_dice", READY_DICE, READY + self.few_steps())
        for key, value in self.needs.ours.items():
            self.choose(key, value, OURS[key])
        return Plan(tuple(self.choices), scans, self.budget)

    def flatness(self) -> tuple[bool, str]:
        """Return True if slices are segmented instead of volumes, and the reason."""
        patch, network = self.get("data.patch"), self.get("network.name")
        if self.scans.axes == 2:
            return True, "the images have two axes"
        if patch is not None:
            return len(patch) == 2, f"your patch has {len(patch)} sides"
        if network is not None:
            return network == "unet", ""
        axis = slice_axis(self.shape, self.spacing)
        spacing = self.spacing or [1.0, 1.0, 1.0]
        slices, thick = round(self.shape[axis]), spacing[axis]
        pixel = max(side for other, side in enumerate(spacing) if other != axis)
        apart = f"slices are {thick:g} mm apart and pixels are {pixel:g} mm wide"
        if thick >= THICK * pixel:
            ratio = f"a ratio of {thick / pixel:.1f}"
            return True, f"{apart}, {ratio}: segmented slice by slice (from a ratio of {THICK:g})"
        count = f"the median scan has {slices} slices"
        if slices < FEWEST_SLICES:
            return True, f"{count}: segmented slice by slice (fewer than {FEWEST_SLICES})"
        return False, f"{apart}, and {count}: segmented as volumes"

    def grid(self, flat: bool) -> tuple[list[tuple[int, ...]], list[int]]:
        """Choose axis order and spacing. Return the scans' shapes in them, and the order."""
        shapes, spacings = list(self.scans.shapes), list(self.scans.spacings)
        order: Any = list(range(self.scans.axes))
        if self.scans.axes == 3:
            axis = slice_axis(self.shape, self.spacing)
            others = [other for other in range(3) if other != axis]
            place, order = ("first", [axis, *others]) if flat else ("last", [*others, axis])
            reason = f"the slice axis ({DIRECTIONS[axis]}) comes {place}"
            order = self.choose("data.nifti_axes", order, reason)
            shapes, spacings = (
                [tuple(row[axis] for axis in order) for row in rows] for rows in (shapes, spacings)
            )
        if not spacings:
            reason = "the files store no spacing: images are used as they are"
            self.choose("data.spacing", [], reason)
            return shapes, order
        target = [float(f"{side:.4g}") for side in median(spacings)]
        reason = f"the median of {len(spacings)} training scans; every scan is resampled to it"
        if flat and self.scans.axes == 3:
            target[0], reason = 0.0, reason + ", except along the slice axis (0)"
        target = self.choose("data.spacing", target, reason)
        if not target:
            return shapes, order
        return [
            tuple(resampled_side(*axis) for axis in zip(*scan, target, strict=True))
            for scan in zip(shapes, spacings, strict=True)
        ], order

    def patch(self, shapes: Sequence[Sequence[int]], flat: bool) -> list[int]:
        """Choose patch, levels and width. Return the patch."""
        budget = self.budget
        most, unit = (budget.pixels, "pixels") if flat else (budget.voxels, "voxels")
        if self.get("data.patch") is not None:
            patch = list(self.get("data.patch"))
            check_patch_fills(patch, shapes)
            reason = f"the most that your patch allows, up to {MOST_LEVELS}"
            self.choose("network.levels", levels_of(patch), reason)
        else:
            usual = [round(side) for side in median([s[-2:] if flat else s for s in shapes])]
            asked = self.get("network.levels")
            possible = range(MOST_LEVELS, 1, -1) if asked is None else [asked]
            patch, levels = patch_of(usual, most, possible)
            size = f"the median scan has {' x '.join(map(str, usual))} {unit}"
            if prod(usual) > most:
                size += f"; a {budget.name} handles at most {most:,} {unit} in reasonable time"
            multiple = 2 ** (levels - 1)
            self.choose("data.patch", patch, f"{size}; sides are multiples of {multiple}")
            deepest = f"{min(patch) // multiple} {unit} along its shortest side"
            reason = f"the deepest level then has {deepest}; the minimum is {SMALLEST_BOTTLENECK}"
            self.choose("network.levels", levels, reason)
        reason = "as published"
        filters = budget.filters
        if filters < GPU.filters and self.needs.student:
            filters, reason = GPU.filters, f"as published: {WIDER}"
        elif filters < GPU.filters:
            reason = f"half the published {2 * filters}, because a CPU is slow"
        self.choose("network.filters", filters, reason)
        return patch

    def foreground(
        self, shapes: Sequence[Sequence[int]], order: Sequence[int], patch: Sequence[int]
    ) -> None:
        """Centre some labelled crops on foreground if uniform ones miss a class too often."""
        if self.get("data.sampling") == "resize":
            reason = "training uses whole slices, not crops"
            self.choose("data.foreground_share", 0.0, reason)
            return
        places = [{value: at[:, order] for value, at in here.items()} for here in self.scans.places]
        box = [1] * (self.scans.axes - len(patch)) + list(patch)
        met = shares_met(places, shapes[: len(places)], box)
        self.choose("data.foreground_share", *share_for(met))

    def intensities(self) -> None:
        """Choose normalisation and augmentation."""
        scans = self.scans
        if scans.ct and scans.foreground:
            way, basis = "foreground", f"CT, according to {scans.ct_told_by}"
            reason = f"{basis}: all scans are scaled by the labelled foreground"
        else:
            padded = not scans.border_labelled
            way, reason = ("z_score_unpadded", UNPADDED) if padded else ("z_score_clipped", WHOLE)
            reason = Z_SCORE + reason
        if self.choose("data.normalisation", way, reason) == "foreground":
            numbers = [list(channel) for channel in scans.foreground]
            self.choose("data.intensities", numbers, NUMBERS)
        if self.get("data.sampling") in (None, "crop"):
            student = self.needs.student
            self.choose("data.augmentation", *(("strong", STRONG) if student else ("mild", MILD)))
        else:
            self.choose("data.augmentation", "none", "mild needs data.sampling = crop")

    def labelled_items(self, shapes: Sequence[tuple[int, ...]], axis: int | None) -> int:
        """Return the number of scans, or of slices along an axis, in which a voxel is labelled.

        axis: as scans are stored; None for scans. A predicted label counts.
        """
        labelled = shapes[: self.scans.labelled]
        predicted = shapes[len(labelled) :] if self.needs.student else ()
        whole = sum(1 if axis is None else shape[0] for shape in predicted)
        searched = self.scans.searched or ((1.0,) * self.scans.axes,) * len(labelled)
        if axis is None:
            return whole + sum(any(share) for share in searched)
        return whole + sum(
            round(shape[0] * share[axis]) for shape, share in zip(labelled, searched, strict=True)
        )

    def batches(self, items: int, flat: bool) -> None:
        """Choose the batch: as many labelled items as device and data allow, as many unlabelled."""
        most = self.budget.flat_batch if flat else self.budget.batch
        size = min(most, items)
        if self.needs.even:
            size -= size % 2
        labelled = "labelled or predicted" if self.needs.student else "labelled"
        reason = f"there are {items} {labelled} {'slices' if flat and items > most else 'cases'}"
        if items > most:
            reason = f"the most that the device handles in reasonable time; {reason}"
        if self.needs.even and size < most:
            reason += "; an even number, because the method mixes pairs"
        size = self.choose("training.labelled_batch", size, reason)
        if self.needs.unlabelled:
            reason = "the same as training.labelled_batch"
        else:
            size, reason = 0, "the method uses no unlabelled scans"
        self.choose("training.unlabelled_batch", size, reason)

    def clean_up(self, stacks: bool) -> None:
        """Choose if only the largest component of a class is kept. stacks: of 2D predictions."""
        share, value = min(
            ((share, value) for value, share in self.scans.pieces.items()), default=(0.0, 0)
        )
        loose, regions = share < ONE_PIECE, self.scans.regions
        which = f"region '{regions[value - 1]}'" if regions else f"class {value}"
        if not self.scans.pieces:
            reason = "no scan is labelled whole, so the number of components is not known"
        elif loose:
            reason = (
                f"in a labelled case the largest component of {which} has "
                f"{share:.0%} of its voxels, so all components are kept"
            )
        else:
            of_it = "" if share == 1 else f", except for at most {1 - share:.2%} of its voxels"
            one = f"each {'region' if regions else 'class'} is one connected component"
            reason = f"{one} in every labelled case{of_it}"
        self.choose("inference.largest_component", not loose, reason)
        if self.needs.cleans:
            reason = "the same for pseudo-labels"
            if stacks and not loose:
                reason = "one component in a scan can be several in a slice"
            self.choose("method.largest_component", not loose and not stacks, reason)

    def steps(self) -> None:
        """Divide the device's steps among the stages as shipped, or follow the user's steps."""
        shipped = self.needs.steps
        own = {key: self.get(f"method.{key}") for key in shipped}
        given = {key: steps for key, steps in own.items() if steps is not None}
        left = {key: steps for key, steps in shipped.items() if key not in given}
        if not any(left.values()):
            return
        replaced = sum(shipped[key] for key in given)
        if replaced and any(given.values()):
            total = round(sum(left.values()) * sum(given.values()) / replaced)
            reason = "in proportion to the steps you set"
        else:
            total, device = self.budget.steps, self.budget.name
            reason = (
                f"a share of {total:,} in all, chosen for a {device}; more steps rarely do harm"
            )
        shares = with_total_steps({"method": left}, max(total, len(left)))["method"]
        for key, steps in shares.items():
            self.choose(f"method.{key}", steps, reason)

    def few_steps(self) -> str:
        """Return a caution for a run of less than half of the device's steps, else ""."""
        chosen = {choice.key: choice.value for choice in self.choices}
        keys = [f"method.{key}" for key in self.needs.steps]
        total = sum(chosen.get(key, self.get(key)) for key in keys)
        if 2 * total >= self.budget.steps:
            return ""
        return (
            f". {total:,} steps in all are few (a plan for a {self.budget.name} has "
            f"{self.budget.steps:,}): {FEW_STEPS}"
        )
