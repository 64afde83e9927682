"""Fast overlap and surface distances of two masks, as the field's papers (medpy) define them.

Dice = 2 |P and T| / (|P| + |T|) and Jaccard = |P and T| / |P or T|. The surface of a mask is its
voxels that lack an axis neighbour (connectivity 1). Beyond the array is background, so mask
voxels at its border are surface. Every surface voxel of one mask has a distance to the nearest
surface voxel of the other:

- HD95: 95th percentile (linear interpolation) of both directions' distances pooled;
- ASD: mean of the distances from the prediction to the truth only (directed);
- ASSD: mean of both directions' distances pooled.

Needs numpy and scipy, not torch, so that processes that only score start fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Empty = Literal["", "missed", "spurious", "both_empty"]

METRICS = ("dice", "jaccard", "hd95", "asd", "assd")

NEAR_REACH = 3.0
"""Radius, in the smallest voxel side, up to which neighbours are looked up one by one.

Most distances are below it.
"""
TREE_QUERIES = ((10.0, 25), (math.inf, 150))
"""Radius of a tree query, in the smallest voxel side, and its cost.

The cost is the number of voxels whose distance transform takes about as long (measured).
"""


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


def measure(prediction: Mask, truth: Mask, spacing: Sequence[float] | None = None) -> Measures:
    """Return all measures of a predicted mask against the true one.

    Args:
        prediction: Mask (*S).
        truth: Mask (*S).
        spacing: Voxel sides in array order. Without it, distances count voxels.

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
    dice, jaccard = overlap(prediction, truth)
    empty = kind_of_empty(bool(prediction.any()), bool(truth.any()))
    if empty:
        return Measures(dice, jaccard, math.nan, math.nan, math.nan, diagonal, empty)

    box = bounding_box(prediction | truth)
    of_prediction, of_truth = surface(prediction[box]), surface(truth[box])
    forth = distances(of_prediction, of_truth, sides)
    pooled = np.concatenate([forth, distances(of_truth, of_prediction, sides)])
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


def distances(origin: Mask, target: Mask, spacing: Floats) -> Floats:
    """Return the exact distance from each voxel of ``origin`` to the nearest voxel of ``target``.

    Distances are in array order. Three ways are used, by cost: a look-up of near neighbours, which
    settles nearly all voxels of a good prediction; a tree for voxels further away; one distance
    transform where many are very far.

    Args:
        origin: Mask (*S) with at least one voxel.
        target: Mask (*S) with at least one voxel.
        spacing: Voxel sides in array order.
    """
    points = np.argwhere(origin)
    found, far = _near(points, target, spacing)
    if not far.size:
        return found
    tree = cKDTree(np.argwhere(target) * spacing, balanced_tree=False, compact_nodes=False)
    for reach, voxels_a_query in TREE_QUERIES:
        if far.size * voxels_a_query > target.size:
            break
        found[far] = tree.query(points[far] * spacing, distance_upper_bound=reach * spacing.min())[
            0
        ]
        far = far[np.isinf(found[far])]
    if far.size:
        nearest = ndimage.distance_transform_edt(
            ~target, sampling=spacing, return_distances=False, return_indices=True
        )
        steps = nearest[(slice(None), *points[far].T)].T - points[far]
        found[far] = np.sqrt(np.square(steps * spacing).sum(axis=1))
    return found


def _near(
    points: NDArray[np.int64], target: Mask, spacing: Floats
) -> tuple[Floats, NDArray[np.int64]]:
    """Return distances of points with a target within NEAR_REACH, and the indices of the others."""
    radius = NEAR_REACH * float(spacing.min())
    reach = (radius // spacing).astype(np.int64)
    offsets = np.argwhere(np.ones(2 * reach + 1, dtype=bool)) - reach
    lengths = np.sqrt(np.square(offsets * spacing).sum(axis=1))
    padded = np.pad(target, [(side, side) for side in reach])
    strides = np.array(padded.strides)  # of a bool array: in voxels
    flat, position = padded.ravel(), (points + reach) @ strides

    found, open_ = np.zeros(len(points)), np.arange(len(points))
    for index in np.argsort(lengths, kind="stable"):
        if lengths[index] > radius or not open_.size:
            break
        hit = flat[position + offsets[index] @ strides]
        found[open_[hit]] = lengths[index]
        open_, position = open_[~hit], position[~hit]
    return found, open_
