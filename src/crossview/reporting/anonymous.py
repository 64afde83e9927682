"""Run folders without case names: file names of hospital scans are often patients' names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from crossview.core import text
from crossview.core.journal import History
from crossview.reporting.content import RunContent

HIDDEN = ("data", "command", "precision_of")
"""Entries of environment.json that contain paths or names of folders."""

OF_START = "run"
"""Such an entry of the table ``from``."""


def without_names(run: RunContent) -> RunContent:
    """Return the run with each case and patient name replaced by "case 1", "case 2", ...

    A name is replaced wherever it is a whole word; the numbers follow the alphabet. Paths and
    the command line are removed. Pictures are kept: they contain no names.
    """
    codes = {name: f"case {place}" for place, name in enumerate(sorted(set(_names(run))), 1)}
    hide = _replacer(codes)
    return replace(
        run,
        shown_as="RUN",
        plan=hide(dict(run.plan)),
        training_by=run.training_by and "another process",
        environment=hide(_without_places(run.environment)),
        journal=History(tuple(hide(row) for row in run.journal.rows)),
        evaluations=tuple(
            replace(
                evaluation,
                summary=hide(dict(evaluation.summary)),
                cases=tuple(
                    replace(case, case=codes[case.case], patient=codes.get(case.patient, ""))
                    for case in evaluation.cases
                ),
                pictures={
                    codes[name]: path for name, path in evaluation.pictures.items() if name in codes
                },
            )
            for evaluation in run.evaluations
        ),
    )


def _without_places(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return environment.json without the entries that say where something is."""
    shown = {key: value for key, value in environment.items() if key not in HIDDEN}
    if start := text.table(shown.get("from")):
        shown["from"] = {key: value for key, value in start.items() if key != OF_START}
    return shown


def _names(run: RunContent) -> Iterable[str]:
    """Yield the names of cases and patients in all splits."""
    for key in ("labelled", "validation"):
        found = run.environment.get(key)
        yield from (str(name) for name in found) if isinstance(found, list) else ()
    for name, case in run.folder.training_cases.items():
        yield name
        yield str(text.table(case).get("patient") or name)
    for evaluation in run.evaluations:
        yield from (str(name) for name in text.array(evaluation.summary.get("cases")))
        for case in evaluation.cases:
            yield case.case
            yield from (case.patient,) if case.patient else ()


def _replacer(codes: Mapping[str, str]) -> Callable[[Any], Any]:
    """Return a function that replaces names in the texts of a JSON value, where whole words."""
    longest_first = "|".join(re.escape(name) for name in sorted(codes, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.-])({longest_first})(?![\w-])")

    def hide(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: hide(each) for key, each in part.items()}
        if isinstance(part, list):
            return [hide(each) for each in part]
        return pattern.sub(lambda found: codes[found[1]], part) if isinstance(part, str) else part

    return hide if codes else lambda part: part
