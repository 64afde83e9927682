"""Pictures of training batches: the data as the network gets it, and the method's answer to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crossview.core.tensors import Batch
from crossview.data.case import Splits
from crossview.recipe.resolve import Recipe
from crossview.reporting.pictures.frame import Cut, Frame, fullest
from crossview.reporting.pictures.panels import (
    LABEL,
    PREDICTION,
    Array,
    Key,
    Panel,
    Row,
    compose,
    save,
    shade,
    window,
)

SIDE = 160
COLUMNS = 6


TURNED = "Batches are turned and mirrored at random: the sides of the patient are not marked"


def batch_drawer(
    recipe: Recipe, splits: Splits
) -> Callable[[Batch, Mapping[str, Tensor], Path], None]:
    """Return a function that draws a batch in the orientation of the pictures of cases."""
    scans = (*splits.labelled, *splits.unlabelled)
    affine, flat = scans[0].affine, len(recipe.data.patch) == 2
    if affine is not None and all(scan.affine is not None for scan in scans):
        # Scans are read in one orientation, and resampled to one spacing where the recipe has it.
        sides = np.linalg.norm(affine[:3, :3], axis=0)
        wanted = np.array(recipe.data.spacing if len(recipe.data.spacing) == 3 else sides)
        affine = affine.copy()
        affine[:3, :3] *= np.where(wanted > 0, wanted, sides) / sides
        frame = Frame.of(3 - flat, -1, affine, sliced=flat)
    else:
        frame = Frame.of(3 - flat, -1, None)
    note = frame.note
    if recipe.data.augmentation.startswith("rot90_flip"):
        note = TURNED if note else ""
        frame = replace(frame, ends=())

    def draw(batch: Batch, show: Mapping[str, Tensor], path: Path) -> None:
        draw_batch(batch, show, path, frame, note, splits.class_names)

    return draw


def draw_batch(
    batch: Batch,
    show: Mapping[str, Tensor],
    path: Path,
    frame: Frame,
    note: str = "",
    names: Sequence[str] = (),
) -> None:
    """Draw a training batch: its images, and one named row per entry of the method's ``show``.

    Labels are drawn as outlines on the image they belong to: "X label" on "X", a target on the
    unlabelled mix, other labels on the unlabelled images. Entries of any other shape are skipped.

    Args:
        batch: The batch.
        show: By name, images (B, C, *S), real-valued maps (B, *S), or whole-number labels (B, *S).
        path: The PNG to write.
        frame: The orientation to draw in.
        note: A sentence below the legend.
        names: Names of the classes, background first. One without a name is "class k".
    """

    def drawn(tensor: Tensor) -> Array:
        array = _array(tensor)
        is_label = batch.partial is not None and array.dtype == np.uint8
        return batch.partial.classes_of(array) if batch.partial and is_label else array

    rows = _rows(
        drawn(batch.image),
        drawn(batch.label),
        None if batch.unlabelled is None else drawn(batch.unlabelled),
        {name: drawn(tensor) for name, tensor in show.items()},
    )
    panels = [Row(tuple(row.panels(frame)), row.name) for row in rows]
    largest = max(len(row.base) for row in rows)
    title = f"showing {COLUMNS} of {largest} samples per row" if largest > COLUMNS else ""
    labels = [row.label for row in rows if row.label is not None and row.label.size]
    classes = max((int(label.max()) for label in labels), default=1)
    called = {index: f"class {index}" for index in range(classes + 1)} | dict(enumerate(names))
    keys = [
        Key(f"{kind}, {called[index]}" if classes > 1 else kind, shade(family, index))
        for kind, family in {"label": LABEL, "pseudo-label or target": PREDICTION}.items()
        for index in range(1, classes + 1)
    ]
    save(compose(panels, SIDE, title, keys, margin=150, note=note), path)


def _array(tensor: Tensor) -> Array:
    kind = torch.float32 if tensor.is_floating_point() else torch.uint8
    return tensor.detach().to("cpu", kind).numpy()


@dataclass(frozen=True)
class _Row:
    """A row of a batch: an image or map (B, *S), its outline, and the labels that choose slices."""

    name: str
    base: Array
    label: Array | None
    guides: tuple[Array, ...]
    true: bool = False

    def panels(self, frame: Frame) -> Iterator[Panel]:
        """Yield the first samples, each on the slice where most is labelled."""
        for sample in range(min(len(self.base), COLUMNS)):
            volume = frame.turn(self.base[sample])
            marked = np.zeros(volume.shape, np.uint8)
            for guide in self.guides:
                marked += frame.turn(guide[sample]) > 0
            family = LABEL if self.true else PREDICTION
            outlines = (
                () if self.label is None else ((frame.turn(self.label[sample]), family, 1.4),)
            )
            cut = Cut(0, fullest(marked, 0), outlines=outlines)
            yield Panel(cut.draw(volume, frame, SIDE, window(volume)).pixels)


def _rows(
    image: Array, label: Array, unlabelled: Array | None, show: Mapping[str, Array]
) -> list[_Row]:
    """Return the rows of a batch; rows on the same image show the same slices."""
    dimensions = image.ndim - 2
    images = {"labelled": image[:, 0]}
    if unlabelled is not None:
        images["unlabelled"] = unlabelled[:, 0]
    labels = {"labelled label": label}
    for name, array in show.items():
        if array.size and array.ndim == dimensions + 2:
            images[name] = array[:, 0]
        elif array.size and array.ndim == dimensions + 1:
            (images if array.dtype.kind == "f" else labels)[name] = array
    owner = {name: _owner(name, array, images) for name, array in labels.items()}
    rows = []
    for base, pixels in images.items():
        own = [name for name in labels if owner[name] == base]
        guides = tuple(labels[name] for name in own)
        if f"{base} label" not in own:
            rows.append(_Row(base, pixels, None, guides))
        for name in own:
            title = base if name == f"{base} label" else name
            rows.append(_Row(title, pixels, labels[name], guides, _is_true(name)))
    for name, array in labels.items():
        if owner[name] is None:
            rows.append(_Row(name, np.zeros(array.shape, np.float32), array, (array,)))
    return rows


def _owner(name: str, label: Array, images: Mapping[str, Array]) -> str | None:
    """Return the image to draw a label on: the one its name says, else the first of its shape."""
    likely = [name.removesuffix(" label")] if name.endswith(" label") else []
    likely += ["unlabelled mix", "unlabelled"] if name.startswith("target") else ["unlabelled"]
    fitting = [base for base, pixels in images.items() if pixels.shape == label.shape]
    return next((base for base in (*likely, *fitting) if base in fitting), None)


def _is_true(name: str) -> bool:
    return "labelled" in name.replace("unlabelled", "") and "pseudo" not in name
