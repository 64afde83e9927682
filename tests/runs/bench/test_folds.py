"""`crossview bench --folds` as a user runs it: every labelled case is tested by another run."""

import csv
import io
import json

import numpy as np
import pytest
from tests.helpers.command import crossview
from tests.helpers.tiny_suite import suite_file

ROWS = ("--only", "supervised", "--only", "cml labelled only")


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """A suite of two rows and two folds of nine labelled cases, as a key of its file."""
    folder = tmp_path_factory.mktemp("folds")
    return suite_file(
        folder,
        ("seeds = [1, 2]", "seeds = [1]\nfolds = 2"),
        ("total_steps = 4", "total_steps = 30"),
        ('"data.size=16"', '"data.labelled=9", "data.size=16"'),
    )


def test_the_table_pools_the_folds(capsys, suite):
    out = suite.parent / "out"
    arguments = ("bench", suite, "--out", out, *ROWS)
    code, text, _ = crossview(capsys, *arguments, "--dry-run")
    assert (code, "supervised, seed 1, fold 2 of 2: to do" in text) == (0, True)
    code, text, _ = crossview(capsys, *arguments)
    assert (code, "[4/4]" in text) == (0, True)
    tested, values = [], []
    for fold in (1, 2):
        run = out / "tiny" / f"supervised-seed1-fold{fold}"
        trained = json.loads((run / "environment.json").read_text())["labelled"]
        rows = csv.DictReader(io.StringIO((run / "evaluation" / "test" / "cases.csv").read_text()))
        own = [row for row in rows if not row["view"]]
        cases = [row["case"] for row in own]
        assert len(trained) == 3 + fold
        assert not set(cases) & set(trained)
        tested += cases
        values += [float(row["dice"]) for row in own]
    assert len(tested) == len(set(tested)) == 9
    found = list(csv.DictReader(io.StringIO((out / "compare.csv").read_text())))
    assert [row["method"] for row in found] == ["supervised", "cml labelled only"]
    assert np.mean(values) > 0
    assert float(found[0]["dice"]) == pytest.approx(np.mean(values), abs=1e-6)
    assert found[0]["predictions"] == "9"
    assert "The scores of all 9 cases are pooled" in (out / "compare.md").read_text()
    code, _, error = crossview(capsys, "compare", out / "tiny" / "supervised-seed1-fold1")
    assert (code, "no fold 2 of 2" in error) == (2, True)


def test_folds_that_cannot_be_dealt_are_refused_before_anything_is_written(capsys, suite, tmp_path):
    few = suite_file(tmp_path)  # four labelled cases, and four in a batch
    for arguments, told in (
        ((suite, "--folds", "10", *ROWS), "10 folds for 9 labelled patients"),
        ((few, "--folds", "2", *ROWS), "a fold leaves fewer labelled cases than a batch needs"),
        ((suite,), "the rows would be tested on different folds"),
        ((suite, "--folds", "1", *ROWS), "--folds"),
    ):
        code, _, error = crossview(capsys, "bench", *arguments, "--out", tmp_path / "out")
        assert (code, told in error) == (2, True), error
    assert not (tmp_path / "out").exists()
