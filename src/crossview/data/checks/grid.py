"""Rules for the grid of training: scans that collapse on it, classes that have no voxel left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from crossview.core.errors import UserError
from crossview.core.text import first_few
from crossview.core.threads import ThreadPool
from crossview.data.checks.case import CaseFacts
from crossview.data.checks.findings import Facts, Finding, about
from crossview.data.checks.together import TRAINING
from crossview.data.grid import collapses, resampled_side, usual_grid
from crossview.data.io.scan import LARGEST

NARROWER = 1.1
"""Minimum ratio of voxels lost along an axis by which a class can vanish."""


SURE = 10_000
"""Voxels, by volume, with which a class is taken to survive: only a sheet or a web would not."""


def usual_grid_of(facts: Facts) -> tuple[float, ...]:
    """Return the spacing that a plan would choose for the training cases, or ()."""
    training = [
        fact for role in TRAINING for fact in facts.get(role, ()) if fact.shape and fact.spacing
    ]
    if len({len(fact.shape) for fact in training}) != 1:
        return ()
    shapes = [fact.shape[1:] for fact in training]
    return usual_grid(shapes, [fact.spacing or () for fact in training])


def on_grid(facts: Facts, spacing: Sequence[float]) -> list[Finding]:
    """Return what is lost when scans are resampled to a spacing.

    spacing: in mm along the axes of ``CaseFacts.shape``, 0 where nothing is resampled; () if
    nothing is at all.
    """
    if not any(spacing):
        return []
    target = " x ".join(f"{side:.3g}" if side else "(kept)" for side in spacing)
    every = [
        fact
        for of_role in facts.values()
        for fact in of_role
        if fact.shape and len(fact.spacing or ()) == len(spacing) == len(fact.shape) - 1
    ]
    collapsed = [fact for fact in every if _collapses(fact, spacing)]
    findings = about(
        "error",
        collapsed,
        "scan shrinks|scans shrink",
        "to a single voxel along two axes or more once resampled for training",
        shown=lambda fact: (
            f"{' x '.join(map(str, fact.shape[1:]))} voxels of "
            f"{' x '.join(f'{side:.3g}' for side in fact.spacing or ())} mm"
        ),
        expected=f"more than one voxel along at least two axes at {target} mm",
        fix="check the voxel spacing in the headers, and its unit",
    )
    labelled = [fact for fact in facts.get("labelled", ()) if not fact.grey_edges]
    sound = [fact for fact in every if fact not in collapsed and not fact.problems]
    training = [fact for fact in sound if fact in labelled]
    with ThreadPool(4) as pool:
        left = pool.map(lambda fact: _left(fact, spacing), training)
        by_case = dict(zip((fact.case.id for fact in training), left, strict=True))
    return findings + _lost(labelled, by_case, target)


def _collapses(fact: CaseFacts, spacing: Sequence[float]) -> bool:
    return collapses(fact.shape[1:], fact.spacing or (), spacing)


def _lost(
    labelled: Sequence[CaseFacts], left: Mapping[str, set[int]], target: str
) -> list[Finding]:
    """Return an error for classes that no label keeps, and a warning for those that some lose."""
    classes = {value for fact in labelled for value in fact.label_counts if value}
    kept = {value for fact in labelled for value in left.get(fact.case.id, {*fact.label_counts})}
    losing = {
        fact.case.id: sorted({*fact.label_counts} - left[fact.case.id])
        for fact in labelled
        if fact.case.id in left
    }
    odd = [fact for fact in labelled if losing.get(fact.case.id)]
    gone = sorted(classes - kept)

    def shown(fact: CaseFacts) -> str:
        lost = [f"class {value}: {fact.label_counts[value]:,}" for value in losing[fact.case.id]]
        return f"voxels stored of {first_few(lost)}"

    expected = f"at least one voxel of each class at {target} mm, to which scans are resampled"
    fix = "choose a finer data.spacing"
    if gone:
        names = ", ".join(map(str, gone))
        return about(
            "error",
            [fact for fact in odd if {*losing[fact.case.id]} & {*gone}],
            "label loses|labels lose",
            f"class {names} on the training grid, and no label keeps it",
            shown=shown,
            expected=expected,
            fix=f"{fix}, or merge or remove the class",
        )
    return about(
        "warning",
        odd,
        "label loses|labels lose",
        "a class on the training grid",
        shown=shown,
        expected=expected,
        fix=f"{fix}; ignore this if the class is only a speck in these labels",
    )


def _left(fact: CaseFacts, spacing: Sequence[float]) -> set[int]:
    """Return the values of a label on the grid.

    The label is read again only if it shrinks and a class is left with few voxels by its volume.
    """
    stored, sides = fact.shape[1:], fact.spacing or ()
    shape = tuple(map(resampled_side, stored, sides, spacing))
    shrinks = any(side > NARROWER * new for side, new in zip(stored, shape, strict=True))
    every = {*fact.label_counts}
    fewest = min((count for value, count in fact.label_counts.items() if value), default=0)
    few = 0 < fewest * prod(shape) / prod(stored) < SURE and prod(shape) <= LARGEST
    if not shrinks or not few or fact.case.read_label is None:
        return every
    from crossview.data.resampling import resampled_label  # torch is slow to import

    try:
        label = fact.case.read_label()
    except UserError:
        return every
    left = fact.case.classes_of(resampled_label(label, shape))
    return {int(value) for value in np.unique(left)}
