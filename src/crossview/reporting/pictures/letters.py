"""Letters at the sides of a panel that say where the patient's right, front and head are."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from crossview.reporting.pictures.panels import INK, Pixels, font

ENDS = (("R", "L"), ("A", "P"), ("S", "I"))
"""First and last side along right, front and head, in the order in which they are drawn."""

SIZE = 13

LEAST = 48
"""Shorter side of a panel, in pixels, below which letters would hide it."""


def mark(panel: Pixels, rows: tuple[str, str], columns: tuple[str, str]) -> Pixels:
    """Return a panel with letters at its top and bottom (rows), left and right (columns)."""
    height, width, _ = panel.shape
    if min(height, width) < LEAST:
        return panel
    image = Image.fromarray(panel)
    pen = ImageDraw.Draw(image)
    places = {
        "mt": (width // 2, 3, rows[0]),
        "mb": (width // 2, height - 3, rows[1]),
        "lm": (4, height // 2, columns[0]),
        "rm": (width - 4, height // 2, columns[1]),
    }
    for anchor, (left, top, letter) in places.items():
        pen.text(
            (left, top),
            letter,
            fill=INK,
            font=font(SIZE),
            anchor=anchor,
            stroke_width=2,
            stroke_fill=(0, 0, 0),
        )
    return np.asarray(image)
