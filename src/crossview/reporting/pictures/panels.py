"""Parts of pictures: grey panels, thin outlines, tints, and a sheet of captioned panels in rows.

Colours are safe for colour-blind readers: labels are cool (blue to green) and predictions warm
(orange to red), so everyone can tell the two apart. Within a family each class has its own shade.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from crossview.core.files import written_whole

Array = NDArray[Any]
Mask = NDArray[np.bool_]

Pixels = NDArray[np.uint8]
"""A picture (height, width, 3)."""

Colour = tuple[int, int, int]
LABEL: tuple[Colour, ...] = ((86, 180, 233), (92, 225, 195), (150, 160, 255), (190, 235, 255))
PREDICTION: tuple[Colour, ...] = ((255, 159, 10), (255, 221, 64), (255, 112, 92), (255, 200, 160))
MISSED: Colour = (60, 150, 230)
EXTRA: Colour = (240, 145, 10)
CONFUSED: Colour = (205, 105, 225)
DISAGREE: Colour = (225, 70, 170)
GROUND: Colour = (14, 17, 22)
INK: Colour = (236, 239, 244)
DIM: Colour = (154, 163, 176)
GAP = 10
CAPTION = 26

LINE = 30
"""Height of a line of the legend."""

TEXT = 15
"""Size of letters."""

NAME_LINE = 20
"""Height of a line of a row's name."""


def shade(family: Sequence[Colour], index: int) -> Colour:
    """Return the colour of a class, counted from 1; colours repeat after the last one."""
    return family[(index - 1) % len(family)]


def font(size: int) -> Any:
    """Return Pillow's own font, which needs no font file on the machine."""
    return ImageFont.load_default(size=size)


def window(image: Array) -> tuple[float, float]:
    """Return the intensities drawn black and white: 1st and 99.5th percentile of finite values."""
    finite = np.asarray(image, dtype=np.float32)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, (1.0, 99.5)))
    return (low, high) if high > low else (low, low + 1.0)


def grey(plane: Array, limits: tuple[float, float], size: tuple[int, int]) -> Pixels:
    """Return a plane (h, w) as an RGB panel of ``size`` (width, height), enlarged smoothly."""
    low, high = limits
    filled = np.nan_to_num(np.asarray(plane, dtype=np.float32), nan=low, posinf=high, neginf=low)
    scaled = (np.clip((filled - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    enlarged = np.asarray(Image.fromarray(scaled).resize(size, Image.Resampling.BICUBIC))
    return np.repeat(enlarged[..., None], 3, axis=2)


def outline(mask: Mask, size: tuple[int, int], width: float) -> NDArray[np.float32]:
    """Return how much of each pixel (height, width), 0 to 1, the edge of a mask (h, w) covers.

    The line is ``width`` pixels wide. It is drawn where the enlarged and slightly smoothed mask is
    one half, so that small volumes show no staircase and a single voxel stays visible.
    """
    scale = 2 * size[0] / mask.shape[1]
    fine = Image.fromarray(mask.astype(np.uint8) * 255).resize(
        (2 * size[0], 2 * size[1]), Image.Resampling.BILINEAR
    )
    fine = fine.filter(ImageFilter.GaussianBlur(0.45 * scale))
    threshold = max(1, min(128, int(np.asarray(fine).max()) // 2))
    inside = np.asarray(fine) >= threshold
    edge = inside & ~_erode(inside, round(2 * width))
    return np.asarray(edge.reshape(size[1], 2, size[0], 2).mean(axis=(1, 3), dtype=np.float32))


def _erode(mask: Mask, distance: int) -> Mask:
    """Return the mask without ``distance`` pixels at its edge.

    A mask that meets the border of the picture is assumed to continue beyond it.
    """
    padded = np.pad(mask, distance, mode="edge")
    rows = [padded[shift : shift + mask.shape[0]] for shift in range(2 * distance + 1)]
    kept = np.logical_and.reduce(rows)
    return np.asarray(
        np.logical_and.reduce(
            [kept[:, shift : shift + mask.shape[1]] for shift in range(2 * distance + 1)]
        )
    )


def blend(panel: Pixels, coverage: NDArray[np.float32], colour: Colour) -> Pixels:
    """Return a panel (h, w, 3) with a colour over it, weighted by ``coverage`` (h, w)."""
    strength = coverage[..., None]
    return np.asarray(
        panel * (1 - strength) + np.asarray(colour, dtype=np.float32) * strength, dtype=np.uint8
    )


def draw_outlines(panel: Pixels, label: Array, family: Sequence[Colour], width: float) -> Pixels:
    """Return a panel with the outline of each class of a label plane (h, w) of any size."""
    size = (panel.shape[1], panel.shape[0])
    for index in np.unique(label[label > 0]):
        panel = blend(panel, outline(label == index, size, width), shade(family, int(index)))
    return panel


def fill(panel: Pixels, mask: Mask, colour: Colour, opacity: float) -> Pixels:
    """Return a panel with a tint over a mask plane (h, w), whose voxel borders stay sharp."""
    size = (panel.shape[1], panel.shape[0])
    covered = np.asarray(
        Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    )
    return blend(panel, (covered > 0).astype(np.float32) * np.float32(opacity), colour)


@dataclass(frozen=True)
class Panel:
    """A picture (h, w, 3) and its caption."""

    pixels: Pixels
    caption: str = ""


@dataclass(frozen=True)
class Row:
    """Panels next to each other, with a name in the margin if the sheet has one."""

    panels: tuple[Panel, ...]
    name: str = ""

    @property
    def room(self) -> int:
        """Height of its captions, in pixels."""
        return CAPTION if any(panel.caption for panel in self.panels) else 0

    @property
    def height(self) -> int:
        return self.room + max(len(panel.pixels) for panel in self.panels)


@dataclass(frozen=True)
class Key:
    """An entry of the legend: a bar for an outline, a square for a tint."""

    text: str
    colour: Colour
    tint: bool = False


def class_keys(
    classes: Iterable[int], names: Mapping[int, str], kinds: Mapping[str, Sequence[Colour]]
) -> list[Key]:
    """Return a key for each class and each kind of outline: "left ventricle: prediction"."""
    return [
        Key(f"{names.get(index, f'class {index}')}: {kind}", shade(family, index))
        for index in classes
        for kind, family in kinds.items()
    ]


def shorten(text: str, width: float, size: int = TEXT) -> str:
    """Return the text, cut with an ellipsis if wider than ``width`` pixels.

    Control characters become spaces.
    """
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _write(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    width: int,
    colour: Colour = INK,
    size: int = TEXT,
) -> None:
    pen.text(place, shorten(text, width, size), fill=colour, font=font(size))


def compose(
    rows: Sequence[Row],
    side: int,
    title: str = "",
    legend: Sequence[Key] = (),
    margin: int = 0,
    note: str = "",
) -> Image.Image:
    """Return a sheet of panels in rows.

    Each panel is in a square of ``side`` pixels; the title is above, the legend and a note are
    below, and row names are at the left.
    """
    columns = max(len(row.panels) for row in rows)
    width = margin + columns * (side + GAP) + GAP
    top = 44 if title else GAP
    lines = _flow(legend, width - 2 * GAP)
    notes = _wrap(note, width - 2 * GAP)
    below = LINE * len(lines) + NAME_LINE * len(notes) + 6 if lines or notes else 0
    height = top + sum(row.height + GAP for row in rows) + below
    sheet = Image.new("RGB", (width, height), GROUND)
    pen = ImageDraw.Draw(sheet)
    if title:
        _write(pen, (GAP + 2, 12), title, width - 2 * GAP, size=20)
    for row in rows:
        _draw_row(sheet, row, margin, top, side)
        top += row.height + GAP
    for line in lines:
        _draw_legend(pen, line, top, width - 2 * GAP)
        top += LINE
    for text in notes:
        pen.text((GAP + 2, top), text, fill=DIM, font=font(TEXT))
        top += NAME_LINE
    return sheet


def _draw_row(sheet: Image.Image, row: Row, margin: int, top: int, side: int) -> None:
    pen = ImageDraw.Draw(sheet)
    lines = _wrap(row.name, margin - 2 * GAP)
    for line, text in enumerate(lines[: row.height // NAME_LINE]):
        pen.text((GAP + 2, top + 8 + NAME_LINE * line), text, fill=INK, font=font(TEXT))
    for column, panel in enumerate(row.panels):
        left = margin + GAP + column * (side + GAP)
        if panel.caption:
            _write(pen, (left + 2, top + 4), panel.caption, side - 4, DIM)
        height, width, _ = panel.pixels.shape
        lower = top + row.room + (row.height - row.room - height) // 2
        sheet.paste(Image.fromarray(panel.pixels), (left + (side - width) // 2, lower))


def _wrap(text: str, width: int) -> list[str]:
    """Return the words of a name in lines of at most ``width`` pixels; long words are broken."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(TEXT).getlength(longer) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and font(TEXT).getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter if letter.isprintable() else " "
    return lines


def _flow(legend: Sequence[Key], width: int) -> list[list[tuple[int, Key]]]:
    """Return lines of legend entries with their left edges, as many lines as needed."""
    lines: list[list[tuple[int, Key]]] = []
    left = 0
    for key in legend:
        needed = 26 + round(font(TEXT).getlength(key.text))
        if not lines or left + needed > width:
            lines.append([])
            left = 0
        lines[-1].append((left, key))
        left += needed + 22
    return lines


def _draw_legend(
    pen: ImageDraw.ImageDraw, line: Sequence[tuple[int, Key]], top: int, width: int
) -> None:
    for offset, key in line:
        left = GAP + 2 + offset
        bar, square = (left, top + 9, left + 18, top + 13), (left + 2, top + 5, left + 15, top + 18)
        pen.rounded_rectangle(square if key.tint else bar, radius=2, fill=key.colour)
        _write(pen, (left + 26, top + 3), key.text, width - 26)


def save(sheet: Image.Image, path: Path) -> None:
    """Write a PNG whole, so that a reader never meets half a picture."""
    with written_whole(path) as part:
        sheet.save(part, format="PNG", compress_level=6)
