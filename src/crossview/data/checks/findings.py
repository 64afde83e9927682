"""Findings about the cases of a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from crossview.core.errors import Problem
from crossview.core.text import first_few
from crossview.data.checks.case import CaseFacts

Facts = Mapping[str, Sequence[CaseFacts]]
"""Facts by role: "labelled", "hidden", "unlabelled", "validation", "test", "unused"."""


Severity = Literal["error", "warning"]
"""error: the data cannot be trained on (exit code 2). warning: have a look."""


@dataclass(frozen=True)
class Finding:
    """A problem of a data set, and the ids of the cases that it concerns."""

    severity: Severity
    problem: Problem
    cases: tuple[str, ...] = ()


def about(
    severity: Severity,
    odd: Sequence[CaseFacts],
    nouns: str,
    what: str,
    *,
    shown: Callable[[CaseFacts], str] | None = None,
    expected: str = "",
    fix: str = "",
) -> list[Finding]:
    """Return one finding about all odd cases, none if there are none.

    Args:
        severity: Of the finding.
        odd: The cases.
        nouns: Singular and plural of what is counted, with the verb: "case has|cases have".
        what: The rest of the sentence.
        shown: The reason of each case, in brackets after its name.
        expected: The value expected.
        fix: An instruction to the user.
    """
    if not odd:
        return []
    names = tuple(fact.case.id for fact in odd)
    found = [f"{fact.case.id} ({shown(fact)})" for fact in odd] if shown else list(names)
    subject = f"{len(odd)} {nouns.split('|')[len(odd) > 1]}"
    problem = Problem(f"{subject} {what}", "", first_few(found), expected, fix)
    return [Finding(severity, problem, names)]
