"""The layers of a case in the viewer: scan, label, prediction, views, errors and doubt."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossview.reporting.pictures.panels import (
    CONFUSED,
    DISAGREE,
    EXTRA,
    LABEL,
    MISSED,
    PREDICTION,
    Array,
    Colour,
    shade,
    window,
)
from crossview.reporting.viewer.grid import Grid

Kind = Literal["scan", "classes", "map"]

FILLED, MARKED = 0.35, 0.7
"""Opacity of a filled label, and of errors and doubt."""

DOUBTS = {
    "entropy": "How unsure the prediction is, from 0 to 1",
    "disagreement": "How far the views differ, from 0 to 1",
}
"""Maps of doubt by name, as predict writes them, with their meaning."""

ERRORS = ((1, "missed", MISSED), (2, "extra", EXTRA), (3, "wrong class", CONFUSED))


@dataclass(frozen=True)
class Layer:
    """A volume of a case that the page can switch on and off.

    Attributes:
        name: As the page shows it.
        kind: scan: grey values or colours. classes: whole numbers, each with a colour. map: values
            0 to 255, from none to 1.
        volume: A NIfTI file, compressed by gzip.
        shown: True if it is switched on at first.
        outline: True if classes are drawn as outlines at first.
        opacity: Opacity at first, 0 to 1.
        keys: For classes, (value, name, colour) of each that occurs.
        limits: For grey values, those drawn black and white.
        about: A sentence that explains it.
    """

    name: str
    kind: Kind
    volume: bytes
    shown: bool = False
    outline: bool = False
    opacity: float = 1.0
    keys: tuple[tuple[int, str, str], ...] = ()
    limits: tuple[float, float] | None = None
    about: str = ""

    def facts(self) -> dict[str, Any]:
        """Return what the page is told of the layer, besides its volume."""
        return {name: value for name, value in vars(self).items() if name != "volume"}


@dataclass(frozen=True)
class Opened:
    """A case that is ready to be shown: its layers, and where the planes cut it at first."""

    layers: tuple[Layer, ...]
    grid: Grid
    centre: tuple[float, ...]

    def facts(self) -> dict[str, Any]:
        """Return what the page is told of the case."""
        return {
            "layers": [layer.facts() for layer in self.layers],
            "centre": self.centre,
            "oriented": self.grid.oriented,
            "flat": self.grid.flat,
            "fine": self.grid.fine,
            "step": max(self.grid.steps),
            "note": self.grid.note,
        }


def opened(
    grid: Grid,
    image: Array,
    label: Array | None,
    prediction: Array,
    *,
    views: Mapping[str, Array] | None = None,
    doubts: Mapping[str, Array] | None = None,
    names: Mapping[int, str] | None = None,
) -> Opened:
    """Return a case as the viewer shows it.

    Args:
        grid: The grid of all arrays.
        image: (C, *S), 2D or 3D.
        label: Classes (*S), or None.
        prediction: Classes (*S).
        views: Classes (*S) per view.
        doubts: Maps (*S) with values 0 to 1, by their names in ``DOUBTS``.
        names: Classes by index.
    """
    names = names or {}
    layers = [*_scans(grid, image)]
    if label is not None:
        layers.append(_classes(grid, "label", label, LABEL, names, shown=True, filled=True))
    layers.append(_classes(grid, "prediction", prediction, PREDICTION, names, shown=True))
    if label is not None:
        layers.append(_errors(grid, label, prediction))
    if views and len(views) > 1:
        layers += [
            _classes(grid, name, view, PREDICTION, names, about="One network alone")
            for name, view in views.items()
        ]
    layers += [_doubt(grid, kind, values) for kind, values in (doubts or {}).items()]
    seen = prediction > 0 if label is None or not label.any() else label > 0
    return Opened(tuple(layers), grid, tuple(grid.centre(seen)))


def _scans(grid: Grid, image: Array) -> Iterable[Layer]:
    """Yield a layer per channel; one in colour for a 2D image of three channels."""
    if grid.flat and len(image) == 3:
        low, high = (0.0, 255.0) if image.min() >= 0 and image.max() <= 255 else window(image)
        scaled = np.clip((image - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        yield Layer("image", "scan", _packed(grid.volume(np.moveaxis(scaled, 0, -1))), True)
        return
    for number, channel in enumerate(image, 1):
        name = ("image" if grid.flat else "scan") if len(image) == 1 else f"channel {number}"
        values = grid.volume(_compact(channel), smooth=True)
        yield Layer(name, "scan", _packed(values), number == 1, limits=window(channel))


def _compact(channel: Array) -> Array:
    """Return whole numbers as int16 if they fit, else float32."""
    whole = channel.astype(np.int16, copy=True) if _fits(channel) else None
    if whole is not None and np.array_equal(whole, channel):
        return whole
    return channel.astype(np.float32)


def _fits(channel: Array) -> bool:
    limits = np.iinfo(np.int16)
    return bool(limits.min <= channel.min() and channel.max() <= limits.max)


def _classes(
    grid: Grid,
    name: str,
    values: Array,
    family: Sequence[Colour],
    names: Mapping[int, str],
    *,
    shown: bool = False,
    filled: bool = False,
    about: str = "",
) -> Layer:
    keys = tuple(
        (index, names.get(index, f"class {index}"), _hex(shade(family, index)))
        for index in map(int, np.unique(values))
        if index > 0
    )
    volume = _packed(grid.volume(values.astype(np.uint8)))
    opacity = FILLED if filled else 1.0
    return Layer(name, "classes", volume, shown, not filled, opacity, keys, about=about)


def _errors(grid: Grid, label: Array, prediction: Array) -> Layer:
    codes: NDArray[np.uint8] = np.zeros(label.shape, np.uint8)
    codes[(label > 0) & (prediction == 0)] = 1
    codes[(label == 0) & (prediction > 0)] = 2
    codes[(label > 0) & (prediction > 0) & (label != prediction)] = 3
    there = np.unique(codes)
    keys = tuple((code, name, _hex(colour)) for code, name, colour in ERRORS if code in there)
    about = "Where the prediction differs from the label"
    volume = _packed(grid.volume(codes))
    return Layer("errors", "classes", volume, opacity=MARKED, keys=keys, about=about)


def _doubt(grid: Grid, kind: str, values: Array) -> Layer:
    volume = grid.volume(np.clip(np.nan_to_num(values) * 255, 0, 255).round().astype(np.uint8))
    keys = ((255, kind, _hex(DISAGREE)),)
    return Layer(kind, "map", _packed(volume), opacity=MARKED, keys=keys, about=DOUBTS[kind])


def _packed(volume: bytes) -> bytes:
    return gzip.compress(volume, 1, mtime=0)


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
