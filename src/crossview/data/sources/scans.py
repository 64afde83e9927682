"""Cases of a user's scans: headers are read at once, images and labels when they are needed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import UserError
from crossview.core.threads import ThreadPool
from crossview.data.case import Case
from crossview.data.io import ScanFiles
from crossview.data.io.geometry import Header
from crossview.data.io.label_map import LabelMap
from crossview.data.io.storage import Storage
from crossview.data.sources.dataset_json import DatasetJson
from crossview.data.sources.partly import Partly
from crossview.data.sources.split_toml import Split

Colour = Literal["stored", "grey"]

WHITE = 255


def cases_of(
    scans: Mapping[str, ScanFiles],
    split: Split,
    dataset: DatasetJson,
    axes: Sequence[int],
    meaning: LabelMap,
    colour: Colour | None,
) -> tuple[int, Colour, dict[str, Case], dict[str, int | None]]:
    """Return the number of channels, how to read images stored in colour, cases and depths by name.

    Depth: number of slices along the third axis as stored; 0 for a 2D image, None if unreadable.
    Channels: for volumes from dataset.json, else the number that most scans have. meaning: of
    label files. colour: None decides it over the set by
    the pixels.
    """
    headers, colour = _headers(scans, colour)
    counts = Counter(header.channels for header in headers.values() if header is not None)
    channels = max(counts, key=lambda count: (counts[count], -count), default=1)
    if dataset.channel_names and any(not scan.format.flat for scan in scans.values()):
        channels = len(dataset.channel_names)
    return (
        channels,
        colour,
        {
            name: _case(scan, split, channels, headers[name], tuple(axes), meaning)
            for name, scan in scans.items()
        },
        {name: None if header is None else _depth(header) for name, header in headers.items()},
    )


def _depth(header: Header) -> int:
    return header.shape[2] if len(header.shape) == 3 else 0


def _headers(
    scans: Mapping[str, ScanFiles], colour: Colour | None
) -> tuple[dict[str, Header | None], Colour]:
    """Return the headers by name, None if unreadable, and how to read images stored in colour."""
    headers = {name: _header(scan) for name, scan in scans.items()}
    files = {name: len(scan.files) for name, scan in scans.items() if scan.format.flat}
    coloured = {
        name: header
        for name in files
        if (header := headers[name]) is not None and header.channels > files[name]
    }
    if colour is None:
        colour = "grey" if _all_grey([scans[name] for name in coloured]) else "stored"
    if colour == "grey":
        for name, header in coloured.items():
            headers[name] = replace(header, channels=files[name])
    return headers, colour


def _all_grey(scans: Sequence[ScanFiles]) -> bool:
    """Return True if in every file the three channels are equal. Unreadable files don't count."""
    files = [(scan, file) for scan in scans for file in scan.files]
    if not files or not _grey(files[0]):  # of a set in colour usually the first one shows it
        return False
    pool = ThreadPool(min(4, os.cpu_count() or 1))
    try:
        return all(pool.map(_grey, files[1:]))
    finally:
        pool.shutdown(cancel_futures=True)


def _grey(of_scan: tuple[ScanFiles, Path]) -> bool:
    scan, file = of_scan
    try:
        return scan.format.equal_channels(file)
    except UserError:
        return True


def _header(scan: ScanFiles) -> Header | None:
    """Return shape, channels and affine; None if unreadable: reading the case raises the reason."""
    try:
        if scan.format.flat:  # a file can hold three channels, and one per file the others
            headers = [scan.format.read_header(file) for file in scan.files]
            return replace(headers[0], channels=sum(header.channels for header in headers))
        header = scan.format.read_header(scan.files[0])
    except UserError:
        return None
    return header if len(scan.files) == 1 else replace(header, channels=len(scan.files))


def _case(
    scan: ScanFiles,
    split: Split,
    channels: int,
    header: Header | None,
    axes: tuple[int, ...],
    meaning: LabelMap,
) -> Case:
    case = Case(
        scan.name,
        split.patient(scan.name),
        scan.files[0],
        partial(_read_image, scan, channels, axes),
        None if scan.label is None else partial(_read_label, scan, axes, meaning, split.partly),
        read_storage=partial(_read_storage, scan) if scan.format.flat else None,
        read_label_at=partial(_read_label_at, scan, axes, meaning),
        partial=None if scan.label is None else split.partly.labels,
    )
    if header is None or header.affine is None:
        return case
    turn = header.orientation(axes)
    return replace(
        case, spacing=turn.spacing(header.affine), affine=turn.affine(header.affine, header.shape)
    )


def _read_image(scan: ScanFiles, channels: int, axes: tuple[int, ...]) -> NDArray[np.float32]:
    found = scan.read(channels)
    # NIfTI is stored x first; C order makes every later pass over the array fast.
    return np.ascontiguousarray(found.header.orientation(axes).apply(found.image))


def _read_label(
    scan: ScanFiles, axes: tuple[int, ...], meaning: LabelMap, partly: Partly
) -> NDArray[np.uint8]:
    assert scan.label is not None  # only labelled scans are asked
    if partly.labels is None:
        stored = scan.read_label(meaning)
    elif scan.segments:  # which have no ignore value
        stored = scan.read_label(meaning)
        ignored = replace(partly, ignore=None).ignored(stored, scan.name)
        stored = partly.marked(stored, ignored, scan.name, scan.label)
    else:
        stored = scan.read_values(masks=partly.ignore != WHITE and meaning.white_is_one)
        ignored = partly.ignored(stored, scan.name)
        stored = np.where(ignored, np.uint8(0), stored)
        stored = meaning.of_values(stored, scan.label, masks=scan.format.flat)
        stored = partly.marked(stored, ignored, scan.name, scan.label)
    header = scan.format.read_header(scan.files[0])
    return np.ascontiguousarray(header.orientation(axes).apply(stored))


def _read_label_at(
    scan: ScanFiles, axes: tuple[int, ...], meaning: LabelMap, label: Path
) -> NDArray[np.uint8]:
    # A draft leaves nothing open, and may show classes that its scan was not searched for.
    return _read_label(replace(scan, label=label), axes, meaning, Partly())


def _read_storage(scan: ScanFiles) -> tuple[Storage | None, Storage | None]:
    """Return how the first file of an image and its label's store their pixels."""
    image = label = None
    with suppress(UserError):  # reading the image or the label raises the reason
        image = scan.format.read_header(scan.files[0]).storage
    with suppress(UserError):
        if scan.label is not None and (label := scan.format.read_header(scan.label).storage):
            values = {*np.unique(scan.read_values(masks=False)).tolist()}
            label = replace(label, white=values in ({0, WHITE}, {WHITE}))
    return image, label
