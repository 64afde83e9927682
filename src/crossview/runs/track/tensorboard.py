"""A run's points as an event file of TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crossview.core.errors import fail
from crossview.core.files import written_whole
from crossview.data.io.extras import need
from crossview.runs.run import Run
from crossview.runs.track.points import Point, started

EXTRA = "tensorboard"

MARK = "tfevents"
"""Part of a file's name by which TensorBoard knows its own files."""


def write(run: Run, found: Sequence[Point], out: Path) -> Path:
    """Write all points into one file of ``out``, in place of the file of an earlier call.

    Its bytes depend on the points alone, and new ones come last, so that a TensorBoard that is
    open goes on where it has read to.
    """
    begun = started(run)
    path = out / f"events.out.{MARK}.{begun:.0f}.crossview"
    others = [each.name for each in out.glob(f"*{MARK}*") if each.name != path.name]
    if others:
        what, fix = "the folder holds the curves of another run", "choose another --out"
        fail(what, out, found=others[0], fix=fix)
    event = need("tensorboard.compat.proto.event_pb2", EXTRA).Event
    summary = need("tensorboard.compat.proto.summary_pb2", EXTRA).Summary
    records = need("tensorboard.summary.writer.record_writer", EXTRA).RecordWriter
    with written_whole(path) as part, part.open("wb") as file:
        writer = records(file)
        writer.write(event(wall_time=begun, file_version="brain.Event:2").SerializeToString())
        for each in found:
            value = summary.Value(tag=each.name, simple_value=each.value)
            content = summary(value=[value])
            row = event(wall_time=each.time, step=each.step, summary=content)
            writer.write(row.SerializeToString())
    return path
