"""The verb export: a run's forward pass as a file for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from crossview.core.busy import worker
from crossview.core.errors import Problem, fail, raise_all
from crossview.core.files import check_writable, written_whole
from crossview.core.progress import Progress
from crossview.data.io.extras import absent, is_absent
from crossview.inference.items import CaseItem
from crossview.networks import required_multiple
from crossview.runs.onnx_file import (
    EXTRA,
    Forward,
    described,
    facts,
    largest_difference,
    reason,
    traced,
)
from crossview.runs.prepare import find_splits, preprocessing_of
from crossview.runs.run import Run, make_predictor
from crossview.runs.weights import TrainedMethod, trained_method

SUFFIX = ".onnx"

BOUND = 1e-4
"""Largest difference of a probability between file and method; rounding makes 1e-6 or less."""

CASES = 4
"""Scans of which a window is compared."""


@dataclass(frozen=True)
class Exported:
    """An exported file and its check.

    Attributes:
        windows: Windows that onnxruntime and the method were compared on, each of another scan.
        difference: The largest difference of a probability.
        any_size: True if the file takes images of other sides than the patch.
    """

    path: Path
    windows: int
    difference: float
    any_size: bool


def export(
    run: Run | Path | str,
    to: Path | str,
    *,
    data: Path | str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write the forward pass of a finished run as an ONNX file, once onnxruntime agrees with it.

    The file computes the method's class probabilities of a batch of windows. Preprocessing, the
    sliding of windows and the clean-up are not part of it; its metadata describe them.

    Args:
        run: A run, or its folder.
        to: The file, ``*.onnx``.
        data: The folder of the data, whose windows the check needs. Default: the folder that the
            run was trained on.
        overwrite: Replace a file that exists.
        progress: Called with (windows read, windows in all).

    Returns:
        The file and the largest difference that was found.

    Raises:
        UserError: If the run is not finished, the format is unknown, the file exists, the extra
            crossview[onnx] is not installed, the method can't be exported, or a probability differs
            by more than ``BOUND``. Nothing is written then.
    """
    run, path = run if isinstance(run, Run) else Run.open(run), Path(to)
    raise_all([*_problems_of_run(run), *_problems_of_file(path, overwrite)])
    check_writable(path.parent)
    trained = trained_method(run, torch.device("cpu"))
    windows = list(_windows(run, trained, data, progress))
    content, any_size, difference = _checked(trained, windows)
    if not difference <= BOUND:
        fail(
            "the ONNX file computes other probabilities than the method; nothing was written",
            path,
            found="it can't be run" if difference == float("inf") else f"up to {difference:.1g}",
            expected=f"differences of at most {BOUND:g}",
            fix="a plugin's forward pass must not depend on Python's own numbers",
        )
    check = f"onnxruntime on {len(windows)} windows of scans: differences up to {difference:.1g}"
    content = described(content, facts(trained, any_size) | {"check": check})
    with written_whole(path) as part:
        part.write_bytes(content)
    return Exported(path, len(windows), difference, any_size)


def _problems_of_run(run: Run) -> Iterator[Problem]:
    """Yield why a run can't be exported yet."""
    if not run.finished:
        by = worker(run.path)
        yield Problem(
            "the run is not finished",
            str(run.path),
            f"it is still training ({by})" if by else "it was stopped",
            "a run that was trained to its end",
            "wait until it has finished" if by else run.command("train", "--resume"),
        )


def _problems_of_file(path: Path, overwrite: bool) -> Iterator[Problem]:
    """Yield why the file can't be written."""
    if path.suffix.lower() != SUFFIX:
        what, expected = "the format is unknown", f"a file name that ends in {SUFFIX}"
        yield Problem(what, "--to", path.name, expected)
    elif path.is_dir():
        yield Problem("this is a folder", str(path), expected="the name of a new file")
    elif path.exists() and not overwrite:
        fix = "replace it with --overwrite, or choose another name"
        yield Problem("the file exists", str(path), fix=fix)
    yield from (absent(name, EXTRA) for name in ("onnx", "onnxruntime") if is_absent(name))


def _windows(
    run: Run, trained: TrainedMethod, data: Path | str | None, progress: Progress | None
) -> Iterator[Tensor]:
    """Yield the middle window (C, *patch) of scans of the run's data, as the networks see it."""
    recipe = run.recipe
    splits = find_splits(recipe, run.data_root(data))
    every = (*splits.test, *splits.validation, *splits.unlabelled, *splits.labelled)
    chosen = every[:: max(1, len(every) // CASES)][:CASES]
    predictor = make_predictor(recipe, trained.method, torch.device("cpu"), "float32")
    preprocessing = preprocessing_of(recipe, splits)
    for number, case in enumerate(chosen, 1):
        parts = predictor.parts(CaseItem(case, case.read_image(), preprocessing).image)
        yield parts.cut(len(parts) // 2).contiguous()
        if progress is not None:
            progress(number, len(chosen))


def _checked(trained: TrainedMethod, windows: list[Tensor]) -> tuple[bytes, bool, float]:
    """Return the file, whether it takes images of any size, and its largest difference.

    A method whose file fails on other sides than the patch's is exported for the patch alone.
    """
    forward, together = Forward(trained.method).eval(), torch.stack(windows)
    alone, step = together[:1], required_multiple(trained.recipe.network.levels)
    larger = F.pad(alone, (0, step) * len(trained.recipe.data.patch))
    batches = {True: [together, larger], False: [together, alone]}
    content, difference = b"", float("inf")
    for any_size in (True, False):
        try:
            # Two images, because torch takes a batch of one for a number that never changes.
            content = traced(forward, torch.cat([alone, alone]), any_size)
        except (RuntimeError, TypeError, ValueError) as error:
            what, fix = "torch can't export this method", "use operations that ONNX has"
            fail(what, trained.recipe.method.name, found=reason(error), fix=fix)
        difference = largest_difference(content, forward, batches[any_size])
        if difference <= BOUND:
            return content, any_size, difference
    return content, False, difference
