"""Pictures of training batches: the data as the network gets it, and the method's answer to it."""

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
    """Draw a training batch: its images, and one named row per entry of the method's ``show``.

    Labels are drawn as outlines on the image they belong to: "X label" on "X", a target on the
    unlabelled mix, other labels on the unlabelled images. Entries of any other shape are skipped.

    Args:
        image: (B, C, *S).
        label: (B, *S).
        unlabelled: (B', C, *S) or None.
        show: By name, images (B, C, *S), real-valued maps (B, *S), or whole-number labels (B, *S).
        path: The PNG to write.
        slice_axis: The axis of S along which slices are counted.
        title: The heading of the picture.
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
    note = f"showing {COLUMNS} of {largest} samples per row" if largest > COLUMNS else ""
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
    """A row of a batch: an image or map (B, *S), its outline, and the labels that choose slices."""

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
    """Return the rows of a batch; rows on the same image show the same slices."""
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
    """Return the image to draw a label on: the one its name says, else the first of its shape."""
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
