"""Freed memory of the C library, kept by the process between steps.

Each training step frees and requests the same activations, 64 MB and more each. glibc returns such
blocks to the system and takes new ones, which the kernel fills with zeros page by page: on two
cores this took a third of an LA step (docs/explanation/speed.md).
"""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
"""Parameters of mallopt(3), as in glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Keep freed memory in the process from now on. Return True if it worked (glibc only).

    Results do not change. The process keeps the largest amount of memory that it ever used at once.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
