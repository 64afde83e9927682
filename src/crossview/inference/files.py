"""Prediction of scans in files: one bad file does not stop the others."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossview.core.errors import FIXES, Problem, UserError, lacks_memory, raise_all
from crossview.core.progress import Progress
from crossview.core.text import first_few
from crossview.data.io import ScanFiles
from crossview.data.sources.source import DataOptions
from crossview.inference.assembly import Segmentation, Wanted
from crossview.inference.inputs import Input, find_scans, read_input
from crossview.inference.memory import memory_problems
from crossview.inference.outputs import Outputs
from crossview.inference.predict import Predictor, map_ahead


@dataclass(frozen=True)
class Written:
    """A written prediction: its label's file, and what a user should know of it.

    expected: the Dice that its probabilities promise.
    """

    label: Path
    empty: bool
    of_peers: bool
    expected: float


def predict_files(
    predictor: Predictor,
    inputs: Sequence[Path],
    out: Outputs,
    *,
    data: DataOptions,
    channels: int,
    numbered: bool = False,
    progress: Progress | None = None,
    done: Callable[[Path], None] = lambda _: None,
    remark: Callable[[str], None] = lambda _: None,
    expected: Callable[[Path, float], None] | None = None,
) -> list[Path]:
    """Predict scans in files and write their labels and maps.

    A label has its scan's name (``<case>.h5`` for ``<case>/mri_norm2.h5``) and grid; see
    ``Outputs.files`` for the maps. Each file is written completely or not at all.

    Args:
        predictor: Predicts the images.
        inputs: Scans and folders of scans: volumes, PNG, TIFF, or h5 in the layouts of LA and ACDC.
        out: The output folder and what is written to it.
        data: The [data] table of the run.
        channels: Channels of the model.
        numbered: True if the model was trained on files <case>_0000: predictions are named <case>.
        progress: Called with (scans done, all scans).
        done: Called with each label's file after it is written.
        remark: Called with a line per label that is all background: the contrast or orientation may
            be wrong, which the file alone does not show. Per folder with images of other formats,
            and for files of earlier predictions that ``overwrite`` leaves.
        expected: Called with each label's file and the Dice that its probabilities promise.

    Returns:
        The label files, in the order of the scans.

    Raises:
        UserError: Before anything is written, if the folder contains predictions of a different
            origin (unless ``overwrite``), or an output would replace an input, another output or an
            existing file (unless ``overwrite`` or ``resume``), or a scan needs more memory than
            there is. At the end, after all other scans,
            with every scan that could not be read, predicted or written.
    """
    out.check_origin()
    grey = getattr(data, "colour", "stored") == "grey"
    scans, problems = find_scans(inputs, channels, numbered, remark, grey)
    raise_all(out.problems(scans))
    scans = [scan for scan in scans if not out.skips(scan)]
    raise_all(memory_problems(scans, data, channels))
    out.take_over(scans)
    in_memory: list[Input] = []

    def readable() -> Generator[Input]:
        for answer in map_ahead(lambda scan: _attempt(scan, predictor, data, channels), scans):
            if isinstance(answer, Input):
                in_memory.append(answer)
                yield answer
            else:
                problems.extend(answer.problems)

    def write(predicted: tuple[Input, Segmentation]) -> Written | Problem:
        in_memory.remove(predicted[0])
        return _write(*predicted, out, predictor.of_peers())

    wanted = Wanted(out.maps, views=False, folder=out.folder, expected=expected is not None)

    written: list[Path] = []
    reading = readable()
    try:
        for number, answer in enumerate(map_ahead(write, predictor.segment(reading, wanted)), 1):
            if isinstance(answer, Problem):
                problems.append(answer)
            else:
                _report(answer, out, not written, done, remark)
                if expected is not None:
                    expected(answer.label, answer.expected)
                written.append(answer.label)
            if progress is not None:
                progress(number, len(scans))
    except (MemoryError, RuntimeError) as error:
        if not (in_memory and lacks_memory(error)):
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
    if out.overwrite and (earlier := out.remains(scans)):
        names = first_few([str(file.relative_to(out.folder)) for file in earlier])
        remark(f"of earlier predictions of these scans remain, and were not replaced: {names}")
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


def _attempt(
    scan: ScanFiles, predictor: Predictor, data: DataOptions, channels: int
) -> Input | UserError:
    try:
        return read_input(scan, data, channels, predictor.dimensions)
    except UserError as error:
        return error
    except MemoryError:
        return UserError(_too_large(scan))


def _too_large(scan: ScanFiles) -> Problem:
    found = "not enough memory in the computer or the GPU"
    fix = (
        "check the voxel spacing in its header (the scan is resampled to the model's spacing), or "
        "predict it on a machine with more memory"
    )
    return Problem("the scan needs too much memory", str(scan.files[0]), found, fix=fix)


def _write(
    item: Input, prediction: Segmentation, out: Outputs, of_peers: bool
) -> Written | Problem:
    """Write the files of a prediction, or return the problem that prevents it."""
    files, where = out.files(item.scan), str(item.scan.files[0])
    if not prediction.finite:
        what = "the prediction contains NaN or infinity; nothing was written"
        fix = "check the scan's intensities, and the run's loss: the weights may be damaged"
        return Problem(what, where, fix=fix)
    try:
        out.note_origin(files["label"])
        item.write(out.arrays(prediction), files, out.segments)
    except UserError as error:
        return error.problems[0]
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EFBIG)
        fix = FIXES[errno.ENOSPC] if full else "choose another folder"
        found = f"{files['label']}: {error.strerror or error}"
        return Problem("the prediction can't be written", where, found, fix=fix)
    return Written(files["label"], not prediction.label.any(), of_peers, prediction.expected)
