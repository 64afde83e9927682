"""The journal of a run: rows are appended, and cut where a run is resumed."""

import json

from crossview.core.journal import Journal, read_journal


def journal(folder, *rows):
    writer = Journal(folder / "journal.jsonl")
    for row in rows:
        writer.append(**row)
    return writer


def test_rows_after_a_checkpoint_are_cut_with_the_start_of_a_stage(tmp_path):
    writer = journal(
        tmp_path,
        *({"kind": "step", "total_step": step} for step in (1, 2, 3)),
        {"kind": "stage", "total_step": 2},
        {"kind": "finished", "total_step": 2},  # killed before its model was written
    )
    writer.cut_after(2)
    assert [(row["kind"], row["total_step"]) for row in read_journal(writer.path)] == [
        ("step", 1),
        ("step", 2),
    ]


def test_numbers_that_are_not_finite_are_written_as_null(tmp_path):
    writer = journal(tmp_path, {"kind": "step", "loss": float("nan"), "terms": {"a": float("inf")}})
    assert json.loads(writer.path.read_text()) == {
        "kind": "step",
        "loss": None,
        "terms": {"a": None},
    }
