"""Pictures of cases, to look at before believing a number. batch_pictures has those of batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from crossview.evaluation.batch_pictures import batch_picture
from crossview.evaluation.display import Frame, fullest
from crossview.evaluation.panels import (
    CONFUSED,
    DISAGREE,
    EXTRA,
    GAP,
    LABEL,
    MISSED,
    PREDICTION,
    Array,
    Key,
    Mask,
    Panel,
    Pixels,
    Row,
    compose,
    draw_outlines,
    fill,
    grey,
    save,
    shade,
    window,
)

__all__ = ["batch_picture", "case_picture"]

WIDTH = 1600
SIDE = 384


def case_picture(
    image: Array,
    label: Array | None,
    prediction: Array,
    views: Mapping[str, Array],
    path: Path,
    title: str,
    *,
    slice_axis: int = -1,
    affine: Array | None = None,
    names: Mapping[int, str] | None = None,
) -> None:
    """Draw one case as a PNG at most 1,600 pixels wide.

    It shows outlines of label and prediction on informative slices, errors, each view, and where
    views differ.

    Args:
        image: (C, *S), 2D or 3D; its first channel is drawn.
        label: Classes (*S), or None.
        prediction: Classes (*S).
        views: Classes (*S) per view.
        path: The PNG to write.
        title: The heading of the picture.
        slice_axis: The axis of S along which slices are counted.
        affine: 4x4 voxel-to-world matrix of a NIfTI file (RAS, mm). With it, planes are shown as
            radiologists view them (right side at the left, front and head up), in true proportions.
        names: Classes by index, for the legend.
    """
    frame = Frame.of(image.ndim - 1, slice_axis, affine)
    scan = _Scan(
        frame.turn(np.asarray(image)[0]),
        None if label is None else frame.turn(label),
        frame.turn(prediction),
        {name: frame.turn(view) for name, view in views.items()},
    )
    cuts = _cuts(scan, frame)
    columns = len(cuts) if len(cuts) <= 5 else -(-len(cuts) // 2)
    side = min(SIDE, (WIDTH - GAP) // columns - GAP)
    region = _region(scan, frame)
    limits = window(scan.image[region])
    panels = [Panel(_draw(scan, cut, region, frame, limits, side), cut.caption) for cut in cuts]
    rows = [Row(tuple(panels[start : start + columns])) for start in range(0, len(panels), columns)]
    save(compose(rows, side, title, _legend(scan, names or {})), path)


Plane = Callable[[Array], Array]
"""Function that takes from a volume the plane that a panel shows."""
Overlay = Callable[[Pixels, Plane], Pixels]


@dataclass(frozen=True)
class _Scan:
    """A case in display order."""

    image: Array
    label: Array | None
    prediction: Array
    views: dict[str, Array]

    @property
    def errors(self) -> Mask:
        return (
            np.zeros(self.prediction.shape, bool)
            if self.label is None
            else np.not_equal(self.label, self.prediction)
        )

    @property
    def disagreement(self) -> Mask:
        first, *others = self.views.values()
        return np.asarray(np.logical_or.reduce([first != other for other in others]))

    @property
    def labels(self) -> list[Array]:
        return [
            array
            for array in (self.label, self.prediction, *self.views.values())
            if array is not None
        ]


@dataclass(frozen=True)
class _Cut:
    """A panel to draw: a plane, its overlay and its caption."""

    axis: int
    index: int
    caption: str
    overlay: Overlay


def _cuts(scan: _Scan, frame: Frame) -> list[_Cut]:
    """Return a case's panels: image, three outlines, errors, each view, and where views differ."""
    shape = scan.image.shape
    seen = scan.prediction > 0 if scan.label is None or not scan.label.any() else scan.label > 0

    def cut(name: str, axis: int, index: int, overlay: Overlay) -> _Cut:
        where = frame.caption(axis, index, shape[axis])
        return _Cut(axis, index, "  ".join(part for part in (name, where) if part), overlay)

    depths = _depths(seen)
    main = depths[len(depths) // 2] if frame.coarse(shape) else fullest(seen, 0)
    cuts = [cut("image", 0, main, lambda panel, plane: panel)]
    what = "prediction" if scan.label is None else "label, prediction"
    places = (
        [(0, depth) for depth in depths]
        if frame.coarse(shape)
        else [(axis, fullest(seen, axis)) for axis in range(3)]
    )
    cuts += [
        cut("" if number else what, *place, partial(_outlines, scan.label, scan.prediction))
        for number, place in enumerate(places)
    ]
    if scan.label is not None:
        cuts.append(cut("errors", 0, fullest(scan.errors, 0, main), partial(_error_tints, scan)))
    if len(scan.views) >= 2:
        differing = fullest(scan.disagreement, 0, main)
        cuts += [
            cut(name, 0, differing, partial(_outlines, scan.label, view))
            for name, view in scan.views.items()
        ]
        cuts.append(
            cut(
                "views differ",
                0,
                differing,
                lambda panel, plane: fill(panel, plane(scan.disagreement), DISAGREE),
            )
        )
    return cuts


def _outlines(label: Array | None, prediction: Array, panel: Pixels, plane: Plane) -> Pixels:
    if label is not None:
        panel = draw_outlines(panel, plane(label), LABEL, width=2.4)
    return draw_outlines(panel, plane(prediction), PREDICTION, width=1.4)


def _error_tints(scan: _Scan, panel: Pixels, plane: Plane) -> Pixels:
    if scan.label is None:
        return panel
    label, prediction = plane(scan.label), plane(scan.prediction)
    panel = fill(panel, (label > 0) & (prediction == 0), MISSED)
    panel = fill(panel, (label == 0) & (prediction > 0), EXTRA)
    return fill(panel, (label > 0) & (prediction > 0) & (label != prediction), CONFUSED)


def _depths(seen: Array) -> list[int]:
    """Return three slices of a structure: its middle, and a sixth of its extent from either end."""
    filled = np.flatnonzero(seen.any(axis=(1, 2)))
    if not filled.size:
        return [len(seen) // 2]
    last = len(filled) - 1
    return sorted({int(filled[place]) for place in (last // 6, last // 2, last - last // 6)})


def _region(scan: _Scan, frame: Frame) -> tuple[slice, ...]:
    """Return the part to show: around all labels, square in mm, half as much again for context."""
    marked = np.logical_or.reduce([array > 0 for array in scan.labels])
    shape, spacing = marked.shape, frame.spacing
    used = (1, 2) if frame.coarse(shape) else (0, 1, 2)
    if not marked.any():
        return tuple(slice(0, count) for count in shape)
    bounds = [
        np.flatnonzero(marked.any(axis=tuple(other for other in range(3) if other != axis)))
        for axis in range(3)
    ]
    widest = max((bounds[axis][-1] + 1 - bounds[axis][0]) * spacing[axis] for axis in used)
    side = max(1.5 * widest, 0.4 * max(shape[axis] * spacing[axis] for axis in used))
    region = [slice(0, count) for count in shape]
    for axis in used:
        length = min(shape[axis], round(side / spacing[axis]) + 1)
        start = (int(bounds[axis][0]) + int(bounds[axis][-1]) + 1 - length) // 2
        start = max(0, min(start, shape[axis] - length))
        region[axis] = slice(start, start + length)
    return tuple(region)


def _draw(
    scan: _Scan,
    cut: _Cut,
    region: tuple[slice, ...],
    frame: Frame,
    limits: tuple[float, float],
    side: int,
) -> Pixels:
    kept = [axis for axis in range(3) if axis != cut.axis]

    def plane(array: Array) -> Array:
        return np.asarray(array.take(cut.index, axis=cut.axis)[region[kept[0]], region[kept[1]]])

    flat = plane(scan.image)
    height, width = (
        count * frame.spacing[axis] for count, axis in zip(flat.shape, kept, strict=True)
    )
    scale = side / max(height, width)
    return cut.overlay(
        grey(flat, limits, (max(1, round(width * scale)), max(1, round(height * scale)))), plane
    )


def _legend(scan: _Scan, names: Mapping[int, str]) -> list[Key]:
    present = sorted(
        {int(index) for array in scan.labels for index in np.unique(array) if index > 0}
    )
    keys: list[Key] = []
    for index in present:
        name = names.get(index, f"class {index}")
        if scan.label is not None:
            keys.append(Key(f"{name}: label", shade(LABEL, index)))
        keys.append(Key(f"{name}: prediction", shade(PREDICTION, index)))
    if scan.label is not None:
        keys += [Key("missed", MISSED, tint=True), Key("extra", EXTRA, tint=True)]
        if len(present) > 1:
            keys.append(Key("wrong class", CONFUSED, tint=True))
    if len(scan.views) >= 2:
        keys.append(Key("views differ", DISAGREE, tint=True))
    return keys
