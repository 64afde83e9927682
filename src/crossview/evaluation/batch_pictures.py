"""Pictures of training batches: does the data look right, and what does the method make of it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossview.evaluation.display import Frame, fullest
from crossview.evaluation.panels import (
    LABEL,
    PREDICTION,
    Array,
    Key,
    Panel,
    Row,
    compose,
    draw_outlines,
    grey,
    save,
    shade,
    window,
)

SIDE = 160
COLUMNS = 6


def batch_picture(
    image: Array,
    label: Array,
    unlabelled: Array | None,
    show: Mapping[str, Array],
    path: Path,
    *,
    slice_axis: int = -1,
    title: str = "",
) -> None:
    """Draw a training batch: its images, and whatever the method left in ``show``, one named row an entry.

    image: (B, C, *S). label: (B, *S). unlabelled: (B', C, *S) or None. show: images (B, C, *S), real-valued maps (B, *S) or
    labels (B, *S) of whole numbers; labels are drawn as outlines on the image they belong to: "X label" on "X", a target
    on the unlabelled mix, other ones on the unlabelled images. An entry of any other shape is left out.
    """
    rows = _rows(
        np.asarray(image),
        np.asarray(label),
        unlabelled,
        {name: np.asarray(array) for name, array in show.items()},
    )
    frame = Frame.of(image.ndim - 2, slice_axis, None)
    drawn = [
        Row(
            tuple(row.draw(sample, frame) for sample in range(min(len(row.base), COLUMNS))),
            row.name,
        )
        for row in rows
    ]
    largest = max(len(row.base) for row in rows)
    note = f"{COLUMNS} of {largest} samples a row are shown" if largest > COLUMNS else ""
    heading = "   ".join(part for part in (title, note) if part)
    classes = max(
        (int(row.label.max()) for row in rows if row.label is not None and row.label.size),
        default=1,
    )
    kinds = (("label", LABEL), ("pseudo-label or target", PREDICTION))
    keys = [
        Key(f"{kind}, class {index}" if classes > 1 else kind, shade(of, index))
        for kind, of in kinds
        for index in range(1, classes + 1)
    ]
    save(compose(drawn, SIDE, heading, keys, margin=150), path)


@dataclass(frozen=True)
class _Row:
    """One row of a batch: an image or map (B, *S), a label to outline on it, and the labels that choose the slices."""

    name: str
    base: Array
    label: Array | None
    guides: tuple[Array, ...]
    true: bool

    def draw(self, sample: int, frame: Frame) -> Panel:
        volume = frame.turn(self.base[sample])
        marked = np.zeros(volume.shape, np.uint8)
        for guide in self.guides:
            marked += frame.turn(guide[sample]) > 0
        index = fullest(marked, 0)
        scale = SIDE / max(volume.shape[1:])
        size = (max(1, round(volume.shape[2] * scale)), max(1, round(volume.shape[1] * scale)))
        panel = grey(volume[index], window(volume), size)
        if self.label is not None:
            panel = draw_outlines(
                panel,
                frame.turn(self.label[sample])[index],
                LABEL if self.true else PREDICTION,
                width=1.4,
            )
        return Panel(panel)


def _rows(
    image: Array, label: Array, unlabelled: Array | None, show: Mapping[str, Array]
) -> list[_Row]:
    """The rows of a batch; rows on the same image show the same slices."""
    dimensions = image.ndim - 2
    images = {"labelled": image[:, 0]} | (
        {} if unlabelled is None else {"unlabelled": np.asarray(unlabelled)[:, 0]}
    )
    labels = {"labelled label": label}
    for name, array in show.items():
        if not array.size:
            continue
        if array.ndim == dimensions + 2:
            images[name] = array[:, 0]
        elif array.ndim == dimensions + 1:
            (images if array.dtype.kind == "f" else labels)[name] = array
    owner = {name: _owner(name, array, images) for name, array in labels.items()}
    rows = []
    for base, pixels in images.items():
        own = [name for name in labels if owner[name] == base]
        guides = tuple(labels[name] for name in own)
        if f"{base} label" not in own:
            rows.append(_Row(base, pixels, None, guides, False))
        rows += [
            _Row(
                base if name == f"{base} label" else name,
                pixels,
                labels[name],
                guides,
                _is_true(name),
            )
            for name in own
        ]
    stray = [name for name in labels if owner[name] is None]
    return rows + [
        _Row(name, np.zeros(labels[name].shape, np.float32), labels[name], (labels[name],), False)
        for name in stray
    ]


def _owner(name: str, label: Array, images: Mapping[str, Array]) -> str | None:
    """The image a label is drawn on: by its name where that says so, else the first one of its shape."""
    likely = [name.removesuffix(" label")] if name.endswith(" label") else []
    likely += ["unlabelled mix", "unlabelled"] if name.startswith("target") else ["unlabelled"]
    return next(
        (
            base
            for base in (*likely, *images)
            if base in images and images[base].shape == label.shape
        ),
        None,
    )


def _is_true(name: str) -> bool:
    return "labelled" in name.replace("unlabelled", "") and "pseudo" not in name
