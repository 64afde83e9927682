"""Scans to predict: found in files and folders, read, and prepared for a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, UserError, fail
from crossview.core.text import first_few
from crossview.data.io import (
    BY_SUFFIX,
    LABELS_ONLY,
    ScanFiles,
    absent_libraries,
    is_foreign,
    listed_suffixes,
    split_name,
)
from crossview.data.io.channels import group_scans
from crossview.data.io.dicom_files import FOLDER, file_name, holds_dicom
from crossview.data.io.geometry import Header, Orientation
from crossview.data.io.segments import Segments
from crossview.data.io.volumes import Stored, Volumes
from crossview.data.padding import Box
from crossview.data.preprocess import Preprocessing
from crossview.data.sources.lists import no_file
from crossview.data.sources.source import DataOptions
from crossview.inference.items import volume_of_voxel

LA_FILE = "mri_norm2.h5"
"""File name of every case in the published LA layout; the folder has the name of the case."""

CONVERT = "convert volumes to NIfTI, and 2D images to PNG or TIFF"

LAYOUTS = ("images", "imagesTs", "imagesTr")
"""Folders of scans in a data set."""

SCANS = listed_suffixes(BY_SUFFIX)


@dataclass(frozen=True, eq=False)
class Input:
    """A scan to predict, in memory.

    Attributes:
        scan: Its files.
        header: Its header, for predictions on the same grid.
        orientation: The axes of ``image`` in the stored array.
        image: Network input, float32 (C, *S').
        shape: *S of the scan itself, in the same orientation.
        box: The part of the scan that ``image`` shows, () for all.
        voxel: Volume of a voxel, see :func:`~crossview.inference.items.volume_of_voxel`.
    """

    scan: ScanFiles
    header: Header
    orientation: Orientation
    image: NDArray[np.float32]
    shape: tuple[int, ...]
    box: Box = ()
    voxel: float = 1.0

    def write(
        self,
        arrays: Mapping[str, Stored],
        files: Mapping[str, Path],
        segments: Segments | None = None,
    ) -> None:
        """Write the arrays of a prediction to the files of their names, on the scan's own grid.

        Args:
            arrays: "label" is uint8 (*S), "probability" float32 (K, *S), the other maps
                float32 (*S).
            files: The file of each array.
            segments: How to write the label, if not in the format of the maps.

        Raises:
            UserError: If the scan lacks what the label's format needs.
            OSError: If a file can't be written.
        """
        undo = self.orientation.undo
        stored: dict[str, Stored] = {
            name: array.turned(undo) if isinstance(array, Volumes) else undo(array)
            for name, array in arrays.items()
        }
        for file in dict.fromkeys(files.values()):
            of_file = {name: stored[name] for name in files if files[name] == file}
            if segments is not None and "label" in of_file:
                segments.write(file, np.asarray(of_file["label"]), self.header)
            else:
                self.scan.written_as[0].write(file, of_file, self.header)


def of_images(data: DataOptions) -> bool:
    """True if a model was trained on a user's 2D images, which have neither spacing nor axes."""
    unplaced = not getattr(data, "spacing", ()) and tuple(data.nifti_axes) == (0, 1, 2)
    return data.source == "folder" and len(data.patch) == 2 and unplaced


def read_input(
    scan: ScanFiles, data: DataOptions, channels: int, dimensions: Sequence[int]
) -> Input:
    """Read a scan and prepare it for a model.

    Scans of the published layouts are normalised and ordered already: of [data] only the spacing
    concerns them.

    Args:
        scan: Its files.
        data: The [data] table of the model.
        channels: Channels of the model.
        dimensions: Numbers of spatial axes that the model accepts.

    Raises:
        UserError: If a file is missing, damaged or too large, contains NaN, or the scan does not
            fit the model.
    """
    stored, where = scan.read(channels), str(scan.files[0])
    header, axes = stored.header, len(stored.header.shape)
    if axes not in dimensions:
        fail(
            "this model predicts volumes",
            where,
            found=f"{axes} axes",
            expected=f"{' or '.join(map(str, dimensions))} axes",
            fix="give a volume, or use a model of 2D images",
        )
    if axes == 3 and header.affine is not None and of_images(data):
        shape = " x ".join(map(str, header.shape))
        fail(
            "this model was trained on images without a place in space, and knows no slices of a "
            "volume",
            where,
            found=f"a volume of {shape} voxels",
            expected="PNG or TIFF images like those of its training",
            fix="save the slices as images, turned and scaled as in its training, or train on "
            "volumes",
        )
    orientation = header.orientation(data.nifti_axes, data.orientation == "canonical")
    native = orientation.apply(stored.image)
    preprocessing = Preprocessing.of(data)
    if scan.format.published:
        preprocessing = Preprocessing(spacing=preprocessing.spacing)
    spacing = None if header.affine is None else orientation.spacing(header.affine)
    # In the network's order at once: a view of the stored array would keep both in memory.
    image = np.ascontiguousarray(preprocessing.image(native, spacing, where))
    box, voxel = preprocessing.box(native), volume_of_voxel(preprocessing, spacing)
    return Input(scan, header, orientation, image, native.shape[1:], box, voxel)


def find_scans(
    inputs: Sequence[Path],
    channels: int,
    numbered: bool = False,
    remark: Callable[[str], None] = lambda _: None,
    grey: bool = False,
) -> tuple[list[ScanFiles], list[Problem]]:
    """Return the scans in files and folders, each file once, and the problems of the paths.

    From a folder: every file of a format that is read and every folder with DICOM files, sorted by
    name, and files of the LA layout up to two folders below. A folder that holds DICOM files itself
    and no other scans is one scan. UserError if a format needs a library that is not installed.

    Args:
        inputs: Files and folders.
        channels: Channels of the model.
        numbered: True if the model was trained on files <case>_0000; see :func:`group_scans`.
        remark: Called with a line per folder that holds images of other formats.
        grey: True if the model reads images stored in colour as grey ones (data.colour).
    """
    files: dict[Path, Path] = {}
    problems: list[Problem] = []
    for path in inputs:
        found, wrong = _scans_in(path, remark) if path.is_dir() else _scan_at(path)
        files |= {file.absolute(): file for file in found}
        problems += wrong
    if absent := absent_libraries(files.values()):
        raise UserError([*problems, *absent])
    scans, incomplete = group_scans(files.values(), channels, numbered, grey)
    return [_named(scan) for scan in scans], problems + incomplete


def _named(scan: ScanFiles) -> ScanFiles:
    """Return the scan, named by its folder in the LA layout."""
    (first, *_) = scan.files
    return replace(scan, name=first.absolute().parent.name) if first.name == LA_FILE else scan


def _scan_at(path: Path) -> tuple[list[Path], list[Problem]]:
    """Return a path if it is a scan's file, otherwise the problem."""
    if not path.exists():
        what, fix = "the file or folder does not exist", "check the path"
        return [], [Problem(what, str(path), fix=fix)]
    if not path.is_file() or not split_name(file_name(path))[1]:
        what = "the file format is not supported"
        return [], [Problem(what, str(path), path.name, SCANS, CONVERT)]
    return [path], []


def _scans_in(folder: Path, remark: Callable[[str], None]) -> tuple[list[Path], list[Problem]]:
    """Return the scans of a folder, and a problem per path named like a scan that is no file."""
    shown = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    suffixes = {file: split_name(file_name(file))[1] for file in shown if file.name not in LAYOUTS}
    entries = [file for file, suffix in suffixes.items() if suffix not in ("", *LABELS_ONLY)]
    if holds_dicom(folder, deepest=0) and {*suffixes.values()} <= {"", FOLDER, ".dcm"}:
        return [folder if folder.name.strip(".") else folder.resolve()], []
    foreign = [file.name for file in shown if is_foreign(file.name) and file.is_file()]
    below = [file for pattern in ("*", "*/*") for file in folder.glob(f"{pattern}/{LA_FILE}")]
    odd = [file for file in entries if not (file.is_file() or suffixes[file] == FOLDER)]
    files = sorted(file for file in (*entries, *below) if file not in odd and file.exists())
    problems = [problem for file in odd for problem in no_file(file)]
    if not files and not problems:
        inside = next((folder / name for name in LAYOUTS if (folder / name).is_dir()), None)
        fix = f"give the folder with the scans: {inside}" if inside else ""
        found = f"{len(foreign)} in other formats: {first_few(foreign)}" if foreign else ""
        what = "the folder contains no scans"
        problems.append(Problem(what, str(folder), found, SCANS, CONVERT if foreign else fix))
    elif foreign:
        skipped = "1 file is" if len(foreign) == 1 else f"{len(foreign)} files are"
        remark(f"{folder}: {skipped} skipped ({first_few(foreign)}): {CONVERT}")
    return files, problems
