"""The C library's memory, kept by the process between steps.

A training step frees and asks again for the same activations, 64 MB and more each. glibc gives such blocks back to the system and takes
new ones, which the kernel fills with zeros page by page: on two cores a third of an LA step went there (docs/explanation/speed.md).
"""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
"""Parameters of mallopt(3), as in glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """From now on freed memory stays with the process, for its next use; whether that could be arranged (glibc only).

    No number changes by it. The process holds on to the most memory that it ever used at once.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
