"""The library that decodes what numpy, Pillow and tifffile alone cannot."""

from __future__ import annotations

from typing import Any

from crossview.data.io.extras import need

MODULE = "imagecodecs"
"""A dependency of crossview, which some systems lack: it is not built for every one."""

INSTEAD = "save TIFF files without compression or with deflate, and colour PNG files in 8 bits"
"""How to do without it."""


def codecs() -> Any:
    """Return the library. UserError that names what to do if it is not installed."""
    return need(MODULE, "", INSTEAD)
