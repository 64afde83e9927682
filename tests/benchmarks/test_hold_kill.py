"""The campaign of kills sees the faults that it looks for."""

import json
import os
import time
from pathlib import Path

import pytest
import torch
from benchmarks.hold import kill, works
from benchmarks.hold.whole import left_aside, results, unreadable
from benchmarks.hold.works import Work
from benchmarks.hold.writes import Writes


def test_files_that_are_cut_are_found_and_those_aside_are_not_read(tmp_path):
    torch.save({"a": torch.ones(9)}, tmp_path / "a.pt")
    works.made_folder(tmp_path / "data")
    (tmp_path / "a.json").write_text('{"b": 1}')
    (tmp_path / "a.html").write_text("<html></html>\n")
    (tmp_path / "journal.jsonl").write_text('{"kind": "step"}\n{"kind"')
    (tmp_path / "a.toml.part").write_text("a = ")
    assert unreadable(tmp_path) == []
    assert left_aside(tmp_path) == ["a.toml.part"]
    files = [path for path in tmp_path.rglob("*") if path.suffix in (".pt", ".gz", ".json")]
    for path in (*files, tmp_path / "a.html"):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert [text.split(":")[0] for text in unreadable(tmp_path)] == [
            str(path.relative_to(tmp_path))
        ]
        path.write_bytes(whole)


def test_results_differ_by_weights_and_not_by_times(tmp_path):
    def written(value, seconds):
        torch.save({"a": torch.full((2,), value), "seconds": seconds}, tmp_path / "a.pt")
        (tmp_path / "a.json").write_text(json.dumps({"b": [1], "seconds": seconds}))
        return results(tmp_path)

    assert written(1.0, 2) == written(1.0, 3)
    assert written(1.0, 2) != written(1.0000001, 2)


def in_a_fork(work, folder, at):
    """Work in a fork of this process, watched, and return how it ended."""
    writes = Writes(folder, at)
    child = os.fork()
    if child == 0:
        writes.watch()
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), writes.count


def test_changes_are_counted_in_the_folder_alone_and_one_is_not_made(tmp_path):
    inside, aside = tmp_path / "inside", tmp_path / "aside"
    inside.mkdir()
    aside.mkdir()

    def change():
        (tmp_path / "elsewhere").write_text("")
        (inside / "a").write_text("")
        (inside / "a").read_text()
        (inside / "a").rename(inside / "b")

    assert in_a_fork(change, aside / ".." / "inside", 0) == (0, 2)
    (inside / "b").unlink()
    assert in_a_fork(change, inside, 2) == (-9, 2)
    assert [path.name for path in inside.iterdir()] == ["a"]


class Made(Work):
    """Work of a function in a fork."""

    def start(self, log, before=None):
        log.touch()
        child = os.fork()
        if child:
            return [child]
        if before is not None:
            before()
        code = self.arguments()
        os._exit(code)


def made(folder, how):
    done = folder / "done.json"

    def work():
        time.sleep(0.01)
        folder.mkdir(exist_ok=True)
        again = (folder / "begun").exists()
        (folder / "begun").write_text("")
        if how == "fails again" and again:
            return 2
        half, whole = '{"a"', '{"a": 2}' if how == "differs again" and again else '{"a": 1}'
        if how == "cuts":
            done.write_text(half)
            time.sleep(0.02)
        done.with_suffix(".part").write_text(whole)
        time.sleep(0.01)
        done.with_suffix(".part").rename(done)
        if how == "leaves":
            (folder / "b.part").write_text("")
        return 0

    return Made("made", folder, work, lambda: works._remove(folder))


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ("well", None),
        ("cuts", "unreadable"),
        ("fails again", "wrong_exits"),
        ("differs again", "different"),
        ("leaves", "left_aside"),
    ],
)
def test_each_fault_is_counted(tmp_path: Path, how, fault):
    tally = kill.killed(made(tmp_path / "made", how), 8, seed=0)
    found = {name for name in kill.FAULTS if getattr(tally, name)}
    assert found == ({fault} if fault else set()), tally.faults
    assert tally.kills >= 3
    assert bool(kill.failed({"made": vars(tally)})) is bool(fault)
    assert kill.failed({"made": vars(kill.Killed())})  # nothing was killed
    assert kill.failed({})
    assert len(kill.rows({"made": vars(tally)})[0]) == len(kill.rows({"made": vars(tally)})[2])


def test_a_command_that_is_killed_each_time_is_left_alone_at_last(tmp_path, monkeypatch):
    monkeypatch.setattr(kill, "ROUNDS", 1)
    tally = kill.killed(made(tmp_path / "made", "well"), 4, seed=0)
    assert not tally.faults
    assert tally.finished > tally.starts - tally.kills
