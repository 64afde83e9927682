"""Run folders without case names: file names of hospital scans are often patients' names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from crossview.core.run_folder import History
from crossview.reporting.content import CaseScores, Evaluation, RunContent

HIDDEN = ("data", "command")
"""Entries of environment.json that contain paths."""


def without_names(run: RunContent) -> RunContent:
    """Return the run with each case and patient name replaced by "case 1", "case 2", ...

    A name is replaced wherever it is a whole word; the numbers follow the alphabet. Data paths and
    the command line are removed. Pictures are kept: they contain no names.
    """
    names = sorted(set(_names(run)))
    codes = {name: f"case {place}" for place, name in enumerate(names, 1)}
    environment = {
        key: _replaced(value, codes) for key, value in run.environment.items() if key not in HIDDEN
    }
    rows = tuple(_replaced(row, codes) for row in run.journal.rows)
    evaluations = tuple(_evaluation(evaluation, codes) for evaluation in run.evaluations)
    return replace(run, environment=environment, journal=History(rows), evaluations=evaluations)


def _names(run: RunContent) -> Iterable[str]:
    """Yield the names of cases and patients in all splits."""
    for key in ("labelled", "validation"):
        found = run.environment.get(key)
        yield from (str(name) for name in found) if isinstance(found, list) else ()
    for evaluation in run.evaluations:
        yield from (str(name) for name in evaluation.summary.get("cases") or [])
        for case in evaluation.cases:
            yield case.case
            yield from (case.patient,) if case.patient else ()


def _evaluation(evaluation: Evaluation, codes: Mapping[str, str]) -> Evaluation:
    def case(scores: CaseScores) -> CaseScores:
        return replace(scores, case=codes[scores.case], patient=codes.get(scores.patient, ""))

    pictures = {codes[name]: path for name, path in evaluation.pictures.items() if name in codes}
    cases = tuple(case(scores) for scores in evaluation.cases)
    return replace(
        evaluation,
        summary=_replaced(dict(evaluation.summary), codes),
        cases=cases,
        pictures=pictures,
    )


def _replaced(value: Any, codes: Mapping[str, str]) -> Any:
    """Return a JSON value with every name that is a whole word in one of its texts replaced."""
    if not codes:
        return value
    longest_first = "|".join(re.escape(name) for name in sorted(codes, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.-])({longest_first})(?![\w-])")

    def walk(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: walk(each) for key, each in part.items()}
        if isinstance(part, list):
            return [walk(each) for each in part]
        return pattern.sub(lambda found: codes[found[1]], part) if isinstance(part, str) else part

    return walk(value)
