"""A report that can be shown to others: no name of a case in it."""

import json

from crossview.reporting.anonymous import without_names
from crossview.reporting.content import read_content
from crossview.reporting.page import write_report


def named(make_run):
    run = make_run(dice={"Meier_Berta": [0.0, 0.9], "Kurz.2": [0.8, 0.7], "Lang": [0.9, 0.9]})
    environment = json.loads((run / "environment.json").read_text())
    environment |= {
        "labelled": ["Meier_Anna", "Meier_Anna-2"],
        "validation": ["Kurz"],
        "data": "/hospital/Kurz",
        "notes": ["Validation: Kurz, not trained on."],
        "command": "crossview train folder --data /hospital/Kurz",
    }
    (run / "environment.json").write_text(json.dumps(environment))
    return run


def test_no_name_is_left_on_the_page(make_run):
    run = named(make_run)
    names = [case.case for evaluation in read_content(run).evaluations for case in evaluation.cases]
    assert names
    page = write_report(run, names=False, path=run / "shared.html").read_text()
    for name in ("Meier", "Kurz", "/hospital"):
        assert name not in page
    for name in names:
        assert f"<b>{name}</b>" not in page
        assert f">{name}<" not in page
    assert "Validation: case " in page
    assert "Kurz" in write_report(run).read_text()


def test_scores_and_pictures_stay_with_their_case(make_run):
    run = read_content(named(make_run))
    hidden = without_names(run)
    for before, after in zip(run.evaluations, hidden.evaluations, strict=True):
        assert [case.mean("dice") for case in before.cases] == [
            case.mean("dice") for case in after.cases
        ]
        for old, new in zip(before.cases, after.cases, strict=True):
            assert old.case != new.case
            assert before.pictures.get(old.case) == after.pictures.get(new.case)


def test_a_name_is_replaced_as_a_whole_word_only(make_run):
    hidden = without_names(read_content(named(make_run)))
    first, second = hidden.environment["labelled"]
    assert first != second
    assert {first, second}.isdisjoint(hidden.environment["validation"])
    assert all(text.startswith("case ") for text in (first, second))
