"""The fingerprint of a user's training scans: the facts from which a plan is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.partial import IGNORED
from crossview.core.regions import Region, voxels_of
from crossview.data.case import Case
from crossview.data.checks.case import CaseFacts
from crossview.data.checks.hounsfield import LOWEST_HU
from crossview.data.foreground import places_of, relative

AIR = (LOWEST_HU, -700.0)
"""Range of a CT's lowest intensity, padding far below air aside."""


SMALLEST_SPREAD = 1e-3
"""Minimum spread of foreground intensities that can serve as a scale."""


DENSEST = 4000.0
"""Upper limit of a CT's 99.5th percentile, in HU: bone is at 2000, metal beyond."""


@dataclass(frozen=True)
class Fingerprint:
    """Facts about the training cases, labelled and unlabelled; nothing about validation and test.

    Attributes:
        shapes: *S in voxels per case, labelled cases first, in the order of the axes read.
        spacings: Voxel spacing in mm per case, likewise; () if the files store none.
        labelled: Number of labelled cases.
        channels: Number of channels.
        classes: Number of classes, background included.
        ct: True if intensities are Hounsfield units.
        ct_told_by: Origin of ``ct``: "dataset.json" or "the intensities".
        colour: "grey" if images stored in colour are grey (data.colour), else "stored".
        foreground: Per channel, (0.5th percentile, 99.5th percentile, mean, standard deviation) of
            the labelled foreground; () if the foreground has a single value.
        regions: Names of the regions, () for classes.
        pieces: By class or region, the smallest share of the largest component in any wholly
            labelled case.
        cases: Rows for reports.
        border_labelled: True if foreground is labelled in the constant border of a scan, which then
            is no padding.
        searched: Per labelled case and axis, the share of planes with a voxel somebody labelled.
        places: Per labelled case, by class, some voxels (n, axes) in units of the scan's sides.
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
    colour: str = "stored"
    regions: tuple[str, ...] = ()
    cases: tuple[dict[str, Any], ...] = ()
    border_labelled: bool = False
    searched: tuple[tuple[float, ...], ...] = ()
    places: tuple[dict[int, NDArray[np.float64]], ...] = field(
        default=(), compare=False, repr=False
    )

    @property
    def axes(self) -> int:
        """Number of spatial axes of the scans, 2 or 3."""
        return len(self.shapes[0])

    def as_json(self) -> dict[str, Any]:
        """Return the fingerprint for plan.json."""
        return {
            "labelled": self.labelled,
            "unlabelled": len(self.shapes) - self.labelled,
            "channels": self.channels,
            "colour": self.colour,
            "classes": self.classes,
            "ct": self.ct,
            "ct_told_by": self.ct_told_by,
            "foreground": [list(channel) for channel in self.foreground],
            "largest_component_share": {
                str(value): round(share, 4) for value, share in self.pieces.items()
            },
            "cases": list(self.cases),
        }


def take(
    facts: Sequence[CaseFacts],
    channel_names: Sequence[str] | None,
    class_names: Sequence[str],
    regions: Sequence[Region] = (),
) -> Fingerprint:
    """Return the fingerprint of training cases.

    Labels are read once more, to measure their components and note foreground positions.

    Args:
        facts: Facts of the cases, labelled ones first, in which ``check_set`` found no error.
        channel_names: Names from the data set, or None.
        class_names: Names from the data set; may be empty.
        regions: What is trained instead of the classes; () for classes.
    """
    labelled = [fact for fact in facts if fact.case.labelled]
    seen = max(max(fact.label_counts, default=0) for fact in labelled)
    classes = 1 + max(len(class_names) - 1, seen, *(each.classes[-1] for each in regions))
    ct, told_by = _is_ct(facts, channel_names)
    pieces, places, searched = _labels((fact.case for fact in labelled), classes, regions)
    return Fingerprint(
        shapes=tuple(fact.shape[1:] for fact in facts),
        spacings=tuple(fact.spacing for fact in facts if fact.spacing is not None),
        labelled=len(labelled),
        channels=facts[0].channels,
        classes=classes,
        ct=ct,
        ct_told_by=told_by,
        foreground=_foreground(labelled, ct),
        pieces=pieces,
        regions=tuple(region.name for region in regions),
        cases=tuple(_row(fact) for fact in facts),
        border_labelled=any(fact.border_labelled for fact in labelled),
        places=places,
        searched=searched,
    )


def _is_ct(facts: Sequence[CaseFacts], channel_names: Sequence[str] | None) -> tuple[bool, str]:
    """Return True if every channel is in Hounsfield units, and the origin of that statement."""
    if channel_names:
        return all(name.strip().upper() == "CT" for name in channel_names), "dataset.json"
    low, high = (
        np.median([[channel[index] for channel in fact.hounsfield] for fact in facts], axis=0)
        for index in (0, 2)
    )
    return bool(
        ((low > AIR[0]) & (low < AIR[1]) & (high > 0) & (high < DENSEST)).all()
    ), "the intensities"


def _foreground(
    labelled: Sequence[CaseFacts], ct: bool
) -> tuple[tuple[float, float, float, float], ...]:
    """Return ``foreground``. In CT, a label that reaches into padding counts without it."""
    voxels = np.concatenate([fact.foreground for fact in labelled], axis=1)
    scanned = (voxels >= LOWEST_HU).all(0)
    if ct and scanned.any():
        voxels = voxels[:, scanned]
    if not voxels.size:
        return ()
    low, high = np.percentile(voxels, (0.5, 99.5), axis=1)
    mean, deviation = voxels.mean(1, dtype=np.float64), voxels.std(1, dtype=np.float64)
    if min(high - low) < SMALLEST_SPREAD or min(deviation) < SMALLEST_SPREAD:
        return ()
    numbers = np.stack([low, high, mean, deviation], axis=1).tolist()
    return tuple((round(a, 4), round(b, 4), round(c, 4), round(d, 4)) for a, b, c, d in numbers)


def _labels(
    cases: Iterable[Case], classes: int, regions: Sequence[Region]
) -> tuple[
    dict[int, float], tuple[dict[int, NDArray[np.float64]], ...], tuple[tuple[float, ...], ...]
]:
    """Return ``pieces``, ``places`` and ``searched`` of labelled cases, reading each label once."""
    trained = [region.classes for region in regions] or [(value,) for value in range(1, classes)]
    smallest: dict[int, float] = {}
    places, searched = [], []
    for case in cases:
        label = case.read_label() if case.read_label else np.zeros((1, 1), np.uint8)
        whole = case.partial is None or not (label == IGNORED).any()
        searched.append((1.0,) * label.ndim if whole else _searched(label))
        label = case.classes_of(label)
        here = places_of(label)
        places.append(relative(here, label.shape))
        if not whole:  # slices without their neighbours are pieces
            continue
        for number, values in enumerate(trained, 1):
            mask = voxels_of(label, values)
            if mask.any():
                smallest[number] = min(smallest.get(number, 1.0), largest_share(mask))
    return smallest, tuple(places), tuple(searched)


def _searched(label: NDArray[np.uint8]) -> tuple[float, ...]:
    """Return per axis the share of planes with a voxel that somebody labelled."""
    known = label != IGNORED
    axes = range(label.ndim)
    planes = [known.any(tuple(each for each in axes if each != axis)) for axis in axes]
    return tuple(float(of_axis.mean()) for of_axis in planes)


def largest_share(mask: NDArray[np.bool_]) -> float:
    """Return the largest component's share of a mask's voxels (26 neighbours; 8 in an image).

    The mask must not be empty.
    """
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
