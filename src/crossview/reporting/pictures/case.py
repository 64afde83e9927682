"""Pictures of cases, to look at before believing a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.data.case import Case, Splits
from crossview.inference.predict import Prediction
from crossview.recipe.resolve import Recipe
from crossview.reporting.pictures.frame import Cut, Frame, fullest
from crossview.reporting.pictures.panels import (
    CONFUSED,
    DISAGREE,
    EXTRA,
    GAP,
    LABEL,
    MISSED,
    PREDICTION,
    Array,
    Colour,
    Key,
    Row,
    class_keys,
    compose,
    save,
    window,
)

WIDTH = 1600
SIDE = 384


def case_picture(
    image: Array,
    label: Array | None,
    prediction: Array,
    views: Mapping[str, Array],
    path: Path,
    *,
    slice_axis: int = -1,
    affine: Array | None = None,
    names: Mapping[int, str] | None = None,
    unknown: Array | None = None,
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
        slice_axis: The axis of S along which slices are counted.
        affine: 4x4 voxel-to-world matrix of a NIfTI file (RAS, mm). With it, planes are shown as
            radiologists view them (right side at the left, front and head up), in true proportions.
        names: Classes by index, for the legend.
        unknown: Voxels (*S) without a label, in which nothing is an error; None: none.
    """
    frame = Frame.of(image.ndim - 1, slice_axis, affine)
    scan = _Scan(
        frame,
        frame.turn(np.asarray(image)[0]),
        None if label is None else frame.turn(label),
        frame.turn(prediction),
        {name: frame.turn(view) for name, view in views.items()},
        None if unknown is None else frame.turn(unknown),
    )
    cuts, region = scan.cuts(), scan.region()
    columns = len(cuts) if len(cuts) <= 5 else -(-len(cuts) // 2)
    side = min(SIDE, (WIDTH - GAP) // columns - GAP)
    limits = window(scan.image[region])
    panels = [cut.draw(scan.image, frame, side, limits, region=region) for cut in cuts]
    rows = [Row(tuple(panels[start : start + columns])) for start in range(0, len(panels), columns)]
    save(compose(rows, side, legend=scan.legend(names or {}), note=frame.note), path)


@dataclass(frozen=True)
class _Scan:
    """A case in display order."""

    frame: Frame
    image: Array
    label: Array | None
    prediction: Array
    views: dict[str, Array]
    unknown: Array | None = None

    @property
    def labels(self) -> list[Array]:
        arrays = (self.label, self.prediction, *self.views.values())
        return [array for array in arrays if array is not None]

    @property
    def coarse(self) -> bool:
        return self.frame.coarse(self.image.shape)

    def cuts(self) -> list[Cut]:
        """Return the panels: image, three outlines, errors, each view, and where views differ."""
        label, prediction = self.label, self.prediction
        seen = prediction > 0 if label is None or not label.any() else label > 0
        depths = _depths(seen)
        if self.coarse:
            main, places = depths[len(depths) // 2], [(0, depth) for depth in depths]
        else:
            places = [(axis, fullest(seen, axis)) for axis in range(3)]
            main = places[0][1]
        cuts = [Cut(0, main, "image")]
        for place in places:
            what = "prediction" if label is None else "label, prediction"
            name = what if place is places[0] else ""
            cuts.append(Cut(*place, name, outlines=self._outlines(prediction)))
        if label is not None:
            wrong = np.not_equal(label, prediction)
            wrong = wrong if self.unknown is None else wrong & ~self.unknown
            errors = (
                ((label > 0) & (prediction == 0), MISSED),
                (wrong & (label == 0), EXTRA),
                ((label > 0) & (prediction > 0) & wrong, CONFUSED),
            )
            most = fullest(wrong, 0, main)
            cuts.append(Cut(0, most, "errors", tints=errors))
        if len(self.views) >= 2:
            first, *others = self.views.values()
            differ = np.logical_or.reduce([first != other for other in others])
            most = fullest(differ, 0, main)
            for name, view in self.views.items():
                cuts.append(Cut(0, most, name, outlines=self._outlines(view)))
            cuts.append(Cut(0, most, "views differ", tints=((differ, DISAGREE),)))
        return cuts

    def _outlines(self, prediction: Array) -> list[tuple[Array, tuple[Colour, ...], float]]:
        label = [] if self.label is None else [(self.label, LABEL, 2.4)]
        return [*label, (prediction, PREDICTION, 1.4)]

    def region(self) -> tuple[slice, ...]:
        """Return the part to show: around all labels, square in mm, half as much again."""
        marked = np.logical_or.reduce([array > 0 for array in self.labels])
        shape, spacing = marked.shape, self.frame.spacing
        region = [slice(0, count) for count in shape]
        if not marked.any():
            return tuple(region)
        used = (1, 2) if self.coarse else (0, 1, 2)
        ends = {}
        for axis in used:
            others = tuple(other for other in range(3) if other != axis)
            filled = np.flatnonzero(marked.any(axis=others))
            ends[axis] = int(filled[0]), int(filled[-1]) + 1
        widest = max((end - start) * spacing[axis] for axis, (start, end) in ends.items())
        side = max(1.5 * widest, 0.4 * max(shape[axis] * spacing[axis] for axis in used))
        for axis, (start, end) in ends.items():
            length = min(shape[axis], round(side / spacing[axis]) + 1)
            first = max(0, min((start + end - length) // 2, shape[axis] - length))
            region[axis] = slice(first, first + length)
        return tuple(region)

    def legend(self, names: Mapping[int, str]) -> list[Key]:
        present = sorted({int(i) for array in self.labels for i in np.unique(array) if i > 0})
        kinds = {"label": LABEL, "prediction": PREDICTION}
        errors = [Key("missed", MISSED, tint=True), Key("extra", EXTRA, tint=True)]
        if len(present) > 1:
            errors.append(Key("wrong class", CONFUSED, tint=True))
        if self.label is None:
            kinds, errors = {"prediction": PREDICTION}, []
        views = [Key("views differ", DISAGREE, tint=True)] if len(self.views) >= 2 else []
        return [*class_keys(present, names, kinds), *errors, *views]


def _depths(seen: Array) -> list[int]:
    """Return three slices of a structure: its middle, and a sixth of its extent from either end."""
    filled = np.flatnonzero(seen.any(axis=(1, 2)))
    if not filled.size:
        return [len(seen) // 2]
    last = len(filled) - 1
    return sorted({int(filled[place]) for place in (last // 6, last // 2, last - last // 6)})


def case_drawer(
    recipe: Recipe, splits: Splits
) -> Callable[[Case, NDArray[Any], NDArray[Any], Prediction, Path | None], None]:
    """Return a function that draws a case with its label and prediction.

    The picture goes into ``pictures/`` of the folder passed to it; None draws nothing.
    """
    axis = 0 if len(recipe.data.patch) == 2 else -1
    names = dict(enumerate(splits.class_names))

    def draw(
        case: Case,
        image: NDArray[Any],
        label: NDArray[Any],
        prediction: Prediction,
        folder: Path | None,
    ) -> None:
        if folder is not None:
            case_picture(
                image,
                case.classes_of(label),
                prediction.label,
                prediction.views,
                folder / "pictures" / f"{case.id}.png",
                slice_axis=axis,
                affine=case.affine,
                names=names,
                unknown=None if case.partial is None else label >= case.partial.lowest,
            )

    return draw
