"""A report is written whatever a value of a run's JSON files is, or their damage is told."""

import json
from contextlib import suppress
from copy import deepcopy

import pytest

from crossview.core.errors import UserError
from crossview.reporting.page import write_report

STRANGE = (1.5, "x", [[1]], {"": {}}, None, True)

PLAN = {
    "device": "CPU",
    "choices": [{"key": "data.spacing", "value": [1.0], "reason": "r"}],
    "fingerprint": {
        "ct": False,
        "channels": 1,
        "cases": [
            {"labelled": True, "shape": [4, 5, 6], "spacing": [1, 1, side], "percentiles": [[1, 2]]}
            for side in (1.0, 2.0)
        ],
    },
}


def places(tree):
    """Yield the way to every value of nested lists and dicts."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (key,)
        if isinstance(value, dict | list):
            yield from ((key, *more) for more in places(value))


def replaced(tree, place, value):
    made = part = deepcopy(tree)
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return made


FILES = ("evaluation/test/summary.json", "environment.json", "plan.json")


def assert_taken_or_refused(make_run, file, deepest, values):
    """Write reports with each value of a file replaced in turn."""
    run = make_run(dice={"a": [0.0, 0.9], "b": [0.8, 0.7]}, pictures=False)
    (run / "plan.json").write_text(json.dumps(PLAN))
    path, written = run / file, 0
    whole = json.loads(path.read_text())
    every = [place for place in places(whole) if len(place) <= deepest]
    for number, place in enumerate(every):
        for value in values:
            path.write_text(json.dumps(replaced(whole, place, value)))
            with suppress(UserError):
                write_report(run, names=number % 2 == 0, path=run / "page.html")
                written += 1
    assert written >= len(every) * len(values) / 2


@pytest.mark.parametrize("file", FILES)
def test_a_report_takes_or_refuses_a_number_for_any_list(make_run, file):
    assert_taken_or_refused(make_run, file, 1, [1.5])


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_a_report_takes_or_refuses_any_value(make_run, file):
    assert_taken_or_refused(make_run, file, 4, STRANGE)
