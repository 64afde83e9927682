"""Patients whom only the names of cases tell, and whom the roles of the cases divide."""

from __future__ import annotations

from crossview.core.text import count, first_few
from crossview.data.case import Splits
from crossview.data.checks.patients import described, divided

BEGIN = "By the names of the cases, "


def note(splits: Splits) -> tuple[str, ...]:
    """Return the note that cases of one patient are trained on and held out; () if none are.

    ``data.validation`` and folds deal patients, but without [patient] in split.toml each case is
    one. Cases whose patient is known are left out.
    """
    sides = {
        "training": (*splits.labelled, *splits.unlabelled),
        "validation": splits.validation,
        "test": splits.test,
    }
    side_of = {
        case.id: side for side, cases in sides.items() for case in cases if case.patient == case.id
    }
    patients = divided(side_of)
    if not patients:
        return ()
    verb = "is" if len(patients) == 1 else "are"
    return (
        f"{BEGIN}{count(len(patients), 'patient')} {verb} both trained on and held out: "
        f"{first_few(described(patients))}. Scores are too good then: say whose each case is in "
        "[patient] of split.toml.",
    )
