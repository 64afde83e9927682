"""Pictures as data URIs, so that a report is one file; smaller ones where there are many."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

BUDGET = 4_800_000
"""Bytes of pictures in a report, before base64 adds a third."""
SIZES = ((1500, 86), (1200, 84), (1000, 80), (820, 76))
"""Widths in pixels and JPEG qualities, tried until a picture fits."""
SMALLEST = 30_000


@dataclass(frozen=True)
class Embedded:
    """A picture within the page: its data URI and its size in pixels."""

    uri: str
    width: int
    height: int


def embed(paths: Sequence[Path], budget: int = BUDGET) -> dict[Path, Embedded]:
    """As many of the pictures as the budget allows, in their order; a file that is no picture is left out."""
    if not paths:
        return {}
    share = max(SMALLEST, budget // len(paths))
    with ThreadPoolExecutor(max_workers=4) as pool:
        encoded = list(pool.map(lambda path: _encode(path, share), paths))
    found: dict[Path, Embedded] = {}
    spent = 0
    for path, picture in zip(paths, encoded, strict=True):
        if picture is None:
            continue
        spent += 3 * len(picture.uri) // 4
        if spent > 1.25 * budget:
            break
        found[path] = picture
    return found


def _encode(path: Path, most: int) -> Embedded | None:
    """A picture in at most about ``most`` bytes: as it is if it is that small, else as a JPEG. None if it can't be read."""
    try:
        original = path.read_bytes()
        with Image.open(io.BytesIO(original)) as opened:
            size = opened.size
            if len(original) <= min(most, 150_000) and size[0] <= 1600 and opened.format == "PNG":
                return _embedded(original, "png", size)
            image = opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    for width, quality in SIZES:
        scaled = image
        if width < image.width:
            scaled = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS, reducing_gap=2.0)
        buffer = io.BytesIO()
        scaled.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
        if buffer.tell() <= most:
            break
    return _embedded(buffer.getvalue(), "jpeg", scaled.size)


def _embedded(content: bytes, kind: str, size: tuple[int, int]) -> Embedded:
    return Embedded(f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}", *size)
