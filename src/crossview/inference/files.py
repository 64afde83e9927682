"""Prediction of scans in files: one bad file does not stop the others."""

from __future__ import annotations

import errno
import math
import re
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import tee
from pathlib import Path

import torch

from crossview.data.sources.layouts import told
from crossview.data.sources.lists import no_file
from crossview.data.sources.source import DataOptions
from crossview.errors import FIXES, Problem, UserError, raise_all
from crossview.files import check_writable
from crossview.inference.ahead import map_ahead
from crossview.inference.flat import read_flat
from crossview.inference.h5 import read_h5
from crossview.inference.nifti import read_nifti
from crossview.inference.origin import Origin, check_origin, note_origin
from crossview.inference.predict import Prediction, Predictor
from crossview.inference.scan import FLAT, Input, MapName, ReadingOptions, Scan, output_files

SUFFIXES = (".nii.gz", ".nii", ".h5", *FLAT)
LA_FILE = "mri_norm2.h5"
"""File name of every case in the published LA layout; the folder has the name of the case."""

_CHANNEL_FILE = re.compile(
    r"(?P<case>.+)_(?P<channel>\d{4})(?P<suffix>\.nii(\.gz)?|\.png|\.tiff?)", re.IGNORECASE
)


def predict_files(
    predictor: Predictor,
    inputs: Sequence[Path],
    out: Path,
    *,
    data: DataOptions,
    channels: int,
    probabilities: bool = False,
    disagreement: bool = False,
    entropy: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    done: Callable[[Path], None] = lambda _: None,
    remark: Callable[[str], None] = lambda _: None,
    origin: Origin | None = None,
) -> list[Path]:
    """Predict scans in files and write their labels and maps to the folder ``out``.

    A label has its scan's name (``<case>.h5`` for ``<case>/mri_norm2.h5``) and grid; see
    ``output_files`` for the maps. Each file is written completely or not at all.

    Args:
        predictor: Predicts the images.
        inputs: Scans and folders of scans: NIfTI, PNG, TIFF, or h5 in the layouts of LA and ACDC.
        out: The output folder.
        data: The [data] table of the run.
        channels: Channels of the model.
        probabilities: Also write the class probabilities.
        disagreement: Also write the disagreement of the views.
        entropy: Also write the entropy of the class probabilities.
        resume: Skip scans whose files all exist; replace incomplete ones.
        overwrite: Replace existing files.
        progress: Called with (scans done, all scans).
        done: Called with each label's file after it is written.
        remark: Called with a line per label that is all background: the contrast or orientation may
            be wrong, which the file alone does not show.
        origin: The model of the predictions, recorded in ``out``.

    Returns:
        The label files, in the order of the scans.

    Raises:
        UserError: Before anything is written, if ``out`` contains predictions of a different origin
            (unless ``overwrite``), or an output would replace an input, another output or an
            existing file (unless ``overwrite`` or ``resume``). At the end, after all other scans,
            with every scan that could not be read, predicted or written.
    """
    if origin is not None and not overwrite:
        check_origin(out, origin)
    scans, problems = find_scans(inputs, channels)
    asked: dict[MapName, bool] = {
        "probability": probabilities,
        "disagreement": disagreement,
        "entropy": entropy,
    }
    maps = [name for name, wanted in asked.items() if wanted]
    raise_all(check_outputs(scans, out, maps, overwrite or resume))
    scans = [
        scan
        for scan in scans
        if not (resume and all(file.exists() for file in output_files(scan, out, maps).values()))
    ]
    check_writable(out)
    options = ReadingOptions.of(data, channels, predictor.dimensions)
    being_predicted: deque[Input] = deque()

    def readable() -> Generator[Input]:
        for answer in map_ahead(lambda scan: _attempt(scan, options), scans):
            if isinstance(answer, Input):
                being_predicted.append(answer)
                yield answer
            else:
                problems.extend(answer.problems)

    reading = readable()
    first, second = tee(reading)
    predictions = predictor.predict((scan.image for scan in first), (scan.shape for scan in second))
    whole: list[Path] = []

    def write(prediction: Prediction) -> tuple[Path | Problem, bool]:
        answer = _written(
            being_predicted.popleft(), prediction, out, maps, None if whole else origin
        )
        if isinstance(answer, Path):
            if disagreement and not (whole or prediction.of_peers):
                remark(
                    "this method has no two independent networks: its disagreement maps contain "
                    "the prediction's entropy"
                )
            whole.append(answer)
        return answer, bool(prediction.label.any())

    written = []
    try:
        for number, (answer, found) in enumerate(map_ahead(write, predictions), 1):
            if isinstance(answer, Path):
                written.append(answer)
                done(answer)
                if not found:
                    remark(f"{answer} is all background")
            else:
                problems.append(answer)
            if progress is not None:
                progress(number, len(scans))
    except (MemoryError, RuntimeError) as error:
        if not (being_predicted and _is_out_of_memory(error)):
            raise
        largest = max(reversed(being_predicted), key=lambda one: math.prod(one.image.shape))
        what = (
            "scans were not predicted because another needs too much memory: remove that scan and "
            "add --resume"
        )
        problems += [
            _too_large(largest.scan),
            *([Problem(what)] if len(scans) > len(written) + len(problems) + 1 else []),
        ]
    finally:
        reading.close()  # here, not where it is dropped last: it waits for its own thread
    raise_all(problems)
    return written


def _is_out_of_memory(error: Exception) -> bool:
    """True for a lack of memory, which torch reports as a plain RuntimeError on the CPU."""
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "not enough memory" in str(error)
        or "alloc_cpu" in str(error)
    )


def read_input(scan: Scan, options: ReadingOptions) -> Input:
    """Read a scan. UserError if it is missing, damaged, too large, has a wrong shape or NaN."""
    suffix = Path(scan.output).suffix.lower()
    return (read_h5 if suffix == ".h5" else read_flat if suffix in FLAT else read_nifti)(
        scan, options
    )


def _attempt(scan: Scan, options: ReadingOptions) -> Input | UserError:
    try:
        return read_input(scan, options)
    except UserError as error:
        return error
    except MemoryError:
        return UserError(_too_large(scan))


def _too_large(scan: Scan) -> Problem:
    found = "not enough memory in the computer or the GPU"
    fix = (
        "check the voxel spacing in its header (the scan is resampled to the model's spacing), or "
        "predict it on a machine with more memory"
    )
    return Problem("the scan needs too much memory", str(scan.files[0]), found, fix=fix)


def _written(
    scan: Input, prediction: Prediction, out: Path, maps: Sequence[MapName], origin: Origin | None
) -> Path | Problem:
    where = str(scan.scan.files[0])
    if not prediction.finite:
        fix = "check the scan's intensities, and the run's loss: the weights may be damaged"
        return Problem(
            "the prediction contains NaN or infinity; nothing was written", where, fix=fix
        )
    label = output_files(scan.scan, out, maps)["label"]
    try:
        if origin is not None:
            note_origin(out, origin)
        scan.write({name: getattr(prediction, name) for name in (*maps, "label")}, out)
    except OSError as error:
        fix = (
            FIXES[errno.ENOSPC]
            if error.errno in (errno.ENOSPC, errno.EFBIG)
            else "choose another folder"
        )
        return Problem(
            "the prediction can't be written", where, f"{label}: {error.strerror or error}", fix=fix
        )
    return label


def find_scans(inputs: Sequence[Path], channels: int) -> tuple[list[Scan], list[Problem]]:
    """Return the scans in files and folders, each file once, and the problems of the paths.

    From a folder: every .nii, .nii.gz, .h5, .png and .tif, sorted by name, and files of the LA
    layout up to two folders below. With more than one channel, files <case>_0000.nii.gz,
    <case>_0001.nii.gz, ... are one scan (the same for images).
    """
    files: dict[Path, Path] = {}
    problems = []
    for path in inputs:
        found, broken = _scans_in(path) if path.is_dir() else ([path], [])
        problems += [problem for file in broken for problem in no_file(file)]
        if not found and not broken:
            inside = next(
                (name for name in ("images", "imagesTs", "imagesTr") if (path / name).is_dir()),
                None,
            )
            fix = f"give the folder with the scans: {path / inside}" if inside else ""
            problems.append(
                Problem(
                    "the folder contains no scans",
                    str(path),
                    expected=f"files {', '.join(SUFFIXES)}",
                    fix=fix,
                )
            )
        elif not path.exists():
            problems.append(
                Problem("the file or folder does not exist", str(path), fix="check the path")
            )
        elif not (path.is_dir() or (path.is_file() and path.name.lower().endswith(SUFFIXES))):
            problems.append(
                Problem(
                    "the file format is not supported",
                    str(path),
                    path.name,
                    f"a file {', '.join(SUFFIXES)}",
                    "convert it to NIfTI",
                )
            )
        else:
            files |= {file.absolute(): file for file in found}
    scans, more = _by_case(list(files.values()), channels)
    return scans, problems + more


def _scans_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the scans of a folder, and paths with a scan's suffix that are not files."""
    beside = [
        file
        for file in folder.iterdir()
        if file.name.lower().endswith(SUFFIXES) and not file.name.startswith(".")
    ]
    below = [file for pattern in ("*", "*/*") for file in folder.glob(f"{pattern}/{LA_FILE}")]
    return sorted(file for file in beside + below if file.is_file()), sorted(
        file for file in beside if not file.is_file()
    )


def _by_case(files: Iterable[Path], channels: int) -> tuple[list[Scan], list[Problem]]:
    """Return one scan per file, or per group of channel files of a case."""
    scans: list[Scan] = []
    by_case: dict[tuple[Path, str], dict[int, Path]] = defaultdict(dict)
    for file in files:
        match = _CHANNEL_FILE.fullmatch(file.name)
        if channels > 1 and match is not None:
            by_case[file.parent, match["case"] + match["suffix"]][int(match["channel"])] = file
        else:
            scans.append(
                Scan(
                    (file,),
                    f"{file.absolute().parent.name}.h5" if file.name == LA_FILE else file.name,
                )
            )
    problems = []
    for (folder, name), by_channel in by_case.items():
        if sorted(by_channel) == list(range(channels)):
            scans.append(Scan(tuple(by_channel[channel] for channel in range(channels)), name))
        else:
            found, expected = (
                ", ".join(f"_{channel:04d}" for channel in numbers)
                for numbers in (sorted(by_channel), range(channels))
            )
            problems.append(
                Problem(
                    "a scan has missing channels",
                    str(folder / name),
                    found,
                    expected,
                    "give one file per channel",
                )
            )
    return scans, problems


def check_outputs(
    scans: Sequence[Scan], out: Path, maps: Sequence[MapName], overwrite: bool
) -> list[Problem]:
    """Return the problems that prevent writing the predictions of ``scans`` to ``out``."""
    if out.exists() and not out.is_dir():
        return [
            Problem(
                "the output is not a folder",
                str(out),
                "a file",
                "a folder, new or existing",
                "choose another --out",
            )
        ]
    problems = []
    there: dict[Path, None] = {}
    sources = {
        (status.st_dev, status.st_ino)
        for scan in scans
        for status in (file.stat() for file in scan.files)
    }
    owners: dict[Path, Scan] = {}
    for scan in scans:
        for file in dict.fromkeys(output_files(scan, out, maps).values()):
            owner = owners.setdefault(file, scan)
            if owner is not scan:
                found = f"{owner.files[0]} and {scan.files[0]}"
                problems.append(
                    Problem(
                        "two scans have the same output",
                        str(file),
                        found,
                        "different names",
                        "predict them to different folders",
                    )
                )
            elif file.exists() and (file.stat().st_dev, file.stat().st_ino) in sources:
                problems.append(
                    Problem(
                        "the prediction would overwrite an input",
                        str(file),
                        fix="choose another --out",
                    )
                )
            elif file.exists() and not overwrite:
                there[file] = None
    if there:
        fix = (
            "add --resume to keep them and predict the others, add --overwrite to replace them, or "
            "choose another --out"
        )
        first, *more = there
        what = (
            f"{len(there)} files of these predictions already exist"
            if more
            else "the prediction already exists"
        )
        problems.append(
            Problem(
                what,
                str(out if more else first),
                told([str(file.relative_to(out)) for file in there]),
                fix=fix,
            )
        )
    return problems
