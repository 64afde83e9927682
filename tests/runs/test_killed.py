"""Tests of what a kill leaves: the next call of the same command takes over."""

import shutil

import pytest
from tests.cli.test_cli import TINY
from tests.helpers.command import crossview

from crossview.core.errors import UserError
from crossview.core.run_folder import ENVIRONMENT, RECIPE, RunFolder
from crossview.recipe.resolve import resolve
from crossview.runs import run
from crossview.runs.run import check_free, create


def folder(path, *names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("{}")
    return path


@pytest.mark.parametrize(
    "names",
    [
        ("environment.json.part",),
        ("environment.json", "checkpoints/last.pt.part"),
        ("environment.json", "recipe.toml.part"),
    ],
)
def test_a_run_that_was_killed_while_its_folder_was_made_is_begun_again(tmp_path, names):
    check_free(folder(tmp_path, *names), overwrite=False)


def test_somebody_elses_folder_stays(tmp_path):
    for number, names in enumerate((("a.txt",), ("environment.json", "a.txt"), ("model.pt",))):
        with pytest.raises(UserError, match="not a crossview run"):
            check_free(folder(tmp_path / str(number), *names), overwrite=True)


@pytest.mark.parametrize("removed", range(1, 5))
def test_a_run_that_was_killed_while_it_was_replaced_is_replaced_again(
    tmp_path, monkeypatch, removed
):
    names = (ENVIRONMENT, RECIPE, "checkpoints/last.pt", "pictures/a.png", "suggest/a.png")
    folder(tmp_path, *names, "journal.jsonl", "model.pt", "bench.json")

    def stop(path, *_, **__):
        nonlocal removed
        if removed == 0:
            raise KeyboardInterrupt  # as a kill: nothing is done after it
        removed -= path.exists()
        shutil.rmtree(path) if path.is_dir() else original(path, missing_ok=True)

    original = run.Path.unlink
    monkeypatch.setattr(run.Path, "unlink", stop)
    monkeypatch.setattr(run.shutil, "rmtree", lambda path: stop(path) or None)
    with pytest.raises(KeyboardInterrupt):
        create(tmp_path, resolve("demo"), {})
    monkeypatch.undo()
    with pytest.raises(UserError, match="a run was being replaced here when its process was kill"):
        check_free(tmp_path, overwrite=False)
    check_free(tmp_path, overwrite=True)


def test_a_run_that_was_killed_before_its_report_is_finished_again(capsys, tmp_path, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    command = ("train", "demo", "--out", tmp_path / "run", *TINY)
    monkeypatch.setattr("crossview.reporting.page.write_report", stop)
    assert crossview(capsys, *command)[0] == 130
    monkeypatch.undo()
    assert crossview(capsys, *command, "--resume")[0] == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"report.html", "model.pt"} <= names
    assert len(RunFolder(tmp_path / "run").journal.of("finished")) == 1
