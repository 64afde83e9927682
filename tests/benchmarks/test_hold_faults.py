"""The campaign of faults sees the faults that it looks for."""

import os
import signal

import pytest
from benchmarks.hold import faults
from benchmarks.hold.works import Work, _remove


class Made(Work):
    """Work of a function in a fork, with its exit code and its words."""

    def start(self, log, before=None):
        child = os.fork()
        if child:
            return [child]
        if before is not None:
            before()
        code, text = self.arguments()
        log.write_text(text)
        os._exit(code)


def made(folder, how):
    """Return work that writes two files; a file "fault" next to its folder is a fault."""
    fault, log = folder.parent / "fault", folder.parents[2] / "log.txt"

    def work():
        folder.mkdir(exist_ok=True)
        (folder / "begun.json").write_text("1")
        if fault.exists():
            if how.startswith("dies"):
                # as the watchdog does
                log.write_text("" if how == "dies mute" else f"error: {folder} fix:")
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "half":
                (folder / "done.json").write_text('{"a"')
            if how == "goes on":
                return 0, ""
            if how == "traceback":
                return 1, "Traceback"
            (folder / "refused").write_text("")
            return 2, "error: no\n  fix: none" if how == "no place" else f"error: {folder} fix:"
        if how == "not again" and (folder / "refused").exists():
            return 2, "error"
        (folder / "refused").unlink(missing_ok=True)
        (folder / "done.json").write_text('{"a": 1}')
        return 0, ""

    return Made("made", folder, work, lambda: _remove(folder))


@pytest.mark.parametrize(
    ("how", "counted"),
    [
        ("well", set()),
        ("dies", set()),
        ("dies mute", {"wrong_messages"}),
        ("traceback", {"wrong_exits"}),
        ("no place", {"wrong_messages"}),
        ("half", {"half_written"}),
        ("goes on", {"not_resumed"}),
        ("not again", {"not_resumed"}),
    ],
)
def test_each_fault_is_counted(tmp_path, monkeypatch, how, counted):
    place = tmp_path / "disk" / "work"
    place.mkdir(parents=True)
    fault = place / "fault"

    def end():
        fault.unlink(missing_ok=True)

    def kind(folder, disk):
        return faults.Fault(lambda _: fault.touch(), str(place), end, how.startswith("dies"))

    monkeypatch.setattr(faults, "PROMPT", 0.05)
    monkeypatch.setitem(faults.KINDS, "made", kind)
    tally = faults.disturbed(made(place / "out", how), "made", tmp_path / "disk")
    found = {name for name in faults.FAULTS if getattr(tally, name)}
    assert tally.tries >= 2
    assert found == counted, tally.faults
    assert bool(tally.died) is how.startswith("dies")
    assert bool(faults.failed({"made": vars(tally)})) is bool(counted)
    table = faults.rows({"made": vars(tally)})
    assert len(table[0]) == len(table[1]) == len(table[2])
