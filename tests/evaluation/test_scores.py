"""Files of scores: written whole, read back as they were, refused where broken."""

from __future__ import annotations

import json
import math

import pytest
from tests.helpers.made_scores import BOTH_EMPTY, MISSED, good, scores, summary_of

from crossview.core.errors import UserError
from crossview.core.run_folder import EvaluationFolder
from crossview.evaluation.scores import (
    COLUMNS,
    is_the_answer,
    read_cases,
    read_summary,
    write,
)


def test_written_and_read_back(tmp_path):
    everything = scores(
        {"a": [good(1 / 3, hd95=math.pi), MISSED], '<b>, "c"': [BOTH_EMPTY, good(0.5)]}
    )
    everything += scores({"a": [good(0.8), good(0.7)]}, "view1")
    summary = summary_of(everything)
    write(tmp_path / "evaluation" / "test", summary, everything)
    folder = tmp_path / "evaluation" / "test"
    assert sorted(path.name for path in folder.iterdir()) == ["cases.csv", "summary.json"]
    assert read_summary(EvaluationFolder(folder)) == summary
    assert (folder / "cases.csv").read_text().splitlines()[
        0
    ] == "case,patient,view,class,dice,jaccard,hd95,asd,assd,empty"
    for before, after in zip(everything, read_cases(EvaluationFolder(folder)), strict=True):
        assert (before.case, before.patient, before.view, before.label_class) == (
            after.case,
            after.patient,
            after.view,
            after.label_class,
        )
        assert before.measures.empty == after.measures.empty
        for name in ("dice", "jaccard", "hd95", "asd", "assd"):
            assert getattr(after.measures, name) == pytest.approx(
                getattr(before.measures, name), abs=0, rel=0, nan_ok=True
            )


def test_json_holds_null_and_no_nan(tmp_path):
    everything = scores({"a": [BOTH_EMPTY], "b": [MISSED]})
    write(tmp_path, summary_of(everything), everything)
    text = (tmp_path / "summary.json").read_text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
    assert found["mean"]["hd95"] == {"mean": None, "sd": None, "ci95": None, "n": 0}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    old = scores({"a": [good(0.9)]})
    write(tmp_path, summary_of(old), old)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(
        "crossview.core.files.os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, summary_of(old, seed=8), old)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_reading_what_is_not_there_or_broken(tmp_path):
    folder = EvaluationFolder(tmp_path)
    for read in (read_summary, read_cases):
        with pytest.raises(UserError, match="crossview evaluate"):
            read(folder)
    for text in ("{", "[]", '{"format": 2}', "\xff"):
        (tmp_path / "summary.json").write_text(text, encoding="latin-1")
        with pytest.raises(UserError, match=r"summary\.json"):
            read_summary(folder)
    header = ",".join(COLUMNS)
    for text in (
        "",
        "case\n",
        f"{header}\na,p,,one,1,1,1,1,1,\n",
        f"{header}\na,p,,1,high,1,1,1,1,\n",
        f"{header}\na,p,,1,,,,,,lost\n",
        f"{header}\na\n",
    ):
        (tmp_path / "cases.csv").write_text(text)
        with pytest.raises(UserError, match=r"cases\.csv"):
            read_cases(folder)


@pytest.mark.parametrize(
    "strange", [None, True, [], "x", 1.5, {}, {"dice": 1}, {"dice": {"mean": 1}}]
)
def test_a_strange_summary_has_no_answer_of_one_view(strange):
    right = {"mean": {"dice": {"mean": 0.5}}}
    assert not is_the_answer(right, {"mean": strange})
    assert not is_the_answer({"mean": strange}, right)
    assert is_the_answer(right, right)
