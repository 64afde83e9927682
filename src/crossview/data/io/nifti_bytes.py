"""NIfTI files in memory, for a viewer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def in_memory(array: NDArray[Any], affine: NDArray[np.float64]) -> bytes:
    """Return an uncompressed NIfTI file of an array (X, Y, Z), or (X, Y, Z, 3) uint8 for RGB."""
    from nibabel.nifti1 import Nifti1Image

    if array.ndim == 4:
        colour = np.dtype([(name, np.uint8) for name in "RGB"])
        array = np.ascontiguousarray(array).view(colour)[..., 0]
    made: Any = Nifti1Image(array, affine)  # type: ignore[no-untyped-call]
    return bytes(made.to_bytes())
