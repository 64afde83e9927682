"""Prediction of scans in files: one model for many, one bad file among them loses none of the others."""

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
"""The published LA layout has one file of this name a case, in a folder that bears the case's name."""

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
    """Predicts scans (NIfTI, PNG, TIFF, or h5 as LA and ACDC are published) and folders of them into the folder ``out``.

    A label gets its scan's name (``<case>.h5`` for ``<case>/mri_norm2.h5``) and grid; see ``output_files`` for the maps.
    data: the run's [data] table. channels: of its model. resume: leave out scans of which all files are there; what a stop left of others
    is replaced. progress: called with (scans done, of all). done: called with each label's file as it is written. remark: called with a
    line for each label that holds nothing but background: a wrong contrast or orientation can be the cause, and the file alone looks right.
    origin: of the predictions, noted in ``out``; a folder that another one's predictions are noted in is refused (unless ``overwrite``).
    Returns the labels' files, in the order of the scans.

    Raises UserError at once, before anything is written, if an output would overwrite an input, an existing file (unless
    ``overwrite``) or another output; and at the end, naming every scan that could not be read, predicted or written, when
    the others are done. A file is written whole or not at all.
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
                    "this method has no two networks of equal standing: its maps of disagreement are the prediction's entropy"
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
                    remark(f"{answer} holds nothing but background")
            else:
                problems.append(answer)
            if progress is not None:
                progress(number, len(scans))
    except (MemoryError, RuntimeError) as error:
        if not (being_predicted and _is_out_of_memory(error)):
            raise
        largest = max(reversed(being_predicted), key=lambda one: math.prod(one.image.shape))
        what = "others were not predicted because of it: leave it out and add --resume"
        problems += [
            _too_large(largest.scan),
            *([Problem(what)] if len(scans) > len(written) + len(problems) + 1 else []),
        ]
    finally:
        reading.close()  # here, and not in whatever thread lets go of it last: it waits for a thread of its own
    raise_all(problems)
    return written


def _is_out_of_memory(error: Exception) -> bool:
    """torch tells of the computer's memory in a RuntimeError like any other."""
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "not enough memory" in str(error)
        or "alloc_cpu" in str(error)
    )


def read_input(scan: Scan, options: ReadingOptions) -> Input:
    """Reads a scan. Raises UserError: missing, damaged, of another shape, too large, or not all numbers."""
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
    found = "the computer's memory, or the GPU's, did not suffice"
    fix = "check the voxel sides in its header: it is resampled to the model's; or predict it on a machine with more memory"
    return Problem("the scan needs too much memory", str(scan.files[0]), found, fix=fix)


def _written(
    scan: Input, prediction: Prediction, out: Path, maps: Sequence[MapName], origin: Origin | None
) -> Path | Problem:
    where = str(scan.scan.files[0])
    if not prediction.finite:
        fix = "look at the scan's intensities, and at the run's loss: the weights may be broken"
        return Problem(
            "the network's answer holds NaN or infinity; nothing was written", where, fix=fix
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
    """The scans among files and folders, each file once, folders sorted by name; and what is wrong with the paths.

    Of a folder: every .nii, .nii.gz, .h5, .png and .tif in it, and the LA layout's files up to two folders below. With more than one
    channel, files <case>_0000.nii.gz, <case>_0001.nii.gz, ... are one scan (of images too).
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
            fix = f"give the folder of the scans: {path / inside}" if inside else ""
            problems.append(
                Problem(
                    "there is no scan in this folder",
                    str(path),
                    expected=f"files {', '.join(SUFFIXES)}",
                    fix=fix,
                )
            )
        elif not path.exists():
            problems.append(
                Problem("there is no such file or folder", str(path), fix="check the path")
            )
        elif not (path.is_dir() or (path.is_file() and path.name.lower().endswith(SUFFIXES))):
            problems.append(
                Problem(
                    "not a scan that can be read",
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
    """The scans of a folder, and what bears the name of one and is no file, say a link that leads nowhere."""
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
    """Files to scans: one each, or those of a case's channels together."""
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
                    "a scan's channels are not complete",
                    str(folder / name),
                    found,
                    expected,
                    "give one file for each channel",
                )
            )
    return scans, problems


def check_outputs(
    scans: Sequence[Scan], out: Path, maps: Sequence[MapName], overwrite: bool
) -> list[Problem]:
    """What stands against writing the predictions of ``scans`` into ``out``."""
    if out.exists() and not out.is_dir():
        return [
            Problem(
                "the output is no folder",
                str(out),
                "a file",
                "a folder, new or not",
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
                        "names that differ",
                        "predict them into different folders",
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
        fix = "--resume leaves them and makes the others, --overwrite replaces them, or choose another --out"
        first, *more = there
        what = (
            f"{len(there)} files of these predictions are here already"
            if more
            else "a prediction is here already"
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
