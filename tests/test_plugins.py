"""A method of one's own from outside: what is printed for its runs, and what they remember of its code."""

import shlex

import pytest

import own_method
from command import crossview
from crossview import plugins
from own_method import NAME, TINY

PLUGIN = ("--plugin", NAME)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    with own_method.within(tmp_path, monkeypatch) as here:
        yield here


def words(printed, before):
    """The command that is printed after some words."""
    return shlex.split(printed.split(before, 1)[1].splitlines()[0])[1:]


def test_the_commands_that_are_printed_run_as_they_are(capsys, folder):
    code, out, err = crossview(capsys, "train", "demo", "--out", "run", *TINY, "--set", "method.steps=4", "--max-steps", 2, *PLUGIN)
    assert code == 0, err
    follows = words(out, "to go on: ")
    assert follows == ["train", "run", "--resume", *PLUGIN]
    assert f"crossview train RUN --resume --plugin {NAME} goes on" in (folder / "run" / "report.html").read_text()
    code, _, err = crossview(capsys, "evaluate", "run", *PLUGIN)
    assert f"crossview train run --resume --plugin {NAME} goes on" in err
    code, _, err = crossview(capsys, "compare", "run")
    assert (code, words(err, "fix:")) == (2, follows)
    code, out, err = crossview(capsys, *follows)
    assert code == 0, err
    assert f"(crossview evaluate run --split test --plugin {NAME})" in (folder / "run" / "report.html").read_text()
    code, _, err = crossview(capsys, "compare", "run")
    assert (code, words(err, "fix:")) == (2, ["evaluate", "run", *PLUGIN])
    evaluate = words(out, "next: ")
    assert evaluate == ["evaluate", "run", *PLUGIN]
    code, _, err = crossview(capsys, *evaluate)
    assert code == 0, err
    repeat = (folder / "run" / "report.html").read_text().rsplit("Repeat it", 1)[1]
    assert f"crossview evaluate run --split test --plugin {NAME}" in repeat


def test_a_shipped_method_needs_none(capsys, tmp_path):
    run = tmp_path / "a run"
    code, out, err = crossview(capsys, "train", "demo", "--out", run, *TINY, "--set", "method.name=supervised", "--set", "method.steps=1")
    assert code == 0, err
    assert words(out, "next: ") == ["evaluate", str(run)]
    assert plugins.command("train", tmp_path / "nothing", "--resume") == f"crossview train {tmp_path}/nothing --resume"
