"""NIfTI scans: read one, and write its prediction on the same grid, with the same affine, units and format."""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.data.sources.h5 import LARGEST
from crossview.errors import Problem, UserError
from crossview.files import written_whole
from crossview.inference.scan import Input, Normalisation, ReadingOptions, Scan, check_finite, output_files

Nifti1Image = Any
"""nibabel is typed in part only."""

DEFLATE_LIMIT = 1032
"""The most bytes that one byte of a gzip file can stand for."""


def read_nifti(scan: Scan, options: ReadingOptions) -> Input:
    """Reads a volume (X, Y, Z) of one channel, of channels in a fourth axis, or in one file each.

    Raises UserError: missing, damaged, another shape, too large, not all numbers.
    """
    path = scan.files[0]
    if 3 not in options.dimensions:
        raise UserError(
            Problem("this model takes no volumes", str(path), "a NIfTI volume", "an image of two axes", "set inference.mode to slices")
        )
    in_one_file = options.channels if len(scan.files) == 1 else 1
    grids = [_open(file) for file in scan.files]
    volumes = [volume for grid, file in zip(grids, scan.files, strict=True) for volume in _volumes(grid, file, in_one_file)]
    if len({volume.shape for volume in volumes}) > 1:
        found = ", ".join(str(volume.shape) for volume in volumes)
        raise UserError(Problem("the channels of a scan differ in shape", str(path), found, "one shape", "resample them to one grid"))
    image = np.stack([normalised(volume, options.normalisation).transpose(options.nifti_axes) for volume in volumes])
    back = tuple(int(axis) for axis in np.argsort(options.nifti_axes))

    def write(arrays: Mapping[str, NDArray[Any]], out: Path) -> None:
        maps: list[Any] = [name for name in arrays if name != "label"]
        for name, file in output_files(scan, out, maps).items():
            array = arrays[name]
            # NIfTI keeps space in the first three axes: the classes of a probability map become the fourth.
            space = array.transpose(back) if array.ndim == 3 else np.moveaxis(array, 0, -1).transpose(*back, 3)
            _write(file, space, grids[0])

    return Input(scan, image, write)


def normalised(volume: NDArray[np.float32], normalisation: Normalisation) -> NDArray[np.float32]:
    """One channel, scaled over the whole scan: "z_score" to mean 0 and standard deviation 1, "min_max" to 0..1.

    A volume of one value becomes 0 everywhere.
    """
    if normalisation == "none":
        return volume
    if normalisation == "z_score":
        shift, scale = float(volume.mean(dtype=np.float64)), float(volume.std(dtype=np.float64))
    else:
        shift, scale = float(volume.min()), float(volume.max()) - float(volume.min())
    return (volume - np.float32(shift)) / np.float32(scale or 1)


def _open(path: Path) -> Nifti1Image:
    """The header; no voxel is read yet."""
    import nibabel

    try:
        image: Nifti1Image = nibabel.load(path)
    except FileNotFoundError:
        raise UserError(Problem("the file is missing", str(path), "nothing there", "a NIfTI file", "check the path")) from None
    except Exception as error:  # nibabel answers damaged files with a dozen types of error
        raise _damaged(path, error) from error
    if not isinstance(image, nibabel.nifti1.Nifti1Image):
        raise UserError(Problem("not a NIfTI file", str(path), type(image).__name__, ".nii or .nii.gz", "convert it to NIfTI"))
    return image


def _volumes(image: Nifti1Image, path: Path, channels: int) -> list[NDArray[np.float32]]:
    """The scaled values of each channel, float32 (X, Y, Z). What the header claims is checked before memory is asked for."""
    shape = tuple(int(side) for side in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 3:
        shape = (*shape, 1)
    _check_header(image, shape, path, channels)
    try:
        with np.errstate(over="ignore"):
            values = np.asanyarray(image.dataobj, dtype=np.float32).reshape(shape)
    except Exception as error:  # a stream that is cut off or damaged ends in EOF, zlib, OS and value errors
        raise _damaged(path, error) from error
    check_finite(values, path)
    return list(np.moveaxis(values, -1, 0))


def _check_header(image: Nifti1Image, shape: tuple[int, ...], path: Path, channels: int) -> None:
    """Raises UserError unless the file can be a scan of ``channels`` channels with the claimed ``shape`` (X, Y, Z, channels)."""
    if len(shape) != 4 or min(shape) < 1 or shape[-1] != channels:
        more = f" and {channels} channels in a fourth, or one file a channel (_0000, _0001, ...)" if channels > 1 else ""
        fix = "give the channels that the model was trained with, and a series volume by volume"
        raise UserError(Problem("the scan has an unexpected shape", str(path), str(image.shape), f"three axes of a volume{more}", fix))
    dtype, voxels, size = image.get_data_dtype(), math.prod(shape), path.stat().st_size
    if voxels > LARGEST:
        raise UserError(
            Problem("the header declares more than any scan", str(path), f"{voxels:,} voxels", f"at most {LARGEST:,}", "crop or restore it")
        )
    if dtype.kind not in "iuf":
        raise UserError(Problem("the scan's values are no plain numbers", str(path), str(dtype), "one number a voxel", "convert it"))
    if voxels * dtype.itemsize > size * (DEFLATE_LIMIT if path.suffix == ".gz" else 1):
        found = f"{size:,} bytes for {voxels:,} voxels of {dtype}"
        raise UserError(Problem("the file is too short for its header", str(path), found, "a whole file", "copy it again from its source"))


def _damaged(path: Path, error: Exception) -> UserError:
    found = f"{type(error).__name__}: {error}".splitlines()[0]
    return UserError(
        Problem("the file is cut off, damaged or no NIfTI file", str(path), found, "a whole file", "copy it again from its source")
    )


def _write(path: Path, array: NDArray[Any], grid: Nifti1Image) -> None:
    """Writes an array with another scan's geometry; what describes that scan's intensities is reset."""
    from nibabel.fileholders import FileHolder

    header = grid.header.copy()
    header.extensions.clear()
    header.set_data_offset(0)
    header.set_data_dtype(array.dtype)
    for field, value in {"cal_min": 0, "cal_max": 0, "intent_code": 0, "intent_name": b"", "descrip": b"crossview"}.items():
        header[field] = value
    header["pixdim"][4:] = 1
    # Without an affine nibabel leaves the header's own geometry, both forms and their codes, as it is.
    image = type(grid)(array, None, header)
    with written_whole(path) as part, part.open("wb") as raw:
        packed = gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) if path.suffix == ".gz" else nullcontext(raw)
        with packed as stream:
            holder = FileHolder(fileobj=stream)
            image.to_file_map({"header": holder, "image": holder})
