"""Rows with the training time of another row: steps from recorded paces, the same for all seeds."""

import csv
import io
import json
import shutil

import pytest
from tests.helpers.command import crossview
from tests.helpers.tiny_suite import suite_file

from crossview.core.errors import UserError
from crossview.evaluation.pace import undisturbed_seconds
from crossview.runs.bench.suite import load_suite

ROW = """
[[methods]]
label = "supervised equal time"
name = "supervised"
time_of = "cml labelled only"
"""


def with_row(folder, row=ROW):
    path = suite_file(folder)
    path.write_text(path.read_text() + row)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The rows of one seed on which the time depends, trained by the command."""
    folder = tmp_path_factory.mktemp("time")
    suite = with_row(folder)
    from crossview import bench

    rows = ("supervised", "cml labelled only")
    assert not bench(suite, folder / "out", only=rows, seeds=1).failed
    return folder


def set_seconds(run, seconds) -> None:
    """Change the recorded time of a finished run."""
    rows = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    for row in rows:
        if row["kind"] == "finished":
            row["seconds"] = seconds
    (run / "journal.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_row_gets_the_steps_that_fit_into_the_time(capsys, trained, tmp_path):
    """By hand: 4 steps in 8 s are 2 s a step; the other row took 13 s, so 6.5 steps: 6."""
    shutil.copytree(trained, tmp_path / "copy")
    suite, out = tmp_path / "copy" / "tiny.toml", tmp_path / "copy" / "out"
    set_seconds(out / "tiny" / "supervised-seed1", 8.0)
    set_seconds(out / "tiny" / "cml-labelled-only-seed1", 13.0)
    command = ("bench", suite, "--out", out, "--only", "supervised equal time")
    code, _, error = crossview(capsys, *command, "--seeds", "1")
    assert code == 0, error
    assert (
        "differ in steps: supervised 4, cml labelled only 4, supervised equal time 6"
        in (out / "compare.md").read_text()
    )
    # A later seed has the same steps, though the times of its own rows may differ.
    set_seconds(out / "tiny" / "cml-labelled-only-seed1", 99.0)
    code, _, error = crossview(capsys, *command)
    assert code == 0, error
    rows = list(csv.DictReader(io.StringIO((out / "compare.csv").read_text())))
    assert [(row["seed"], row["steps"]) for row in rows if "equal" in row["method"]] == [
        ("1", "6"),
        ("2", "6"),
    ]


def test_a_time_that_cannot_become_known_is_refused(capsys, trained, tmp_path):
    suite = trained / "tiny.toml"
    command = ("bench", suite, "--only", "supervised equal time", "--seeds", "1")
    code, _, error = crossview(capsys, *command, "--out", tmp_path / "out")
    assert (code, "no run of 'cml labelled only'" in error) == (2, True)
    assert not (tmp_path / "out").exists()
    shutil.copytree(trained / "out", tmp_path / "out")
    file = tmp_path / "out" / "tiny" / "supervised-seed1" / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"device_name": "another"}))
    code, _, error = crossview(capsys, *command, "--out", tmp_path / "out")
    assert (code, "the times of the rows are of different devices" in error) == (2, True)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('time_of = "cml labelled only"', 'time_of = "cml labeled only"', "did you mean cml"),
        ('name = "supervised"', 'name = "cps"', "add a row with the same name and set"),
        ("time_of", 'set = ["network.dropout=0.1"]\ntime_of', "the pace of the row is unknown"),
    ],
)
def test_a_row_whose_time_has_no_meaning_is_refused(tmp_path, old, new, told):
    with pytest.raises(UserError, match=told):
        load_suite(with_row(tmp_path, ROW.replace(old, new)))


def test_other_programs_count_little(trained, tmp_path):
    """By hand: of ten intervals of two steps, six take 1 s a step and four were held up."""
    shutil.copytree(trained / "out" / "tiny" / "supervised-seed1", tmp_path / "run")
    paces = [1, 7, 1, 1, 9, 1, 30, 1, 5, 1]
    seconds = [2 * sum(paces[:number]) for number in range(11)]
    rows = [
        {"kind": "step", "stage": "train", "total_step": 2 * number, "seconds": at}
        for number, at in enumerate(seconds)
    ]
    rows.append({"kind": "finished", "total_step": 4, "seconds": 500.0})
    journal = tmp_path / "run" / "journal.jsonl"
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert undisturbed_seconds(tmp_path / "run") == pytest.approx(4.0)
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows[-3:]))
    assert undisturbed_seconds(tmp_path / "run") == pytest.approx(500.0)
