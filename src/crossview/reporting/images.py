"""Pictures as data URIs, so that a report is one file. Many pictures are scaled down."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, features

from crossview.core.threads import ThreadPool

BUDGET = 4_800_000
"""Bytes of pictures in a report, before base64 adds a third."""

SIZES = ((1500, 84), (1240, 78), (1060, 74), (860, 72))
"""Widths in pixels and qualities. The first that fits is used."""

BYTES_A_PIXEL = 0.11
"""Rough size of a case's picture in bytes per pixel. It decides which size is tried first."""

SMALLEST = 30_000


@dataclass(frozen=True)
class Embedded:
    """Picture in the page: its data URI and its size in pixels."""

    uri: str
    width: int
    height: int


def embed(paths: Sequence[Path], budget: int = BUDGET) -> dict[Path, Embedded]:
    """Return as many pictures, in order, as fit in the budget. Unreadable files are skipped."""
    if not paths:
        return {}
    share = max(SMALLEST, budget // len(paths))
    with ThreadPool(4) as pool:
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
    """Return a picture of about ``most`` bytes or less, scaled if needed; None if unreadable."""
    try:
        original = path.read_bytes()
        with Image.open(io.BytesIO(original)) as opened:
            size = opened.size
            if len(original) <= min(most, 120_000) and size[0] <= 1600 and opened.format == "PNG":
                return _embedded(original, "png", size)
            image = opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    for place, (width, quality) in enumerate(SIZES):
        width = min(width, image.width)
        height = max(1, round(image.height * width / image.width))
        last = place == len(SIZES) - 1
        if BYTES_A_PIXEL * width * height > most and not last:
            continue
        content, kind = _compressed(
            image
            if width == image.width
            else image.resize((width, height), Image.Resampling.HAMMING),
            quality,
        )
        if len(content) <= 1.3 * most or last:
            break
    return _embedded(content, kind, (width, height))


def _compressed(image: Image.Image, quality: int) -> tuple[bytes, str]:
    """Compress to WebP, which is half the size of JPEG, or to JPEG if Pillow lacks WebP."""
    buffer = io.BytesIO()
    if features.check("webp"):
        image.save(buffer, "WEBP", quality=quality, method=1)
        return buffer.getvalue(), "webp"
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue(), "jpeg"


def _embedded(content: bytes, kind: str, size: tuple[int, int]) -> Embedded:
    return Embedded(f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}", *size)
