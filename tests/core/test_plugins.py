"""Plugins from outside: the commands printed for their runs, and the record of their code."""

import importlib
import json
import shlex
import shutil
from hashlib import sha256

import numpy as np
import pytest
from tests.helpers import own_method
from tests.helpers.command import crossview
from tests.helpers.own_method import NAME, TINY
from tests.helpers.tiny_suite import suite_file

from crossview.core import plugins
from crossview.core.errors import UserError
from crossview.core.journal import read_journal
from crossview.core.run_folder import RunFolder
from crossview.methods.plugin import load

PLUGIN = ("--plugin", NAME)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    with own_method.within(tmp_path, monkeypatch) as here:
        yield here


def words(printed, before):
    """Return the command that is printed after some words."""
    return shlex.split(printed.split(before, 1)[1].splitlines()[0])[1:]


def test_python_loads_one_as_the_command_does(folder):
    package = importlib.import_module("crossview")
    sets = [f"method.name={NAME}", *TINY[1::2]]
    with pytest.raises(UserError, match=f"add --plugin {NAME}"):
        package.train("demo", None, folder / "run", overrides=sets)
    assert package.load_plugin(NAME).__name__ == NAME.partition(":")[2]
    run, _ = package.train("demo", None, folder / "run", overrides=sets, max_steps=1)
    assert run.environment["plugin"]["name"] == NAME
    assert sorted(package.load(run).predict(np.zeros((16, 16, 16))).views) == []


def test_the_commands_that_are_printed_run_as_they_are(capsys, folder):
    code, out, err = crossview(
        capsys,
        "train",
        "demo",
        "--out",
        "run",
        *TINY,
        "--set",
        "method.steps=4",
        "--max-steps",
        2,
        *PLUGIN,
    )
    assert code == 0, err
    follows = words(out, "to resume: ")
    assert follows == ["train", "run", "--resume", *PLUGIN]
    assert (
        f"To resume it: crossview train RUN --resume --plugin {NAME}"
        in (folder / "run" / "report.html").read_text()
    )
    code, _, err = crossview(capsys, "evaluate", "run", *PLUGIN)
    assert f"resume it with crossview train run --resume --plugin {NAME}" in err
    code, _, err = crossview(capsys, "compare", "run")
    assert (code, words(err, "fix:")) == (2, follows)
    code, out, err = crossview(capsys, *follows)
    assert code == 0, err
    assert (
        f"(crossview evaluate run --split test --plugin {NAME})"
        in (folder / "run" / "report.html").read_text()
    )
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
    code, out, err = crossview(
        capsys,
        "train",
        "demo",
        "--out",
        run,
        *TINY,
        "--set",
        "method.name=supervised",
        "--set",
        "method.steps=1",
    )
    assert code == 0, err
    assert words(out, "next: ") == ["evaluate", str(run)]
    assert (
        RunFolder(tmp_path / "nothing").command("train", "--resume")
        == f"crossview train {tmp_path}/nothing --resume"
    )


CHANGE = ('return {"labelled": cross', 'return {"labelled": 2 * cross')


def warnings(run):
    return [row["text"] for row in read_journal(run / "journal.jsonl") if row["kind"] == "warning"]


def digest(run):
    return json.loads((run / "environment.json").read_text())["plugin"]["digest"]


def test_a_resume_with_other_code_is_warned_of_and_goes_on(capsys, folder):
    run = folder / "run"
    before = sha256((folder / "own.py").read_bytes()).hexdigest()
    code, _, err = crossview(
        capsys,
        "train",
        "demo",
        "--out",
        run,
        *TINY,
        "--set",
        "method.steps=4",
        "--max-steps",
        2,
        *PLUGIN,
    )
    assert (code, digest(run)) == (0, before), err
    code, _, err = crossview(capsys, "train", run, "--resume", "--max-steps", 3, *PLUGIN)
    assert (code, warnings(run)) == (0, []), err
    own_method.write(folder, CHANGE)
    code, _, err = crossview(capsys, "train", run, "--resume", *PLUGIN)
    assert code == 0, err
    assert (
        f"warning: The code of {NAME} has changed since the run began: SHA-256 {before[:12]} then"
        in err
    )
    assert len(warnings(run)) == 1
    assert digest(run) == before
    code, _, err = crossview(capsys, "evaluate", run, *PLUGIN)
    assert (code, f"remark: The code of {NAME} has changed" in err) == (0, True)
    assert any(
        "has changed since the run began" in note
        for note in json.loads((run / "evaluation/test/summary.json").read_text())["notes"]
    )


def test_a_run_without_a_step_takes_the_new_code(capsys, folder):
    run = folder / "run"
    sets = [*TINY, "--set", "method.steps=2"]
    assert (
        crossview(capsys, "train", "demo", "--out", run, *sets, "--max-steps", 0, *PLUGIN)[0] == 0
    )
    own_method.write(folder, CHANGE)
    code, _, err = crossview(capsys, "train", run, "--resume", *PLUGIN)
    assert (code, warnings(run)) == (0, []), err
    assert digest(run) == sha256((folder / "own.py").read_bytes()).hexdigest()


def test_a_shipped_method_has_no_digest(capsys, tmp_path):
    sets = [*TINY, "--set", "method.name=supervised", "--set", "method.steps=1"]
    assert crossview(capsys, "train", "demo", "--out", tmp_path / "run", *sets)[0] == 0
    assert "plugin" not in json.loads((tmp_path / "run" / "environment.json").read_text())
    assert plugins.changed("supervised", {"plugin": {"name": "supervised", "digest": "1"}}) == ""


@pytest.mark.parametrize("kept", ["folders", "records"])
def test_a_bench_refuses_runs_of_other_code_all_at_once(capsys, folder, kept):
    row = f'label = "own"\nname = "{NAME}"\n\n[[methods]]\nlabel = "cml'
    suite = suite_file(folder, ('label = "cml', row))
    command = ("bench", suite, "--out", "out", "--only", "own", "--records", "kept", *PLUGIN)
    code, out, err = crossview(capsys, *command)
    assert (code, "0 of 2 runs are done" in out) == (0, True), err
    if kept == "records":
        shutil.rmtree(folder / "out")
    else:
        shutil.rmtree(folder / "kept")
    own_method.forget()
    code, out, err = crossview(capsys, *command)
    assert (code, "2 of 2 runs are done" in out) == (0, True), err
    if kept == "folders":
        shutil.rmtree(folder / "kept")
    own_method.write(folder, CHANGE)
    for more in ([], ["--dry-run"]):
        code, out, err = crossview(capsys, *command, *more)
        assert (code, out) == (2, "")
        names = [
            f"out/tiny/own-seed{seed}" if kept == "folders" else f"kept/tiny-own-seed{seed}.json"
            for seed in (1, 2)
        ]
        assert (
            f"{', '.join(names)}: the code of {NAME} has changed since these runs were trained"
            in err
        )
        assert "choose another --out (and --records), or delete these runs" in err
    if kept == "folders":  # those that are only begun are no better
        journal = folder / "out" / "tiny" / "own-seed1" / "journal.jsonl"
        journal.write_text(
            "".join(
                line for line in journal.read_text().splitlines(True) if '"finished"' not in line
            )
        )
        assert "own-seed1" in crossview(capsys, *command)[2]
    assert crossview(capsys, *command[:5], "supervised", *command[6:])[0] == 0, (
        "runs of other methods are as they were"
    )


def test_a_run_of_before_digests_is_taken_as_it_is(folder):
    load(NAME)
    assert plugins.changed(NAME, {"command": ""}) == ""
    assert plugins.changed(NAME, {"plugin": {"name": "another:One", "digest": "1"}}) == ""
    assert "1 then" in plugins.changed(NAME, {"plugin": {"name": NAME, "digest": "1"}})
