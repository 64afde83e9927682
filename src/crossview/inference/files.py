"""Prediction of scans in files: one bad file does not stop the others."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossview.core.errors import FIXES, Problem, UserError, fail, raise_all
from crossview.core.files import check_writable
from crossview.core.progress import Progress
from crossview.data.io import BY_SUFFIX, ScanFiles, by_channel, missing_channels, split_name
from crossview.data.io.geometry import Header, Orientation
from crossview.data.preprocess import Preprocessing
from crossview.data.sources.lists import no_file
from crossview.data.sources.source import DataOptions
from crossview.inference.outputs import Outputs
from crossview.inference.predict import Prediction, Predictor, map_ahead

LA_FILE = "mri_norm2.h5"
"""File name of every case in the published LA layout; the folder has the name of the case."""

SCANS = f"files {', '.join(BY_SUFFIX)}"


@dataclass(frozen=True, eq=False)
class Input:
    """A scan to predict, in memory.

    Attributes:
        scan: Its files.
        header: Its header, for predictions on the same grid.
        orientation: The axes of ``image`` in the stored array.
        image: Network input, float32 (C, *S').
        shape: *S of the scan itself, in the same orientation.
    """

    scan: ScanFiles
    header: Header
    orientation: Orientation
    image: NDArray[np.float32]
    shape: tuple[int, ...]

    def write(self, arrays: Mapping[str, NDArray[Any]], files: Mapping[str, Path]) -> None:
        """Write the arrays of a prediction to the files of their names, on the scan's own grid.

        "label" is uint8 (*S), "probability" float32 (K, *S), the other maps float32 (*S).
        """
        stored = {name: self.orientation.undo(array) for name, array in arrays.items()}
        for file in dict.fromkeys(files.values()):
            of_file = {name: stored[name] for name in files if files[name] == file}
            self.scan.format.write(file, of_file, self.header)


@dataclass(frozen=True)
class Written:
    """A written prediction: its label's file, and what a user should know of it."""

    label: Path
    empty: bool
    of_peers: bool


def predict_files(
    predictor: Predictor,
    inputs: Sequence[Path],
    out: Outputs,
    *,
    data: DataOptions,
    channels: int,
    progress: Progress | None = None,
    done: Callable[[Path], None] = lambda _: None,
    remark: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Predict scans in files and write their labels and maps.

    A label has its scan's name (``<case>.h5`` for ``<case>/mri_norm2.h5``) and grid; see
    ``Outputs.files`` for the maps. Each file is written completely or not at all.

    Args:
        predictor: Predicts the images.
        inputs: Scans and folders of scans: NIfTI, PNG, TIFF, or h5 in the layouts of LA and ACDC.
        out: The output folder and what is written to it.
        data: The [data] table of the run.
        channels: Channels of the model.
        progress: Called with (scans done, all scans).
        done: Called with each label's file after it is written.
        remark: Called with a line per label that is all background: the contrast or orientation may
            be wrong, which the file alone does not show.

    Returns:
        The label files, in the order of the scans.

    Raises:
        UserError: Before anything is written, if the folder contains predictions of a different
            origin (unless ``overwrite``), or an output would replace an input, another output or an
            existing file (unless ``overwrite`` or ``resume``). At the end, after all other scans,
            with every scan that could not be read, predicted or written.
    """
    out.check_origin()
    scans, problems = find_scans(inputs, channels)
    raise_all(out.problems(scans))
    scans = [scan for scan in scans if not out.skips(scan)]
    check_writable(out.folder)
    in_memory: list[Input] = []

    def readable() -> Generator[Input]:
        for answer in map_ahead(lambda scan: _attempt(scan, predictor, data, channels), scans):
            if isinstance(answer, Input):
                in_memory.append(answer)
                yield answer
            else:
                problems.extend(answer.problems)

    def write(predicted: tuple[Input, Prediction]) -> Written | Problem:
        in_memory.remove(predicted[0])
        return _write(*predicted, out)

    written: list[Path] = []
    reading = readable()
    try:
        for number, answer in enumerate(map_ahead(write, predictor.predict(reading)), 1):
            if isinstance(answer, Problem):
                problems.append(answer)
            else:
                _report(answer, out, not written, done, remark)
                written.append(answer.label)
            if progress is not None:
                progress(number, len(scans))
    except (MemoryError, RuntimeError) as error:
        if not (in_memory and _is_out_of_memory(error)):
            raise
        largest = max(reversed(in_memory), key=lambda each: math.prod(each.image.shape))
        problems.append(_too_large(largest.scan))
        if len(scans) > len(written) + len(problems):
            what = (
                "scans were not predicted because another needs too much memory: remove that scan "
                "and add --resume"
            )
            problems.append(Problem(what))
    finally:
        reading.close()  # here, not where it is dropped last: it waits for its own thread
    raise_all(problems)
    return written


def _report(
    answer: Written,
    out: Outputs,
    first: bool,
    done: Callable[[Path], None],
    remark: Callable[[str], None],
) -> None:
    if first and "disagreement" in out.maps and not answer.of_peers:
        remark(
            "this method has no two independent networks: its disagreement maps contain the "
            "prediction's entropy"
        )
    done(answer.label)
    if answer.empty:
        remark(f"{answer.label} is all background")


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
    orientation = header.orientation(data.nifti_axes, data.orientation == "canonical")
    native = orientation.apply(stored.image)
    preprocessing = Preprocessing.of(data)
    if scan.format.published:
        preprocessing = Preprocessing(spacing=preprocessing.spacing)
    spacing = None if header.affine is None else orientation.spacing(header.affine)
    image = preprocessing.image(native, spacing, where)
    return Input(scan, header, orientation, image, native.shape[1:])


def _attempt(
    scan: ScanFiles, predictor: Predictor, data: DataOptions, channels: int
) -> Input | UserError:
    try:
        return read_input(scan, data, channels, predictor.dimensions)
    except UserError as error:
        return error
    except MemoryError:
        return UserError(_too_large(scan))


def _is_out_of_memory(error: Exception) -> bool:
    """True for a lack of memory, which torch reports as a plain RuntimeError on the CPU."""
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "not enough memory" in str(error)
        or "alloc_cpu" in str(error)
    )


def _too_large(scan: ScanFiles) -> Problem:
    found = "not enough memory in the computer or the GPU"
    fix = (
        "check the voxel spacing in its header (the scan is resampled to the model's spacing), or "
        "predict it on a machine with more memory"
    )
    return Problem("the scan needs too much memory", str(scan.files[0]), found, fix=fix)


def _write(item: Input, prediction: Prediction, out: Outputs) -> Written | Problem:
    """Write the files of a prediction, or return the problem that prevents it."""
    files, where = out.files(item.scan), str(item.scan.files[0])
    if not prediction.finite:
        what = "the prediction contains NaN or infinity; nothing was written"
        fix = "check the scan's intensities, and the run's loss: the weights may be damaged"
        return Problem(what, where, fix=fix)
    try:
        out.note_origin()
        item.write({name: getattr(prediction, name) for name in files}, files)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EFBIG)
        fix = FIXES[errno.ENOSPC] if full else "choose another folder"
        found = f"{files['label']}: {error.strerror or error}"
        return Problem("the prediction can't be written", where, found, fix=fix)
    return Written(files["label"], not prediction.label.any(), prediction.of_peers)


def find_scans(inputs: Sequence[Path], channels: int) -> tuple[list[ScanFiles], list[Problem]]:
    """Return the scans in files and folders, each file once, and the problems of the paths.

    From a folder: every .nii, .nii.gz, .h5, .png and .tif, sorted by name, and files of the LA
    layout up to two folders below. With more than one channel, files <case>_0000.nii.gz,
    <case>_0001.nii.gz, ... are one scan (the same for images).
    """
    files: dict[Path, Path] = {}
    problems: list[Problem] = []
    for path in inputs:
        found, wrong = _scans_in(path) if path.is_dir() else _scan_at(path)
        files |= {file.absolute(): file for file in found}
        problems += wrong
    groups, others = by_channel(files.values()) if channels > 1 else ({}, list(files.values()))
    scans = [_scan_of(file) for file in others]
    for (folder, name, suffix), of_scan in groups.items():
        missing = missing_channels(of_scan, channels, str(folder / f"{name}{suffix}"))
        problems += missing
        if not missing:
            scans.append(ScanFiles(name, tuple(of_scan[channel] for channel in range(channels))))
    return scans, problems


def _scan_of(file: Path) -> ScanFiles:
    la = file.name == LA_FILE
    return ScanFiles(file.absolute().parent.name if la else split_name(file.name)[0], (file,))


def _scan_at(path: Path) -> tuple[list[Path], list[Problem]]:
    """Return a path if it is a scan's file, otherwise the problem."""
    if not path.exists():
        what, fix = "the file or folder does not exist", "check the path"
        return [], [Problem(what, str(path), fix=fix)]
    if not path.is_file() or not split_name(path.name)[1]:
        what, fix = "the file format is not supported", "convert it to NIfTI"
        return [], [Problem(what, str(path), path.name, SCANS, fix)]
    return [path], []


def _scans_in(folder: Path) -> tuple[list[Path], list[Problem]]:
    """Return the scans of a folder, and a problem per path named like a scan that is no file."""
    entries = sorted(
        file
        for file in folder.iterdir()
        if split_name(file.name)[1] and not file.name.startswith(".")
    )
    below = [file for pattern in ("*", "*/*") for file in folder.glob(f"{pattern}/{LA_FILE}")]
    files = sorted(file for file in (*entries, *below) if file.is_file())
    problems = [problem for file in entries if not file.is_file() for problem in no_file(file)]
    if not files and not problems:
        names = ("images", "imagesTs", "imagesTr")
        inside = next((folder / name for name in names if (folder / name).is_dir()), None)
        fix = f"give the folder with the scans: {inside}" if inside else ""
        problems.append(Problem("the folder contains no scans", str(folder), "", SCANS, fix))
    return files, problems
