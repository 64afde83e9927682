"""Choice of the unlabelled scans to label next: those a trained method doubts most, none alike.

Doubt first, then difference, as in suggestive annotation (Yang et al., MICCAI 2017): of the most
doubtful scans, those are chosen that are farthest from each other and from the labelled scans.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from crossview.data.case import Case
from crossview.inference.predict import Prediction

Array = NDArray[Any]


Score = Literal["views", "expected_dice"]


GRID = 8
"""Cells along each axis of the coarse image by which scans are compared."""


POOL = 0.2
"""Share of the unlabelled scans, the most doubtful, from which different ones are chosen.

At least three times the number of scans asked for.
"""


@dataclass(frozen=True)
class Doubt:
    """A method's doubt about a scan.

    score: 0 (none) to 1. descriptor: the looks of the scan, see :func:`describe`. estimated_dice:
    None if it can't be estimated.
    """

    case: Case
    score: float
    descriptor: Array
    estimated_dice: float | None = None


@dataclass(frozen=True)
class Suggestion:
    """A scan to label next.

    Attributes:
        rank: From 1.
        score: Its doubt.
        place: Rank of its doubt among ``of`` unlabelled scans, from 1.
        nearest: The labelled or earlier suggested scan that looks most like it, "" for none.
        distance: The distance to ``nearest``, NaN for none.
        estimated_dice: The Dice that its prediction is estimated to have, None if that is unknown.
    """

    rank: int
    case: str
    file: str
    score: float
    place: int
    of: int
    nearest: str
    distance: float
    estimated_dice: float | None = None


def doubt(prediction: Prediction, score: Score | None = None) -> float:
    """Return the doubt about a prediction, from 0 to 1; every class that is found counts the same.

    A prediction that finds nothing has a doubt of 1.

    Args:
        prediction: The prediction of a scan.
        score: "views": 1 - Dice between the views' labels, averaged over all pairs.
            "expected_dice": 1 - the Dice that the label would have if the probabilities were right,
            2 sum_{v in label} p_v / (sum_v p_v + |label|). Default: "views" if the views are peers,
            else "expected_dice".
    """
    score = score or ("views" if prediction.of_peers else "expected_dice")
    found = [_pairwise_dice(prediction) if score == "views" else _expected_dice(prediction)]
    values = [value for dice in found for value in dice if not np.isnan(value)]
    return 1 - float(np.mean(values)) if values else 1.0


def _pairwise_dice(prediction: Prediction) -> list[float]:
    """Return Dice between views by class, averaged over pairs; NaN for a class no view finds."""
    maps = prediction.head.of_foreground(prediction.probability)
    of_views = [prediction.head.masks(view, len(maps)) for view in prediction.views.values()]
    values = []
    for masks in zip(*of_views, strict=True):
        pairs = [
            (first, second)
            for first, second in itertools.combinations(masks, 2)
            if first.any() or second.any()
        ]
        dice = [
            2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
            for a, b in pairs
        ]
        values.append(float(np.mean(dice)) if dice else np.nan)
    return values


def _expected_dice(prediction: Prediction) -> list[float]:
    """Return the Dice by class that the probabilities promise; NaN for a class not found."""
    values = []
    maps = prediction.head.of_foreground(prediction.probability)
    masks = prediction.head.masks(prediction.label, len(maps))
    for probability, mask in zip(maps, masks, strict=True):
        size = np.count_nonzero(mask)
        promised = (
            2
            * float(probability[mask].sum(dtype=np.float64))
            / (float(probability.sum(dtype=np.float64)) + size)
            if size
            else np.nan
        )
        values.append(promised)
    return values


def describe(image: Array, label: Array) -> Array:
    """Return a coarse descriptor of a scan (C, *S) and its label (*S), float32 (D,).

    It holds the mean intensities and the foreground in ``GRID`` cells per axis. Intensities are
    standardised over the scan. Both parts have the same weight, so a distance covers looks and
    anatomy.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    standardised = (tensor - tensor.mean()) / tensor.std().clamp(min=1e-6)
    foreground = torch.from_numpy(np.ascontiguousarray(label > 0, dtype=np.float32))[None]
    parts = []
    for part in (standardised, foreground):
        pooled = (F.adaptive_avg_pool3d if part.ndim == 4 else F.adaptive_avg_pool2d)(
            part, GRID
        ).flatten()
        parts.append(pooled / len(pooled) ** 0.5)
    return torch.cat(parts).numpy()


def choose(
    found: Sequence[Doubt], labelled: Sequence[tuple[str, Array]], count: int
) -> list[Suggestion]:
    """Choose ``count`` scans to label next.

    The first is the most doubtful of all. Each further one is, among the most doubtful, the
    farthest from the labelled and chosen scans. Equal doubts keep the given order.

    Args:
        found: The doubts of the unlabelled scans.
        labelled: Names and descriptors of the labelled scans.
        count: Number of scans to choose.
    """
    ranked = sorted(found, key=lambda each: -each.score)
    pool = ranked[: pool_size(count, len(ranked))]
    places = {id(each): place for place, each in enumerate(ranked, 1)}
    known = list(labelled)
    chosen: list[Suggestion] = []
    while pool and len(chosen) < count:
        nearest = [_nearest(each.descriptor, known) for each in pool]
        farthest = int(np.argmax([distance for _, distance in nearest])) if chosen else 0
        taken, (name, distance) = pool.pop(farthest), nearest[farthest]
        place, case = places[id(taken)], taken.case
        chosen.append(
            Suggestion(
                len(chosen) + 1,
                case.id,
                str(case.file),
                taken.score,
                place,
                len(ranked),
                name,
                distance,
                taken.estimated_dice,
            )
        )
        known.append((case.id, taken.descriptor))
    return chosen


def pool_size(count: int, of: int) -> int:
    """Return the number of scans, the most doubtful ``of`` all, from which ``count`` are chosen."""
    return min(of, max(3 * count, round(POOL * of)))


def _nearest(descriptor: Array, known: Sequence[tuple[str, Array]]) -> tuple[str, float]:
    """Return the most similar known scan and its distance; "" and NaN if none is known."""
    if not known:
        return "", float("nan")
    distances = [float(np.linalg.norm(descriptor - other)) for _, other in known]
    closest = int(np.argmin(distances))
    return known[closest][0], distances[closest]
