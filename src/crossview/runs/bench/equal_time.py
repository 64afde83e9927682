"""Steps of a row that gets the training time of another row instead of the suite's steps.

The number of steps is computed once per setting, from the finished runs of both rows, before the
first run of the row begins. The row's other runs take it from that run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crossview.core.errors import UserError, fail
from crossview.evaluation.pace import undisturbed_seconds
from crossview.evaluation.record import Results, run_or_record
from crossview.recipe.layers import STEP_KEYS


def steps_in_time(
    label: str, own: Sequence[Path], reference: Sequence[Path], alike: Sequence[Path]
) -> int | None:
    """Return the steps of a row; None while the runs it depends on are not finished.

    Args:
        label: The row, for messages.
        own: Folders or records of the row's runs, which need not exist.
        reference: Those of the row whose time it gets.
        alike: Those of the row whose pace it has.

    Raises:
        UserError: If the times were taken on different devices.
    """
    if (stored := _stored_steps(own)) is not None:
        return stored
    reference, alike = finished_of(reference), finished_of(alike)
    if not reference or not alike:
        return None
    _check_devices(label, [*reference, *alike])
    seconds = min(map(undisturbed_seconds, reference))
    pace = min(undisturbed_seconds(path) / _steps(path) for path in alike)
    return max(1, round(seconds / pace))


def finished_of(paths: Sequence[Path]) -> list[Path]:
    """Return the finished and tested runs among folders and records."""
    found = []
    for path in paths:
        try:
            Results.of(run_or_record(path), "test")
        except UserError:
            continue
        found.append(path)
    return found


def _stored_steps(paths: Sequence[Path]) -> int | None:
    """Return the steps in the recipe of the first run that exists."""
    for path in paths:
        try:
            method = run_or_record(path).tables["method"]
        except (UserError, KeyError):
            continue
        return sum(int(method.get(key) or 0) for key in STEP_KEYS)
    return None


def _steps(path: Path) -> int:
    return Results.of(run_or_record(path), "test").steps


def _check_devices(label: str, paths: Sequence[Path]) -> None:
    devices: dict[str, Path] = {}
    for path in paths:
        about = run_or_record(path).environment
        devices.setdefault(f"{about.get('device_name')}, {about.get('threads')} threads", path)
    if len(devices) > 1:
        what = "the times of the rows are of different devices"
        found = "; ".join(f"{device}: {path}" for device, path in devices.items())
        fix = "train these rows on one device, or set the row's steps in its 'set'"
        fail(what, f"row '{label}'", found=found, expected="one device", fix=fix)
