"""Whole files of every format that crossview reads, with the readers that open them.

Scans come from the registry of formats (:data:`crossview.data.io.FORMATS`): each suffix gets a file
by its format's own writer, and more files where a format has several encodings. A suffix without a
file is a row of the table that says so.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import tifffile
from benchmarks.hold.mutation import Change, changed_bytes, changed_gzip, changed_png
from PIL import Image

from crossview.core.errors import UserError
from crossview.data.io import BY_SUFFIX

SHAPE = (7, 6, 5)

OF_DICOM = frozenset({".dcm", ".zip", "/"})
"""DICOM series: :mod:`benchmarks.hold.volumes` makes them."""

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Example:
    """A whole file, how it is changed, and the readers that open it.

    Attributes:
        kind: Row of the table.
        name: Name of the changed copy.
        content: The whole file; None if the format has no writer that makes one.
        change: Returns a changed copy.
        reads: Each ends or raises UserError.
        share: Files of this example for each one of a scan: slow readers get fewer.
        home: Folder with the files next to it; None: an empty one.
    """

    kind: str
    name: str
    content: bytes | None
    change: Change
    reads: tuple[Read, ...]
    share: float = 1.0
    home: Path | None = None


def arrays(shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Return an image, int16, and its label of classes 0 to 2."""
    label = np.zeros(shape, np.uint8)
    label[1:4, 1:4] = 1
    label[4:6, 2:4] = 2
    noise = np.random.default_rng(0).normal(100, 20, shape)
    return (noise + 40 * label).astype(np.int16), label


def scans(folder: Path) -> list[Example]:
    """Return examples of every format of scans, made in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Example]] = {suffix: [] for suffix in BY_SUFFIX}
    for path in _encodings(folder):
        suffix = next(suffix for suffix in BY_SUFFIX if path.name.endswith(suffix))
        found[suffix].append(_example(path, suffix))
    for suffix, examples in found.items():
        if not examples and suffix not in OF_DICOM:
            examples.append(_by_own_writer(folder, suffix))
    return [example for examples in found.values() for example in examples]


def _example(path: Path, suffix: str) -> Example:
    reader = BY_SUFFIX[suffix]
    reads: tuple[Read, ...] = (
        reader.read_header,
        lambda file: reader.read([file], 1),
        lambda file: reader.read_label(file, reader.read_header(file), file),
    )
    # The first bytes decide how the rest is read.
    head = 560 if suffix.startswith(".nii") else 0
    packed = path.read_bytes()[:2] == b"\x1f\x8b"
    change: Change = partial(changed_gzip if packed else changed_bytes, end=head)
    if suffix == ".png":
        change = changed_png
    return Example(suffix, f"changed{suffix}", path.read_bytes(), change, reads)


def _by_own_writer(folder: Path, suffix: str) -> Example:
    """Return an example that the format writes as a prediction on the grid of a NIfTI scan."""
    image, label = arrays()
    nib.save(nib.Nifti1Image(image, np.eye(4)), folder / "grid.nii")
    path = folder / f"own{suffix}"
    try:
        header = BY_SUFFIX[".nii"].read_header(folder / "grid.nii")
        BY_SUFFIX[suffix].write(path, {"label": label}, header)
        return _example(path, suffix)
    except (UserError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return Example(suffix, path.name, None, changed_bytes, ())


def _encodings(folder: Path) -> Iterator[Path]:
    """Write files of the formats' usual encodings, and yield their paths."""
    yield from _niftis(folder)
    yield from _h5s(folder)
    yield from _pictures(folder)


def _niftis(folder: Path) -> Iterator[Path]:
    image, label = arrays()
    for kind, codes in ((nib.Nifti1Image, (1, 0)), (nib.Nifti2Image, (2, 1))):
        for name, array in (("image", image), ("label", label)):
            scan = kind(array, None)
            scan.set_sform(np.diag([1.0, 1.5, 2, 1]), codes[0])
            scan.set_qform(np.diag([1.0, 1.5, 2, 1]), codes[1])
            path = folder / f"{kind.__name__}-{name}.nii"
            nib.save(scan, path)
            yield path
            packed = path.with_suffix(".nii.gz")
            packed.write_bytes(gzip.compress(path.read_bytes(), 1))
            yield packed


def _h5s(folder: Path) -> Iterator[Path]:
    image, label = arrays()
    packed = {"compression": "gzip", "shuffle": True, "fletcher32": True}
    storages: tuple[dict[str, Any], ...] = ({}, packed, {"chunks": (3, 3, 3)})
    for version in ("earliest", "latest"):
        for place, storage in enumerate(storages):
            path = folder / f"{version}-{place}.h5"
            with h5py.File(path, "w", libver=version) as file:
                file.create_dataset("image", data=image.astype(np.float32), **storage)
                file.create_dataset("label", data=label, **storage)
            yield path


def _pictures(folder: Path) -> Iterator[Path]:
    image, label = arrays((24, 20))
    grey, colour = image.astype(np.uint8), np.stack([image.astype(np.uint8)] * 3, -1)
    palette = Image.fromarray(label, "P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    named = {
        "grey": Image.fromarray(grey),
        "deep": Image.fromarray(image.astype(np.uint16)),
        "colour": Image.fromarray(colour),
        "bits": Image.fromarray(label > 0),
        "palette": palette,
    }
    for name, picture in named.items():
        path = folder / f"{name}.png"
        picture.save(path)
        yield path
    codecs: tuple[str | None, ...] = (None, "deflate", "lzw", "packbits", "jpeg", "zstd")
    codecs += ("lzma", "jpeg2000", "jpegxl", "jpegxr", "lerc", "webp")
    for codec in codecs:
        for name, array in (("grey", grey), ("colour", colour)):
            if (name, codec) == ("grey", "webp"):  # which has colours only
                continue
            path = folder / f"{name}-{codec}{'.tiff' if codec is None else '.tif'}"
            tifffile.imwrite(path, array, compression=codec)
            yield path
    for name, array in (("deep", image.astype(np.uint16)), ("float", image.astype(np.float32))):
        path = folder / f"{name}.tif"
        tifffile.imwrite(path, array, tile=(16, 16), predictor=True, compression="deflate")
        yield path
