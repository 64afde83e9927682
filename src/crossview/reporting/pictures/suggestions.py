"""Picture of the scans to label next.

Each scan is shown with its views' outlines, on the slices where they differ most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossview.evaluation.doubt import Suggestion
from crossview.inference.predict import Prediction
from crossview.reporting.pictures.frame import Cut, Frame, fullest
from crossview.reporting.pictures.panels import (
    DISAGREE,
    LABEL,
    PREDICTION,
    Array,
    Key,
    Row,
    class_keys,
    compose,
    save,
    window,
)

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

    A row shows the name, the doubt and its rank, then slices with each view's outline; voxels where
    the views differ are tinted.

    Args:
        shown: At least one scan.
        path: The PNG to write.
        slice_axis: The axis of S along which slices are counted.
        names: Classes by index, for the legend.
    """
    rows, views, classes, notes = [], 0, 2, dict[str, None]()
    for each in shown:
        notes[_frame(each, slice_axis).note] = None
        rows.append(_row(each, slice_axis))
        views = max(views, len(_outlined(each.prediction)))
        classes = len(each.prediction.probability)
        if regions := each.prediction.head.regions:
            classes = 1 + max(region.written for region in regions)
    kinds = {"view 1": LABEL, "view 2": PREDICTION} if views > 1 else {"prediction": PREDICTION}
    tint = Key("views differ" if views > 1 else "unsure", DISAGREE, tint=True)
    legend = [*class_keys(range(1, classes), names or {}, kinds), tint]
    note = ". ".join(filter(None, notes))
    save(compose(rows, SIDE, "Label these next", legend, margin=MARGIN, note=note), path)


def _frame(shown: Shown, slice_axis: int) -> Frame:
    return Frame.of(shown.image.ndim - 1, slice_axis, shown.affine)


def _row(shown: Shown, slice_axis: int) -> Row:
    frame = _frame(shown, slice_axis)
    image = frame.turn(np.asarray(shown.image)[0])
    labels = [frame.turn(label) for label in _outlined(shown.prediction)]
    seen = np.logical_or.reduce([label > 0 for label in labels])
    if len(labels) > 1:
        unsure = np.logical_or.reduce([labels[0] != other for other in labels[1:]])
    else:
        unsure = frame.turn(shown.prediction.disagreement) > UNSURE
    families = (LABEL, PREDICTION) if len(labels) > 1 else (PREDICTION,)
    outlines = [(label, family, 1.8) for label, family in zip(labels, families, strict=False)]
    limits = window(image)
    panels = []
    for axis in (0,) if frame.coarse(image.shape) or len(image) == 1 else (0, 1, 2):
        index = fullest(unsure, axis, fullest(seen, axis))
        cut = Cut(axis, index, tints=((unsure, DISAGREE),), outlines=outlines)
        panels.append(cut.draw(image, frame, SIDE, limits, opacity=0.35))
    suggestion = shown.suggestion
    doubt = f"doubt {suggestion.score:.2f} (rank {suggestion.place} of {suggestion.of})"
    name = f"{suggestion.rank}. {suggestion.case} {doubt}"
    return Row(tuple(panels), name)


def _outlined(prediction: Prediction) -> list[Array]:
    """Return each peer's label, else the prediction's."""
    return list(prediction.views.values()) if prediction.of_peers else [prediction.label]
