"""Which unlabelled scans to label next: those a trained method doubts most, and no five alike.

Doubt first, then difference, as in suggestive annotation (Yang et al., MICCAI 2017): of the most doubtful scans those are taken that
lie farthest from each other and from the scans that are labelled already.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
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
"""Cells along each axis of the coarse picture by which scans are told apart."""
POOL = 0.2
"""Share of the unlabelled scans, the most doubtful, among which different ones are looked for; at least three times what is asked for."""


@dataclass(frozen=True)
class Doubt:
    """How much a method doubts a scan. score: 0 (not at all) to 1. descriptor: what the scan looks like, see :func:`describe`."""

    case: Case
    score: float
    descriptor: Array


@dataclass(frozen=True)
class Suggestion:
    """A scan to label next. rank: from 1. score: its doubt. place: where its doubt stands among ``of`` unlabelled scans, from 1.

    nearest, distance: the scan labelled or suggested before that looks most like it, and how far off it is ("" and NaN for none).
    """

    rank: int
    case: str
    file: str
    score: float
    place: int
    of: int
    nearest: str
    distance: float


def doubt(prediction: Prediction, score: Score | None = None) -> float:
    """How much a prediction is in doubt, from 0 to 1; every class that is found counts the same.

    "views": 1 - Dice between the views' labels, the mean over all pairs. "expected_dice": 1 - the Dice that the label would have if
    the probabilities were right, 2 sum_{v in label} p_v / (sum_v p_v + |label|). Left out: "views" where there are peers.
    A prediction that finds nothing at all is in full doubt.
    """
    score = score or ("views" if prediction.of_peers else "expected_dice")
    found = [_pairwise_dice(prediction) if score == "views" else _expected_dice(prediction)]
    values = [value for dice in found for value in dice if not np.isnan(value)]
    return 1 - float(np.mean(values)) if values else 1.0


def _pairwise_dice(prediction: Prediction) -> list[float]:
    """Dice between views by class, the mean over pairs; NaN for a class that no view finds."""
    values = []
    for index in range(1, len(prediction.probability)):
        masks = [view == index for view in prediction.views.values()]
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
    """The Dice by class that the probabilities promise; NaN for a class that is not found."""
    values = []
    for index, probability in enumerate(prediction.probability[1:], 1):
        mask = prediction.label == index
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
    """What a scan (C, *S) looks like, coarsely: its mean intensities and its foreground (*S) in ``GRID`` cells an axis, float32 (D,).

    Intensities are standardised over the scan, and both parts have the same weight, so that a distance is of looks and of anatomy.
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


def doubts(
    cases: Iterable[Case], images: Iterable[Array], predictions: Iterable[Prediction]
) -> Iterator[Doubt]:
    """The doubt of every case from its image and its prediction, lazily."""
    for case, image, prediction in zip(cases, images, predictions, strict=True):
        yield Doubt(case, doubt(prediction), describe(image, prediction.label))


def choose(
    found: Sequence[Doubt], labelled: Sequence[tuple[str, Array]], count: int
) -> list[Suggestion]:
    """``count`` scans to label next, the first the most doubtful of all; each further one is, of the most doubtful, the farthest away.

    labelled: names and descriptors of the scans that have labels. Equal doubts keep the order given.
    """
    ranked = sorted(found, key=lambda each: -each.score)
    pool = ranked[: max(3 * count, round(POOL * len(ranked)))]
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
            )
        )
        known.append((case.id, taken.descriptor))
    return chosen


def _nearest(descriptor: Array, known: Sequence[tuple[str, Array]]) -> tuple[str, float]:
    """The known scan that looks most alike, and its distance; of none: "" and NaN."""
    if not known:
        return "", float("nan")
    distances = [float(np.linalg.norm(descriptor - other)) for _, other in known]
    closest = int(np.argmin(distances))
    return known[closest][0], distances[closest]
