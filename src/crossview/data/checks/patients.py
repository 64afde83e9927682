"""Patients in the names of cases: told by words, or learned from the names of the whole set."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

_PATIENT = re.compile(
    r"(?:sub-[a-z0-9]+|(?:subject|subj|patient|person|pat|case)[-_]?\d+)(?=[-_.])"
    r"|(?:tcga[-_][a-z0-9]{2}[-_][a-z0-9]{4}|\d{3}_s_\d{4})(?=[-_.]|$)",
    re.IGNORECASE,
)
"""A patient at the start of a name: BIDS, words, and the barcodes of TCGA and ADNI."""

_SLICE = r"slice|sl|image|img|im|frame|fr|z"

_REPEAT = re.compile(
    r"[-_.](?:left|right|l|r|pre|post|baseline|follow-?up|ed|es|sax|lax|[234]ch"
    rf"|(?:session|ses|visit|scan|time|tp|day|week|month|repeat|run|phase|series|{_SLICE})[-_]?\d+"
    r"|(?:eq|tilt)(?:[-_]\d+)?"  # by dcm2niix, beside a series of uneven slices
    r"|im-\d+-\d+)$",  # DICOM exports: series and instance
    re.IGNORECASE,
)

_INSTANCE = re.compile(r"(im-\d+)-\d+", re.IGNORECASE)
"""A DICOM export without the patient: slices of one series are of one patient."""

_NUMBERED = re.compile(
    r"(?P<stem>(?:.*[-_])?(?P<word>[a-z]*)(?P<number>\d+))"
    r"[-_](?P<last>[a-z]{0,5}|(?:slice|image|frame|img|sl|z)[-_])\d+",
    re.IGNORECASE,
)
"""A number, then another one: of the patient and of the slice, unless their words say otherwise."""

_DATE = re.compile(
    r"(?<!\d)(?:19|20)\d\d(?:[-_]?(?:0[1-9]|1[0-2])(?:[-_]?[0-3]\d)?)?$|(?<=[A-Za-z]{4})[12]\d$"
)
"""A year, a year of two digits as data sets bear it, a month or a day at the end of a stem."""

_GROUPS = re.compile(
    r"site|cent(?:er|re)|hospital|clinic|vendor|scanner|set|dataset|task|fold|batch|group|cohort"
    r"|train|training|test|val|validation|class|grade|year|release|version|ver|v|part|t|b",
    re.IGNORECASE,
)
"""Words whose number counts groups of patients, or versions and sequences (T1, b1000)."""

_PATIENTS = re.compile(r"(?:case|patient|pat|p|subject|subj|sub|person|id|vol)[-_]?", re.IGNORECASE)
"""Words whose number counts patients, so what comes before is a group of them."""


def divided(side_of: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """Return the patients that names suggest on several sides, each with its names by side.

    side_of: by the name of a case "training", "validation" or "test".
    """
    by_patient: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, patient in patients_in(side_of).items():
        by_patient[patient][side_of[name]].append(name)
    return {patient: sides for patient, sides in by_patient.items() if len(sides) > 1}


def described(patients: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    """Return divided patients in words: "p3 (training: p3_s0 and 1 more; test: p3_s2)"."""
    return [
        f"{patient} ({'; '.join(_in_side(side, names) for side, names in sides.items())})"
        for patient, sides in patients.items()
    ]


def _in_side(side: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{side}: {names[0]}{more}"


def patients_in(names: Iterable[str]) -> dict[str, str]:
    """Return, by name, the patient that it suggests, or the name itself.

    "sub-07" for "sub-07_ses-2" and "B4" for "B4_left", by their words. "p12" for "p12_s003" if the
    set holds "p13_s001" too: where both numbers vary, the second counts slices or visits. The
    numbers of "hippocampus_001" or "site2_014" count patients.
    """
    told = {name: patient_in(name) for name in names}
    shapes: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, patient in told.items():
        match = _NUMBERED.fullmatch(name)
        if match and patient == name and not _PATIENT.match(name) and _counts_patients(match):
            shape = re.sub(r"\d+", "0", f"{match['stem']}|{match['last']}")
            shapes[shape][match["stem"]].append(name)
    for stems in shapes.values():
        if len(stems) > 1 and not all(map(_DATE.search, stems)):
            told |= {name: stem for stem, of_stem in stems.items() for name in of_stem}
    return told


def _counts_patients(match: re.Match[str]) -> bool:
    """Return True if the words beside a name's first number allow that it counts patients."""
    before = re.split(r"[-_]", match["stem"])
    word = match["word"] or (before[-2] if len(before) > 1 else "")
    return not (_GROUPS.fullmatch(word) or _PATIENTS.fullmatch(match["last"]))


def patient_in(name: str) -> str:
    """Return the patient that the words of a name tell, or the name itself."""
    if match := _PATIENT.match(name):
        return match[0]
    if match := _INSTANCE.fullmatch(name):
        return match[1]
    while _REPEAT.search(name):
        name = _REPEAT.sub("", name)
    return name
