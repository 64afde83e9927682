"""The campaigns see the faults that they look for."""

import io
import os
import time
import zipfile

import pytest
from benchmarks.hold import mutate, reading
from benchmarks.hold.corpus import OF_DICOM, Example, scans
from benchmarks.hold.mutation import (
    changed_bytes,
    changed_json,
    changed_png,
    changed_toml,
    changed_zip,
)
from benchmarks.hold.volumes import volumes

from crossview.core.errors import UserError
from crossview.data.io import BY_SUFFIX


def example(read):
    return Example("made", "a.bin", bytes(range(64)), changed_bytes, (read,))


def refuse(path):
    raise UserError(())


def fail(path):
    raise KeyError("a fault")


def compute(path):
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass


def loop(path):
    while True:
        compute(path)


@pytest.mark.parametrize(
    ("read", "count"),
    [
        (lambda path: path.read_bytes(), "read"),
        (refuse, "refused"),
        (fail, "tracebacks"),
        (compute, "slow"),
        (lambda path: len(b"1" * reading.LARGE), "large"),
        (lambda path: os._exit(3), "died"),
        (loop, "died"),
    ],
)
def test_each_outcome_is_counted(tmp_path, monkeypatch, read, count):
    monkeypatch.setattr(reading, "SLOW", 0.1)
    # New memory alone takes a third of a second on a busy machine.
    monkeypatch.setattr(reading, "HANGS", 0.3 if read is loop else 30)
    reading._forget_peak()
    monkeypatch.setattr(reading, "LARGE", reading._peak() + (20 << 20))
    tally = reading.read_batch(example(read), tmp_path, 0, range(2))
    assert tally.files == 2
    assert getattr(tally, count) == 2
    faults = count in mutate.FAULTS
    assert bool(tally.faults) is faults
    assert bool(mutate.failed({"made": vars(tally)})) is faults


def test_every_format_of_scans_has_whole_files_that_are_read(tmp_path):
    made = scans(tmp_path)
    assert {each.kind for each in made} == BY_SUFFIX.keys() - OF_DICOM
    others = volumes(tmp_path)
    assert {each.kind for each in others} >= {".dcm", ".zip", "DICOM series", "DICOM SEG"}
    for number, each in enumerate(made + others):
        assert each.content is not None, f"{each.kind}: no whole file; see corpus.py"
        path = (each.home or tmp_path / str(number)) / each.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(each.content)
        outcomes = [reading.attempt(read, path) for read in each.reads]
        assert None in outcomes, each.kind
        assert not [fault for fault in outcomes if fault]


def zipped(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


ZIPPED = zipped(a=b"x" * 40, b=b"y" * 40)


@pytest.mark.parametrize(
    ("change", "content"),
    [
        (changed_bytes, b"x" * 40),
        (changed_json, b'{"a": [1, {"b": null}]}'),
        (changed_toml, b"a = 1\n[b]\nc = [1, 2]\n"),
        (changed_zip, ZIPPED),
        (changed_png, b"\x89PNG\r\n\x1a\n" + b"\0\0\0\4IHDRabcd1234"),
    ],
)
def test_changed_copies_differ_and_follow_the_seed(change, content):
    def copies(seed):
        return [change(content, reading.Random(f"{seed} {number}")) for number in range(50)]

    assert copies(1) == copies(1) != copies(2)
    assert sum(copy != content for copy in copies(1)) > 40
