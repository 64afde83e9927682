"""NIfTI scans, with predictions on the same grid with the same affine, units and format."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.data.nifti import Nifti1Image, Orientation, open_nifti, read_channels
from crossview.data.sources.volumes import check_same_grid, grid_of, read_grid
from crossview.files import written_whole
from crossview.inference.scan import Input, ReadingOptions, Scan, output_files


def read_nifti(scan: Scan, options: ReadingOptions) -> Input:
    """Read a volume (X, Y, Z) with one channel, with channels in a fourth axis, or one per file.

    UserError if a file is missing, damaged or too large, or has a wrong shape, NaN or an impossible
    voxel spacing.
    """
    path = scan.files[0]
    in_one_file = options.channels if len(scan.files) == 1 else 1
    for other in scan.files[1:]:
        check_same_grid(
            read_grid(path),
            read_grid(other),
            path,
            other,
            "the channels of a scan",
            "resample them to one grid",
        )
    grids = [open_nifti(file) for file in scan.files]
    for opened, file in zip(grids, scan.files, strict=True):
        grid_of(opened, file)  # raises UserError for an invalid geometry
    volumes = [
        volume
        for grid, file in zip(grids, scan.files, strict=True)
        for volume in read_channels(grid, file, in_one_file)
    ]
    affine = np.asarray(grids[0].affine, dtype=np.float64)
    stored = Orientation(options.nifti_axes)
    turned = (
        Orientation.canonical(affine, options.nifti_axes)
        if options.orientation == "canonical"
        else stored
    )
    native = turned.apply(np.stack(volumes))
    image = options.preprocessing.image(native, turned.spacing(affine), str(path))

    def write(arrays: Mapping[str, NDArray[Any]], out: Path) -> None:
        maps: list[Any] = [name for name in arrays if name != "label"]
        for name, file in output_files(scan, out, maps).items():
            space = turned.undo(arrays[name])
            # The first three axes of NIfTI are space, so the classes of a map come fourth.
            _write(file, space if space.ndim == 3 else np.moveaxis(space, 0, -1), grids[0])

    return Input(scan, image, native.shape[1:], write)


def _write(path: Path, array: NDArray[Any], grid: Nifti1Image) -> None:
    """Write an array with the scan's geometry; reset the fields that describe its intensities."""
    from nibabel.fileholders import FileHolder

    header = grid.header.copy()
    header.extensions.clear()
    header.set_data_offset(0)
    header.set_data_dtype(array.dtype)
    for field, value in {
        "cal_min": 0,
        "cal_max": 0,
        "intent_code": 0,
        "intent_name": b"",
        "descrip": b"crossview",
    }.items():
        header[field] = value
    header["pixdim"][4:] = 1
    # Without an affine, nibabel keeps the header's geometry: both forms and their codes.
    image = type(grid)(array, None, header)
    with written_whole(path) as part, part.open("wb") as raw:
        zipped = path.suffix.lower() == ".gz"
        packed = (
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0)
            if zipped
            else nullcontext(raw)
        )
        with packed as stream:
            holder = FileHolder(fileobj=stream)
            image.to_file_map({"header": holder, "image": holder})
