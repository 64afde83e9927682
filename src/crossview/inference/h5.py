"""h5 scans in the published layouts of LA and ACDC, with predictions as h5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from crossview.data.nifti import check_finite
from crossview.data.sources.h5 import read_image
from crossview.errors import Problem, UserError
from crossview.files import written_whole
from crossview.inference.scan import Input, ReadingOptions, Scan, output_files


def read_h5(scan: Scan, options: ReadingOptions) -> Input:
    """Read ``image``, a volume or slice.

    UserError if the file is missing or damaged, or has a wrong shape or type, or NaN.
    """
    path = scan.files[0]
    if options.channels != 1:
        raise UserError(
            Problem(
                "this model needs several channels, and h5 files have one",
                str(path),
                "1 channel",
                f"{options.channels} channels",
                "give the scans as NIfTI",
            )
        )
    if any(options.preprocessing.spacing):
        expected, fix = (
            "NIfTI, because this model resamples scans to its own voxel spacing",
            "give the scan as NIfTI",
        )
        raise UserError(Problem("h5 files store no voxel spacing", str(path), "h5", expected, fix))
    image = read_image(path, _dimensions(path, options.dimensions))
    check_finite(image, path)

    def write(arrays: Mapping[str, NDArray[Any]], out: Path) -> None:
        import h5py

        with (
            written_whole(output_files(scan, out, ())["label"]) as part,
            h5py.File(part, "w") as file,
        ):
            for name, array in arrays.items():
                file.create_dataset(name, data=array, compression="gzip", compression_opts=1)

    return Input(scan, image, image.shape[1:], write)


def _dimensions(path: Path, allowed: Sequence[int]) -> int:
    """Return the image's number of axes if the model accepts it.

    Otherwise return an accepted number: the reader then raises the problem.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = len(file["image"].shape)
    except (OSError, KeyError, AttributeError, RuntimeError):
        found = 0
    return found if found in allowed else allowed[-1]
