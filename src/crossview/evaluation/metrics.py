"""Fast overlap and surface distances of two masks, as the field's papers (medpy) define them.

Dice = 2 |P and T| / (|P| + |T|) and Jaccard = |P and T| / |P or T|. The surface of a mask is its
voxels that lack an axis neighbour (connectivity 1). Beyond the array is background, so mask
voxels at its border are surface. Every surface voxel of one mask has a distance to the nearest
surface voxel of the other:

- HD95: 95th percentile (linear interpolation) of both directions' distances pooled;
- ASD: mean of the distances from the prediction to the truth only (directed);
- ASSD: mean of both directions' distances pooled.

Needs numpy and pykdtree, not torch, so that processes that only score start fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pykdtree.kdtree import KDTree

Mask = NDArray[np.bool_]


Floats = NDArray[np.float64]


Empty = Literal["", "missed", "spurious", "both_empty"]


METRICS = ("dice", "jaccard", "hd95", "asd", "assd")


@dataclass(frozen=True)
class Measures:
    """Measures of one prediction of one class; NaN where a measure is not defined.

    Attributes:
        dice: Dice, 0 to 1.
        jaccard: Jaccard, 0 to 1.
        hd95: In the unit of the spacing.
        asd: In the unit of the spacing.
        assd: In the unit of the spacing.
        diagonal: Diagonal of the whole array in the unit of the spacing, the penalty for a miss.
        empty: "" if both masks have voxels; "missed" if only the truth has; "spurious" if only the
            prediction has; "both_empty".
    """

    dice: float
    jaccard: float
    hd95: float
    asd: float
    assd: float
    diagonal: float
    empty: Empty = ""


def overlap(prediction: Mask, truth: Mask) -> tuple[float, float]:
    """Return Dice and Jaccard of two masks (*S); NaN for both if both masks are empty."""
    common = int(np.count_nonzero(prediction & truth))
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    if total == 0:
        return math.nan, math.nan
    return 2.0 * common / total, common / (total - common)


def measure(
    prediction: Mask,
    truth: Mask,
    spacing: Sequence[float] | None = None,
    unknown: Mask | None = None,
) -> Measures:
    """Return all measures of a predicted mask against the true one.

    Args:
        prediction: Mask (*S).
        truth: Mask (*S).
        spacing: Voxel sides in array order. Without it, distances count voxels.
        unknown: Voxels (*S) without a truth, which are in neither mask; None: none. A mask has no
            surface towards them.

    Raises:
        ValueError: If the shapes differ or the spacing does not fit.
    """
    prediction, truth = np.asarray(prediction, dtype=bool), np.asarray(truth, dtype=bool)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction has shape {prediction.shape}, truth {truth.shape}")
    sides = np.ones(truth.ndim) if spacing is None else np.asarray(spacing, dtype=np.float64)
    if sides.shape != (truth.ndim,) or not (np.isfinite(sides) & (sides > 0)).all():
        raise ValueError(f"spacing {spacing!r} must be {truth.ndim} positive numbers")
    diagonal = float(np.linalg.norm(sides * truth.shape))
    if unknown is not None:
        prediction, truth = prediction & ~unknown, truth & ~unknown
    dice, jaccard = overlap(prediction, truth)
    empty = kind_of_empty(bool(prediction.any()), bool(truth.any()))
    if empty:
        return Measures(dice, jaccard, math.nan, math.nan, math.nan, diagonal, empty)

    if unknown is None:
        box = bounding_box(prediction | truth)
        surfaces = [surface(mask[box]) for mask in (prediction, truth)]
    else:
        surfaces = [surface(mask | unknown) & mask for mask in (prediction, truth)]
    of_prediction, of_truth = (points(each, sides) for each in surfaces)
    if not (len(of_prediction) and len(of_truth)):  # unknown voxels all around
        return Measures(dice, jaccard, math.nan, math.nan, math.nan, diagonal)
    forth = distances(of_prediction, of_truth)
    pooled = np.concatenate([forth, distances(of_truth, of_prediction)])
    return Measures(
        dice,
        jaccard,
        float(np.percentile(pooled, 95)),
        float(forth.mean()),
        float(pooled.mean()),
        diagonal,
    )


def kind_of_empty(prediction: bool, truth: bool) -> Empty:
    """Return the kind of empty, given whether prediction and truth have voxels of a class."""
    if prediction and truth:
        return ""
    if truth:
        return "missed"
    return "spurious" if prediction else "both_empty"


def bounding_box(mask: Mask) -> tuple[slice, ...]:
    """Return the smallest box that holds every voxel of a mask, which must not be empty."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        held = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(box)


def surface(mask: Mask) -> Mask:
    """Return the voxels of a mask (*S) that lack an axis neighbour: the mask minus its erosion."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        along, kept = np.moveaxis(mask, axis, 0), np.moveaxis(inside, axis, 0)
        kept[1:] &= along[:-1]
        kept[:-1] &= along[1:]
        kept[0] = kept[-1] = False
    return mask & ~inside


def points(mask: Mask, spacing: Floats) -> Floats:
    """Return the positions (n, axes) of a mask's voxels in array order, in units of the spacing."""
    # Six times as fast as np.argwhere.
    places = np.unravel_index(np.flatnonzero(mask), mask.shape)
    return np.stack(places, axis=1) * spacing


def distances(origin: Floats, target: Floats) -> Floats:
    """Return the exact distance from each point of ``origin`` to the nearest of ``target``.

    A tree answers in float64. A distance transform would compute the distance of every voxel of
    the array, and only those of a surface are asked for.

    Args:
        origin: Positions (n, axes).
        target: Positions (m, axes), at least one.

    Returns:
        Distances (n,), float64.
    """
    found: Floats = KDTree(target).query(origin)[0]
    return found
