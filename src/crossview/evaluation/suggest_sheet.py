"""Picture of the scans to label next.

Each scan is shown with its views' outlines, on the slices where they differ most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossview.evaluation.display import Frame, fullest
from crossview.evaluation.panels import (
    DISAGREE,
    LABEL,
    PREDICTION,
    Array,
    Key,
    Panel,
    Row,
    compose,
    draw_outlines,
    fill,
    grey,
    save,
    shade,
    window,
)
from crossview.evaluation.suggest import Suggestion
from crossview.inference.predict import Prediction

SIDE = 320
MARGIN = 230
UNSURE = 0.5
"""Entropy above which voxels are tinted for one network.

With several networks, voxels that they label differently are tinted.
"""


@dataclass(frozen=True)
class Shown:
    """A suggestion with its image (C, *S), prediction, and 4x4 voxel-to-world affine, if any."""

    suggestion: Suggestion
    image: Array
    prediction: Prediction
    affine: Array | None = None


def suggestion_sheet(
    shown: Iterable[Shown],
    path: Path,
    *,
    slice_axis: int = -1,
    names: Mapping[int, str] | None = None,
) -> None:
    """Draw the suggested scans, one per row.

    A row shows the name and the doubt, then slices with each view's outline; voxels where the views
    differ are tinted.

    Args:
        shown: At least one scan.
        path: The PNG to write.
        slice_axis: The axis of S along which slices are counted.
        names: Classes by index, for the legend.
    """
    rows, views, classes = [], 0, 2
    for each in shown:
        rows.append(_row(each, slice_axis))
        views, classes = (
            max(views, len(_outlined(each.prediction))),
            len(each.prediction.probability),
        )
    save(
        compose(
            rows,
            SIDE,
            "Label these next",
            _legend(views, range(1, classes), names or {}),
            margin=MARGIN,
        ),
        path,
    )


def _row(shown: Shown, slice_axis: int) -> Row:
    frame = Frame.of(shown.image.ndim - 1, slice_axis, shown.affine)
    image = frame.turn(np.asarray(shown.image)[0])
    labels = [frame.turn(label) for label in _outlined(shown.prediction)]
    seen = np.logical_or.reduce([label > 0 for label in labels])
    different = [labels[0] != other for other in labels[1:]]
    unsure = (
        np.logical_or.reduce(different)
        if different
        else frame.turn(shown.prediction.disagreement) > UNSURE
    )
    limits = window(image)
    axes = (0,) if frame.coarse(image.shape) or len(image) == 1 else (0, 1, 2)
    panels = []
    for axis in axes:
        index = fullest(unsure, axis, fullest(seen, axis))
        kept = [other for other in range(3) if other != axis]
        plane = np.asarray(image.take(index, axis=axis))
        height, width = (
            count * frame.spacing[other] for count, other in zip(plane.shape, kept, strict=True)
        )
        scale = SIDE / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = fill(
            grey(plane, limits, size), np.asarray(unsure.take(index, axis=axis)), DISAGREE, 0.35
        )
        for label, family in zip(
            labels, (LABEL, PREDICTION) if len(labels) > 1 else (PREDICTION,), strict=False
        ):
            pixels = draw_outlines(pixels, label.take(index, axis=axis), family, 1.8)
        panels.append(Panel(pixels, frame.caption(axis, index, image.shape[axis])))
    told = shown.suggestion
    return Row(tuple(panels), f"{told.rank}. {told.case} doubt {told.score:.2f}")


def _outlined(prediction: Prediction) -> list[Array]:
    """Return each peer's label, else the prediction's."""
    return list(prediction.views.values()) if prediction.of_peers else [prediction.label]


def _legend(views: int, classes: Iterable[int], names: Mapping[int, str]) -> list[Key]:
    keys = []
    for index in classes:
        name = names.get(index, f"class {index}")
        if views > 1:
            keys += [
                Key(f"{name}: view 1", shade(LABEL, index)),
                Key(f"{name}: view 2", shade(PREDICTION, index)),
            ]
        else:
            keys.append(Key(f"{name}: prediction", shade(PREDICTION, index)))
    return [*keys, Key("views differ" if views > 1 else "unsure", DISAGREE, tint=True)]
