"""Overlap and surface distances of two masks, by the definitions of the field's papers (medpy's), fast.

Dice = 2 |P and T| / (|P| + |T|) and Jaccard = |P and T| / |P or T|. The surface of a mask is its voxels that lack one of the
axis neighbours (connectivity 1); beyond the array is background, so mask voxels at its border are surface. Every surface voxel of
one mask has a distance to the nearest surface voxel of the other:

- HD95: 95th percentile (linear interpolation) of both directions' distances pooled;
- ASD: mean of the distances from the prediction to the truth only (directed);
- ASSD: mean of both directions' distances pooled.

Needs numpy and scipy, not torch: the processes that only score start fast.
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
"""Radius, in the smallest voxel side, up to which neighbours are looked up one by one: most distances are below it."""
TREE_QUERIES = ((10.0, 25), (math.inf, 150))
"""Radius of a query of the tree, in the smallest voxel side, and the voxels whose distance transform costs about as much (measured)."""


@dataclass(frozen=True)
class Measures:
    """The measures of one prediction of one class; NaN where one is not defined.

    hd95, asd, assd, diagonal: in the unit of the spacing. diagonal: of the whole array, the penalty for a miss.
    empty: "" both masks have voxels; "missed" only the truth has; "spurious" only the prediction has; "both_empty".
    """

    dice: float
    jaccard: float
    hd95: float
    asd: float
    assd: float
    diagonal: float
    empty: Empty = ""


def overlap(prediction: Mask, truth: Mask) -> tuple[float, float]:
    """Dice and Jaccard of two masks (*S); NaN for both where both masks are empty."""
    common = int(np.count_nonzero(prediction & truth))
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    if total == 0:
        return math.nan, math.nan
    return 2.0 * common / total, common / (total - common)


def measure(prediction: Mask, truth: Mask, spacing: Sequence[float] | None = None) -> Measures:
    """All measures of a predicted mask (*S) against the true one (*S).

    spacing: voxel sides in array order; without it, distances count voxels.
    ValueError if the shapes differ or the spacing does not fit.
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
    """What is wrong where the prediction, the truth or both have no voxel of a class."""
    if prediction and truth:
        return ""
    if truth:
        return "missed"
    return "spurious" if prediction else "both_empty"


def bounding_box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box that holds every voxel of a mask that has some."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        held = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(box)


def surface(mask: Mask) -> Mask:
    """The voxels of a mask (*S) that lack an axis neighbour: the mask without its erosion by the cross."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        along, kept = np.moveaxis(mask, axis, 0), np.moveaxis(inside, axis, 0)
        kept[1:] &= along[:-1]
        kept[:-1] &= along[1:]
        kept[0] = kept[-1] = False
    return mask & ~inside


def distances(origin: Mask, target: Mask, spacing: Floats) -> Floats:
    """From every voxel of ``origin`` (*S), in array order, the distance to the nearest voxel of ``target`` (*S), exact.

    Three ways, by what is cheapest: a look at the near neighbours, which settles nearly all voxels of a good prediction; a tree
    for those further away; one distance transform where many are very far. Both masks must have voxels.
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
    """Distances of the points with a target within NEAR_REACH, and the indices of the other points."""
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
