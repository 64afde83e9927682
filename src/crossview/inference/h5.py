"""h5 scans in the published layouts of LA and ACDC: read one, and write its prediction as h5."""

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
    """Reads ``image``, a volume or a slice. Raises UserError: missing, damaged, another shape or type, not all numbers."""
    path = scan.files[0]
    if options.channels != 1:
        raise UserError(
            Problem(
                "an h5 file has one channel",
                str(path),
                "1 channel",
                f"{options.channels} channels",
                "give the scans as NIfTI",
            )
        )
    if any(options.preprocessing.spacing):
        expected, fix = (
            "NIfTI: this model resamples scans to its own voxel size",
            "give the scan as NIfTI",
        )
        raise UserError(
            Problem("an h5 file does not tell its voxel sides", str(path), "h5", expected, fix)
        )
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
    """The number of the image's axes where the model takes it, else one that it takes: the reader then says what is wrong."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = len(file["image"].shape)
    except (OSError, KeyError, AttributeError, RuntimeError):
        found = 0
    return found if found in allowed else allowed[-1]
