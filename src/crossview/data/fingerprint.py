"""What a user's training scans have in common: the facts from which a plan is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.data.case import Case
from crossview.data.foreground import places_of, relative
from crossview.data.inspect import CaseFacts
from crossview.errors import Problem, UserError, raise_all

AIR = (-3100.0, -700.0)
"""Where the lowest intensities of a CT lie: air at -1000 Hounsfield units, padding of some scanners down to -3024."""
SMALLEST_SPREAD = 1e-3
"""Intensities of the foreground closer together than this give no scale."""
DENSEST = 4000.0
"""Above what 99.5 % of a CT's voxels stay below: bone at 2000, metal beyond."""


@dataclass(frozen=True)
class Fingerprint:
    """The training cases of a data set, labelled and unlabelled; nothing of validation and test cases.

    shapes, spacings: a case each, in the order of the axes read: *S in voxels, mm (none where no file tells it). labelled: how many of
    them, the first, have labels. channels, classes (background included). ct: whether intensities are Hounsfield units, and ct_told_by
    what. foreground: a channel, (0.5th percentile, 99.5th percentile, mean, standard deviation) of the labelled foreground; none where
    that is of one value. pieces: by class, the smallest share that its largest component has in a labelled case. places: a labelled case
    each, by class, some of its voxels (n, axes) in units of the scan's sides. cases: for reports.
    """

    shapes: tuple[tuple[int, ...], ...]
    spacings: tuple[tuple[float, ...], ...]
    labelled: int
    channels: int
    classes: int
    ct: bool
    ct_told_by: str
    foreground: tuple[tuple[float, float, float, float], ...]
    pieces: dict[int, float]
    cases: tuple[dict[str, Any], ...] = ()
    places: tuple[dict[int, NDArray[np.float64]], ...] = field(
        default=(), compare=False, repr=False
    )

    @property
    def axes(self) -> int:
        """Spatial axes of the scans, 2 or 3."""
        return len(self.shapes[0])

    def as_json(self) -> dict[str, Any]:
        """For plan.json."""
        told = {
            "labelled": self.labelled,
            "unlabelled": len(self.shapes) - self.labelled,
            "channels": self.channels,
            "classes": self.classes,
            "ct": self.ct,
            "ct_told_by": self.ct_told_by,
            "foreground": [list(channel) for channel in self.foreground],
            "largest_component_share": {
                str(value): round(share, 4) for value, share in self.pieces.items()
            },
        }
        return {**told, "cases": list(self.cases)}


def take(
    facts: Sequence[CaseFacts],
    channel_names: Sequence[str] | None,
    class_names: Sequence[str],
    where: str,
) -> Fingerprint:
    """The fingerprint of training cases from their facts, labelled ones first.

    channel_names, class_names: as the data set tells them, if it does. where: the data set, for messages. Labels are read once more, to
    count their pieces and to note where they lie. Raises UserError with every problem of every case, for labels without any class, for
    mixed channels or axes.
    """
    raise_all([problem for fact in facts for problem in fact.problems])
    raise_all(_mixed(facts, where))
    labelled = [fact for fact in facts if fact.case.labelled]
    classes = max(len(class_names), 1 + max(max(fact.label_counts, default=0) for fact in labelled))
    if classes < 2:
        fix = "put 1, 2, ... where the structures are that shall be found"
        raise UserError(
            Problem(
                "the labels hold background only",
                where,
                "no value above 0 in any label",
                "class 1 somewhere",
                fix,
            )
        )
    ct, told_by = _is_ct(facts, channel_names)
    pieces, places = _labels((fact.case for fact in labelled), classes)
    return Fingerprint(
        shapes=tuple(fact.shape[1:] for fact in facts),
        spacings=tuple(fact.spacing for fact in facts if fact.spacing is not None),
        labelled=len(labelled),
        channels=facts[0].channels,
        classes=classes,
        ct=ct,
        ct_told_by=told_by,
        foreground=_foreground(labelled),
        pieces=pieces,
        cases=tuple(_row(fact) for fact in facts),
        places=places,
    )


def _mixed(facts: Sequence[CaseFacts], where: str) -> list[Problem]:
    """What all cases must have in common, where they do not."""
    fix = "make data sets of their own of them (crossview check DATA tells which scan has what)"
    differing = {
        "numbers of channels": {str(fact.channels) for fact in facts},
        "numbers of axes": {str(len(fact.shape) - 1) for fact in facts},
        "files that tell the voxel sides": {
            "some" if fact.spacing is None else "others not" for fact in facts
        },
    }
    return [
        Problem(
            "scans can't be trained on together",
            where,
            f"different {what}: {' and '.join(sorted(values))}",
            "one kind",
            fix,
        )
        for what, values in differing.items()
        if len(values) > 1
    ]


def _is_ct(facts: Sequence[CaseFacts], channel_names: Sequence[str] | None) -> tuple[bool, str]:
    """Whether every channel holds Hounsfield units, and what tells so."""
    if channel_names:
        return all(name.strip().upper() == "CT" for name in channel_names), "dataset.json"
    low, high = (
        np.median([[channel[index] for channel in fact.percentiles] for fact in facts], axis=0)
        for index in (0, 2)
    )
    return bool(
        ((low > AIR[0]) & (low < AIR[1]) & (high > 0) & (high < DENSEST)).all()
    ), "the intensities"


def _foreground(labelled: Sequence[CaseFacts]) -> tuple[tuple[float, float, float, float], ...]:
    voxels = np.concatenate([fact.foreground for fact in labelled], axis=1)
    if not voxels.size:
        return ()
    low, high = np.percentile(voxels, (0.5, 99.5), axis=1)
    mean, deviation = voxels.mean(1, dtype=np.float64), voxels.std(1, dtype=np.float64)
    if min(high - low) < SMALLEST_SPREAD or min(deviation) < SMALLEST_SPREAD:
        return ()
    return tuple(
        tuple(round(float(value), 4) for value in channel)
        for channel in zip(low, high, mean, deviation, strict=True)
    )  # type: ignore[misc]


def _labels(
    cases: Iterable[Case], classes: int
) -> tuple[dict[int, float], tuple[dict[int, NDArray[np.float64]], ...]]:
    """``pieces`` and ``places`` of labelled cases, each label read once."""
    smallest: dict[int, float] = {}
    places = []
    for case in cases:
        label = case.read_label() if case.read_label else np.zeros((1, 1), np.uint8)
        here = places_of(label)
        places.append(relative(here, label.shape))
        for value in (value for value in here if value < classes):
            smallest[value] = min(smallest.get(value, 1.0), largest_share(label == value))
    return smallest, tuple(places)


def largest_share(mask: NDArray[np.bool_]) -> float:
    """The share of a mask's voxels that its largest component has (26 neighbours, 8 in an image). The mask must have some."""
    import cc3d

    components = cc3d.connected_components(mask, connectivity=26 if mask.ndim == 3 else 8)
    counts = cc3d.statistics(components)["voxel_counts"][1:]
    return float(counts.max() / counts.sum())


def _row(fact: CaseFacts) -> dict[str, Any]:
    return {
        "case": fact.case.id,
        "labelled": fact.case.labelled,
        "shape": list(fact.shape[1:]),
        "spacing": None if fact.spacing is None else [round(side, 5) for side in fact.spacing],
        "percentiles": [[round(value, 4) for value in channel] for channel in fact.percentiles],
        "mean_sd": [[round(value, 4) for value in channel] for channel in fact.mean_sd],
    }
