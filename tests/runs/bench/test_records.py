"""Records of runs, by the command: a table of them alone, and a suite that needs no training."""

import csv
import json
import re
import shutil
import sys

import pytest
from benchmarks.record import main as record_main
from tests.helpers.command import crossview
from tests.helpers.tiny_suite import suite_file

RUNS = ("supervised", "cml-labelled-only", "all-labels")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished suite, its table, and its records."""
    from crossview.runs.bench.bench import bench

    folder = tmp_path_factory.mktemp("records")
    result = bench(suite_file(folder), folder / "out", records=folder / "records")
    assert not result.failed
    return folder


@pytest.fixture
def copied(made, tmp_path):
    """The same, to be spoilt."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def rows(file):
    return list(csv.DictReader(file.read_text().splitlines()))


def assert_same_tables(one, other):
    """Equal but for the last digits of the numbers."""
    assert len(one) == len(other) > 0
    for ours, theirs in zip(one, other, strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            if re.fullmatch(r"-?\d+\.\d+", value):
                assert float(theirs[key]) == pytest.approx(float(value), abs=1e-5), key
            else:
                assert theirs[key] == value, key


def test_each_run_of_a_suite_has_a_record(made):
    names = {f"tiny-{run}-seed{seed}.json" for run in RUNS for seed in (1, 2)}
    assert {path.name for path in (made / "records").iterdir()} == names
    content = json.loads((made / "records" / "tiny-supervised-seed1.json").read_text())
    assert content["suite"] == json.loads(
        (made / "out" / "tiny" / "supervised-seed1" / "bench.json").read_text()
    )
    assert [line["view"] for line in content["cases"]["scores"]][:1] == [""]
    assert "data" not in content["environment"]
    assert str(made) not in json.dumps(content)
    largest = max(path.stat().st_size for path in (made / "records").iterdir())
    assert largest < 30_000, "records are to be committed"


def test_the_table_of_the_records_is_that_of_the_runs(capsys, copied):
    records = sorted((copied / "records").iterdir())
    runs = [copied / "out" / "tiny" / path.stem.removeprefix("tiny-") for path in records]
    assert crossview(capsys, "compare", *runs, "--out", copied / "runs.csv")[0] == 0
    shutil.rmtree(copied / "out")
    code, _, err = crossview(capsys, "compare", *records, "--out", copied / "records.csv")
    assert (code, err) == (0, "")
    assert {row["protocol"] for row in rows(copied / "records.csv")} == {"equal"}
    assert_same_tables(rows(copied / "runs.csv"), rows(copied / "records.csv"))


def test_a_suite_whose_records_are_there_trains_nothing(capsys, copied):
    before = rows(copied / "out" / "compare.csv")
    shutil.rmtree(copied / "out")
    arguments = (copied / "tiny.toml", "--out", copied / "out", "--records", copied / "records")
    code, out, _ = crossview(capsys, "bench", *arguments, "--dry-run")
    assert (code, "6 of 6 runs are done" in out, "tiny-supervised-seed1.json" in out) == (
        0,
        True,
        True,
    )
    code, out, err = crossview(capsys, "bench", *arguments)
    assert code == 0, err
    assert "[1/6]" not in out
    assert sorted(path.name for path in (copied / "out").iterdir()) == [
        "compare.csv",
        "compare.html",
        "compare.md",
    ]
    assert_same_tables(before, rows(copied / "out" / "compare.csv"))


def test_a_suite_over_several_machines(capsys, copied):
    """A run without record or folder is trained; the table holds the records of the others too."""
    before = rows(copied / "out" / "compare.csv")
    shutil.rmtree(copied / "out")
    missing = copied / "records" / "tiny-all-labels-seed2.json"
    missing.unlink()
    code, out, err = crossview(
        capsys,
        "bench",
        copied / "tiny.toml",
        "--out",
        copied / "out",
        "--records",
        copied / "records",
    )
    assert code == 0, err
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("[")] == [
        "[6/6] all labels, seed 2"
    ]
    assert [path.name for path in (copied / "out" / "tiny").iterdir()] == ["all-labels-seed2"]
    assert missing.exists()
    after = rows(copied / "out" / "compare.csv")
    for row in (*before, *after):
        row["seconds"] = ""
    assert_same_tables(before, after)


def test_runs_that_are_done_get_their_records(capsys, copied):
    shutil.rmtree(copied / "records")
    code, out, _ = crossview(
        capsys,
        "bench",
        copied / "tiny.toml",
        "--out",
        copied / "out",
        "--records",
        copied / "records",
    )
    assert (code, "[1/6]" in out) == (0, False)
    assert len(list((copied / "records").iterdir())) == 6


def changed(file, **keys):
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | keys))


def test_a_record_of_another_recipe_is_refused(capsys, copied):
    shutil.rmtree(copied / "out")
    suite = suite_file(
        copied, ('"training.log_every=1",', '"training.log_every=1", "training.momentum=0.5",')
    )
    code, out, err = crossview(
        capsys, "bench", suite, "--out", copied / "out", "--records", copied / "records"
    )
    assert (code, out) == (2, "")
    for words in (
        "training.momentum",
        "has changed in the suite",
        "0.5",
        "0.9",
        "tiny-supervised-seed1.json",
    ):
        assert words in err
    assert not (copied / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda file: file.write_text("{"), "not a record of a run"),
        (lambda file: changed(file, suite=None), "the record's run is not from a suite"),
        (
            lambda file: shutil.copyfile(file.with_name("tiny-supervised-seed2.json"), file),
            "the record is of a different run",
        ),
        (
            lambda file: shutil.copyfile(file.with_name("tiny-all-labels-seed1.json"), file),
            "the record is of a different run",
        ),
        (
            lambda file: file.write_text(json.dumps({"recipe": {}, "summary": {}})),
            "the record is incomplete",
        ),
        (
            lambda file: changed(
                file, summary=json.loads(file.read_text())["summary"] | {"partial": True}
            ),
            "of a partial evaluation",
        ),
    ],
)
def test_a_record_that_can_not_stand_for_its_run_is_refused(capsys, copied, spoil, told):
    file = copied / "records" / "tiny-supervised-seed1.json"
    spoil(file)
    stamps = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    code, out, err = crossview(
        capsys,
        "bench",
        copied / "tiny.toml",
        "--out",
        copied / "out",
        "--records",
        copied / "records",
    )
    assert (code, out) == (2, "")
    assert told in err
    assert str(file) in err
    assert stamps == {path: path.stat().st_mtime_ns for path in copied.rglob("*")}


def test_compare_refuses_a_record_without_cases_and_of_another_split(capsys, copied):
    file = copied / "records" / "tiny-supervised-seed1.json"
    code, _, err = crossview(capsys, "compare", file, "--split", "validation")
    assert (code, "of another split" in err) == (2, True)
    content = json.loads(file.read_text())
    del content["cases"]
    file.write_text(json.dumps(content))
    code, _, err = crossview(capsys, "compare", file)
    assert (
        code,
        "no cases" in err,
        "python -m benchmarks.record" in err,
    ) == (2, True, True)


def test_a_record_whose_scores_were_cut_is_refused(capsys, copied):
    file = copied / "records" / "tiny-supervised-seed1.json"
    content = json.loads(file.read_text())
    content["cases"]["scores"][0]["dice"].pop()
    file.write_text(json.dumps(content))
    code, _, err = crossview(capsys, "compare", file)
    assert (code, "don't fit together" in err) == (2, True)


def test_recording_by_hand(capsys, monkeypatch, copied):
    run = copied / "out" / "tiny" / "cml-labelled-only-seed1"
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "record",
            str(run),
            "--out",
            str(copied / "mine"),
            "--tag",
            "short",
            "--note",
            "six steps",
        ],
    )
    record_main()
    [file] = (copied / "mine").iterdir()
    assert file.name == "tiny-cml-labelled-only-seed1-short.json"
    kept = json.loads((copied / "records" / "tiny-cml-labelled-only-seed1.json").read_text())
    assert json.loads(file.read_text()) == kept | {"note": "six steps"}
    shutil.rmtree(run / "evaluation")
    with pytest.raises(SystemExit, match="there is no evaluation"):
        record_main()
