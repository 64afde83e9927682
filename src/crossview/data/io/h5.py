"""h5 files with one image and its label under the keys ``image`` and ``label`` (LA, ACDC)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import UserError, fail
from crossview.core.files import written_whole
from crossview.data.io.classes import NOT_CLASSES
from crossview.data.io.geometry import Header
from crossview.data.io.scan import COPY_AGAIN, LARGEST, Scan, check_finite, first_line
from crossview.data.io.volumes import Stored

if TYPE_CHECKING:
    import h5py

SUFFIXES = (".h5",)


def read_image(path: Path, *axes: int) -> NDArray[np.float32]:
    """Return the image with a channel axis first, float32 (1, *S).

    UserError if it is missing, damaged, has a wrong key, type or shape, or a number of spatial
    axes that is not among ``axes``.
    """
    with _opened(path) as file:
        data = _dataset(file, path, "image", "fiu", axes)
        return np.asarray(data[()], dtype=np.float32)[None]


def read_label(path: Path, *axes: int) -> NDArray[np.uint8]:
    """Return the label, uint8 (*S).

    UserError as for the image, and if its shape differs from the image's or a value is outside
    0..255.
    """
    with _opened(path) as file:
        data = _dataset(file, path, "label", "iub", axes)
        image = _dataset(file, path, "image", "fiu", axes)
        if data.shape != image.shape:
            fail(
                "image and label differ in shape",
                path,
                found=f"image {image.shape}, label {data.shape}",
                expected="the same shape",
                fix=COPY_AGAIN,
            )
        label = data[()]
    if label.min() < 0 or label.max() > 255:
        fail(
            NOT_CLASSES,
            path,
            found=f"{label.min()} to {label.max()}",
            expected="whole numbers from 0 to 255",
            fix=COPY_AGAIN,
        )
    return np.asarray(label, dtype=np.uint8)


def read_header(path: Path) -> Header:
    """Return the shape of the image. UserError as for :func:`read_image`."""
    with _opened(path) as file:
        return Header(_dataset(file, path, "image", "fiu", (2, 3)).shape)


def read(files: Sequence[Path], channels: int) -> Scan:
    """Read a volume or slice to predict. UserError as in :func:`read_image`, and for NaN."""
    image = read_image(files[0], 2, 3)
    check_finite(image, files[0])
    return Scan(image, Header(image.shape[1:]))


def write(path: Path, arrays: Mapping[str, Stored], header: Header) -> None:
    """Write the arrays of a prediction to one file, each under its name."""
    import h5py

    with written_whole(path) as part, h5py.File(part, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(
                name, data=np.asarray(array), compression="gzip", compression_opts=1
            )


def _dataset(
    file: h5py.File, path: Path, key: str, kinds: str, axes: Sequence[int]
) -> h5py.Dataset:
    import h5py

    # get() answers None for a damaged array too.
    data: Any = file[key] if key in tuple(file) else None
    if not isinstance(data, h5py.Dataset):
        what, found = f"array '{key}' is missing", f"keys: {', '.join(file) or 'none'}"
        expected = "arrays 'image' and 'label'"
    elif data.dtype.kind not in kinds:
        what, found = f"array '{key}' has an unsupported type", str(data.dtype)
        expected = "whole numbers" if key == "label" else "numbers"
    elif data.ndim not in axes or data.size == 0:
        what, found = f"array '{key}' has an unsupported shape", str(data.shape)
        expected = f"{' or '.join(map(str, axes))} non-empty axes"
    elif data.size > LARGEST:
        what, found = f"array '{key}' is too large for a scan", str(data.shape)
        expected = f"at most {LARGEST:,} voxels"
    elif data.chunks and not _has_whole_chunks(data):
        what, found = f"array '{key}' is damaged", "a chunk of 0 bytes"
        expected = "a complete file"
    else:
        return data
    fail(what, path, found=found, expected=expected, fix=COPY_AGAIN)


def _has_whole_chunks(data: h5py.Dataset) -> bool:
    """True if every stored chunk has a size; the library crashes on one of 0 bytes."""
    sizes: list[int] = []
    data.id.chunk_iter(lambda chunk: sizes.append(chunk.size))
    return all(sizes)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        fail(
            "the file is missing",
            path,
            found="no such file",
            expected="an h5 file",
            fix=COPY_AGAIN,
        )
    except (UserError, MemoryError):
        raise
    except Exception as error:  # h5py raises a dozen error types for damaged files
        fail(
            "the file is cut off, damaged or not an h5 file",
            path,
            found=first_line(error),
            expected="a complete file",
            fix=COPY_AGAIN,
        )
