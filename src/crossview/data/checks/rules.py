"""Rules for a data set as a whole. Each reads the facts of all cases and reports the violations."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem
from crossview.core.text import first_few
from crossview.data.checks.case import CaseFacts
from crossview.data.io.scan import LARGEST
from crossview.data.sources.folder import FEWEST_LABELLED, too_few_labelled

Facts = Mapping[str, Sequence[CaseFacts]]
"""Facts by role: "labelled", "hidden", "unlabelled", "validation", "test", "unused"."""


SPACING_FACTOR = 3


INTENSITY_FACTOR = 10


VARIES = ", or no further out than other cases if the data set varies more"


DEVIATIONS = 5
"""Minimum distance of an outlier from the median, in robust standard deviations of logarithms.

A robust standard deviation is 1.4826 times the median absolute deviation.
"""


FEWEST_COMPARED = 5
"""Minimum number of cases for a meaningful median."""


HELD_OUT = ("validation", "test")


Severity = Literal["error", "warning"]
"""error: the data cannot be trained on (exit code 2). warning: have a look."""


@dataclass(frozen=True)
class Finding:
    """A problem of a data set, and the ids of the cases that it concerns."""

    severity: Severity
    problem: Problem
    cases: tuple[str, ...] = ()


def check_set(facts: Facts, classes: int | None, where: str) -> list[Finding]:
    """Return every finding over all cases, errors first.

    Args:
        facts: Facts of the cases by role.
        classes: Number of classes if the source or dataset.json states it, else None.
        where: Folder of the data set, for messages.
    """
    every = [fact for of_role in facts.values() for fact in of_role]
    findings = [
        Finding("error", problem, (fact.case.id,)) for fact in every for problem in fact.problems
    ]
    if every and len(facts.get("labelled", ())) < FEWEST_LABELLED:
        findings.append(Finding("error", too_few_labelled(len(facts.get("labelled", ())), where)))
    findings += _classes(facts.get("labelled", ()), classes, where)
    findings += _background_only(every)
    findings += _constant(every)
    findings += _duplicates(facts, where)
    findings += _channels(every)
    findings += _spacing(every)
    findings += _too_large(every)
    findings += _intensity(every)
    findings += _patients(facts)
    return sorted(findings, key=lambda finding: finding.severity)


def _classes(labelled: Sequence[CaseFacts], classes: int | None, where: str) -> list[Finding]:
    """Find classes that never occur in the training labels.

    Label values with more gaps than classes are probably not class numbers: an error.
    """
    values = sorted({value for fact in labelled for value in fact.label_counts})
    if not values:
        return []
    if not any(values):
        fix = "check how the labels were exported"
        return [
            Finding(
                "error",
                Problem(
                    "every label contains background only",
                    where,
                    "value 0 only",
                    "at least one foreground class",
                    fix,
                ),
            )
        ]
    missing = [
        value for value in range(1, max(classes or 0, values[-1] + 1)) if value not in values
    ]
    if not missing:
        return []
    found, present = (
        f"values {', '.join(map(str, values))}",
        len([value for value in values if value]),
    )
    if len(missing) > present and classes is None:
        fix = "number the classes 0 (background), 1, 2, ... in every label"
        problem = Problem(
            "the label values are not consecutive class numbers",
            where,
            found,
            f"0 to {present}",
            fix,
        )
        return [Finding("error", problem)]
    what = (
        f"class {missing[0]} never occurs"
        if len(missing) == 1
        else f"classes {', '.join(map(str, missing))} never occur"
    )
    fix = "label a case that shows it, or number the classes without gaps"
    return [
        Finding(
            "warning", Problem(f"{what} in the training labels", where, found, "every class", fix)
        )
    ]


def _background_only(every: Sequence[CaseFacts]) -> list[Finding]:
    names = [fact.case.id for fact in every if set(fact.label_counts) == {0}]
    if not names:
        return []
    what = f"{_labels(len(names))} background only"
    fix = (
        "ignore this if these scans do not show the structure; "
        "delete the label file of a scan that nobody has labelled"
    )
    return [Finding("warning", Problem(what, "", first_few(names), fix=fix), tuple(names))]


def _labels(count: int) -> str:
    return "1 label contains" if count == 1 else f"{count} labels contain"


def _constant(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find images with a single value.

    With a label this is an error, because the label must belong to another image. Without one such
    a scan only teaches nothing.
    """
    findings = []
    severities: tuple[Severity, ...] = ("error", "warning")
    for severity in severities:
        names = [
            fact.case.id
            for fact in every
            if _is_constant(fact) and bool(fact.label_counts) == (severity == "error")
        ]
        if names:
            what = (
                "1 image contains a single value"
                if len(names) == 1
                else f"{len(names)} images contain a single value"
            )
            findings.append(
                Finding(
                    severity,
                    Problem(what, "", first_few(names), fix="exclude it or export it again"),
                    tuple(names),
                )
            )
    return findings


def _is_constant(fact: CaseFacts) -> bool:
    return bool(fact.extremes) and all(low == high for low, high in fact.extremes)


def _duplicates(facts: Facts, where: str) -> list[Finding]:
    """Find images with the same content, and labels that different images share.

    Copies are an error if one is trained on and another is scored.
    """
    side_of = {fact.case.id: _side(role) for role, of_role in facts.items() for fact in of_role}
    telling = [
        fact
        for of_role in facts.values()
        for fact in of_role
        if fact.digest and not _is_constant(fact)
    ]
    same = [
        [fact.case.id for fact in group] for group in _groups(telling, lambda fact: fact.digest)
    ]
    leaks = [names for names in same if len({side_of[name] for name in names} - {"unused"}) > 1]
    others = [names for names in same if names not in leaks]
    labels = _groups(
        [fact for fact in telling if any(fact.label_counts)], lambda fact: fact.label_digest
    )
    shared = [
        [fact.case.id for fact in group]
        for group in labels
        if len({fact.digest for fact in group}) > 1
    ]
    return [
        *_copies(
            "error",
            leaks,
            "are copies of each other across training, validation and test",
            "keep only one of them",
            where,
        ),
        *_copies("warning", others, "are copies of each other", "keep only one of them", where),
        *_copies(
            "warning",
            shared,
            "differ but have identical labels",
            "check which image the label belongs to",
            where,
        ),
    ]


def _copies(
    severity: Severity, groups: list[list[str]], what: str, fix: str, where: str
) -> list[Finding]:
    """Return one finding for all groups of cases, or none if there are no groups."""
    names = tuple(name for group in groups for name in group)
    found = first_few([" = ".join(group) for group in groups])
    return (
        [Finding(severity, Problem(f"{len(names)} images {what}", where, found, fix=fix), names)]
        if groups
        else []
    )


def _side(role: str) -> str:
    return role if role in (*HELD_OUT, "unused") else "training"


def _groups(facts: Iterable[CaseFacts], key: Callable[[CaseFacts], str]) -> list[list[CaseFacts]]:
    groups: dict[str, list[CaseFacts]] = defaultdict(list)
    for fact in facts:
        groups[key(fact)].append(fact)
    return [group for group in groups.values() if len(group) > 1]


def _channels(every: Sequence[CaseFacts]) -> list[Finding]:
    groups: dict[int, list[str]] = defaultdict(list)
    for fact in every:
        if fact.channels:
            groups[fact.channels].append(fact.case.id)
    if len(groups) < 2:
        return []
    usual = max(groups, key=lambda count: len(groups[count]))
    names = [name for count, of_count in groups.items() if count != usual for name in of_count]
    return [
        Finding(
            "error",
            Problem(
                "images have different numbers of channels",
                "",
                first_few(names),
                f"{usual}, as in the other images",
            ),
            tuple(names),
        )
    ]


def _spacing(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find cases whose spacing is an outlier, by ``SPACING_FACTOR``, along some axis."""
    known = [fact for fact in every if fact.spacing]
    if len(known) < FEWEST_COMPARED or len({len(fact.spacing or ()) for fact in known}) > 1:
        return []
    sides = np.array([fact.spacing for fact in known])
    far = np.any([_outliers(axis, SPACING_FACTOR) for axis in sides.T], axis=0)
    odd = [known[place] for place in np.flatnonzero(far)]
    if not odd:
        return []
    found = first_few(
        [
            f"{fact.case.id} ({' x '.join(f'{side:.3g}' for side in fact.spacing or ())} mm)"
            for fact in odd
        ]
    )
    usual = " x ".join(f"{side:.3g}" for side in np.median(sides, axis=0))
    what = f"{_cases(len(odd))} an unusual voxel spacing"
    expected = f"within a factor of {SPACING_FACTOR} of the median {usual} mm{VARIES}"
    return [
        Finding(
            "warning",
            Problem(what, "", found, expected, "check the headers"),
            tuple(fact.case.id for fact in odd),
        )
    ]


def _too_large(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find scans that resampling to the median spacing would make larger than any scan."""
    known = [fact for fact in every if fact.spacing]
    if not known or len({len(fact.spacing or ()) for fact in known}) > 1:
        return []
    usual = np.median([fact.spacing for fact in known], axis=0)
    voxels = [float(np.prod(np.array(fact.shape[1:]) * fact.spacing / usual)) for fact in known]
    odd = [fact for fact, count in zip(known, voxels, strict=True) if count > LARGEST]
    if not odd:
        return []
    found = first_few(
        [
            f"{fact.case.id} ({' x '.join(f'{side:.3g}' for side in fact.spacing or ())} mm)"
            for fact in odd
        ]
    )
    what = (
        f"{_cases(len(odd))} an implausible voxel spacing: "
        "the scan would be too large once resampled to the median spacing"
    )
    expected = (
        f"at most {LARGEST:,} voxels once resampled to the median "
        f"{' x '.join(f'{side:.3g}' for side in usual)} mm"
    )
    return [
        Finding(
            "error",
            Problem(what, "", found, expected, "correct the headers"),
            tuple(fact.case.id for fact in odd),
        )
    ]


def _cases(count: int) -> str:
    return "1 case has" if count == 1 else f"{count} cases have"


def _intensity(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find cases with an unusual intensity range or single extreme values, per channel."""
    findings = []
    known = [fact for fact in every if fact.percentiles and not _is_constant(fact)]
    for channel in range(max((fact.channels for fact in known), default=0)):
        having = [fact for fact in known if fact.channels > channel]
        findings += _other_range(having, channel) + _single_values(having, channel)
    return findings


def _other_range(known: Sequence[CaseFacts], channel: int) -> list[Finding]:
    spans = [(fact, fact.percentiles[channel][2] - fact.percentiles[channel][0]) for fact in known]
    spans = [(fact, span) for fact, span in spans if span > 0]
    if len(spans) < FEWEST_COMPARED:
        return []
    widths = np.array([span for _, span in spans])
    low, middle, high = np.median([fact.percentiles[channel] for fact, _ in spans], axis=0)
    centres = np.array([fact.percentiles[channel][1] for fact, _ in spans])
    usual = float(np.median(widths))
    far = _outliers(widths, INTENSITY_FACTOR) | (
        np.abs(centres - middle) > INTENSITY_FACTOR * np.maximum(usual, widths)
    )
    odd = [spans[place][0] for place in np.flatnonzero(far)]
    if not odd:
        return []
    odd.sort(key=lambda fact: fact.percentiles[channel][0] - fact.percentiles[channel][2])
    found = first_few(
        [
            f"{fact.case.id} ({fact.percentiles[channel][0]:.4g} "
            f"to {fact.percentiles[channel][2]:.4g})"
            for fact in odd
        ]
    )
    what = f"{_cases(len(odd))} an unusual intensity range" + (
        f" in channel {channel}" if channel else ""
    )
    expected = (
        f"0.5th to 99.5th percentile within a factor of {INTENSITY_FACTOR} "
        f"of the median range {low:.4g} to {high:.4g}{VARIES}"
    )
    fix = (
        "ignore this if each scan is normalised on its own (z-score); "
        "otherwise check units and export"
    )
    return [
        Finding(
            "warning", Problem(what, "", found, expected, fix), tuple(fact.case.id for fact in odd)
        )
    ]


def _span(fact: CaseFacts, channel: int) -> str:
    low, high = fact.extremes[channel]
    return f"{low:.7g} to {high:.7g}"


def _single_values(known: Sequence[CaseFacts], channel: int) -> list[Finding]:
    odd = []
    for fact in known:
        low, _, high = fact.percentiles[channel]
        reach = INTENSITY_FACTOR * (high - low)
        smallest, largest = fact.extremes[channel]
        if reach > 0 and (smallest < low - reach or largest > high + reach):
            odd.append(fact)
    if not odd:
        return []
    found = first_few([f"{fact.case.id} ({_span(fact, channel)})" for fact in odd])
    what = f"{_cases(len(odd))} single voxels far outside the intensity range" + (
        f" in channel {channel}" if channel else ""
    )
    expected = (
        f"no value beyond the 0.5th to 99.5th percentile by more than {INTENSITY_FACTOR} times "
        "the width of that range"
    )
    fix = "clip them, or train with data.normalisation = z_score_clipped"
    return [
        Finding(
            "warning", Problem(what, "", found, expected, fix), tuple(fact.case.id for fact in odd)
        )
    ]


def _outliers(values: NDArray[np.float64], factor: float) -> NDArray[np.bool_]:
    """Mark values that differ from the median by more than ``factor`` and ``DEVIATIONS``.

    values: positive.
    """
    logarithms = np.log(values)
    distance = np.abs(logarithms - np.median(logarithms))
    limit = max(float(np.log(factor)), DEVIATIONS * 1.4826 * float(np.median(distance)))
    return np.asarray(distance > limit)


def _patients(facts: Facts) -> list[Finding]:
    """Find scans that seem to be of one patient, in training and held out.

    Only the names suggest it, so it is a warning.
    """
    by_patient: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for role, of_role in facts.items():
        for fact in of_role:
            if fact.case.patient == fact.case.id and role != "unused":
                by_patient[patient_in(fact.case.id)][_side(role)].append(fact.case.id)
    shared = [
        [name for names in sides.values() for name in names]
        for sides in by_patient.values()
        if len(sides) > 1
    ]
    if not shared:
        return []
    what = (
        "some patients seem to be in more than one of training, validation and test "
        f"({len(shared)} in all)"
    )
    fix = (
        "keep each patient's scans together; if the names mislead, "
        "assign scans to patients in [patient] of split.toml"
    )
    problem = Problem(
        what,
        "",
        first_few([", ".join(names) for names in shared]),
        "each patient in only one of them",
        fix,
    )
    return [Finding("warning", problem, tuple(name for names in shared for name in names))]


_PATIENT = re.compile(
    r"(?:sub-[a-z0-9]+|(?:subject|patient|pat|case)[-_]?\d+)(?=[-_.])", re.IGNORECASE
)


_REPEAT = re.compile(
    r"[-_.](?:left|right|l|r|pre|post|baseline|follow-?up|(?:session|ses|visit|scan|frame|time|tp|day|slice|repeat|run)[-_]?\d+)$",
    re.IGNORECASE,
)


def patient_in(name: str) -> str:
    """Return the patient that a case's name suggests.

    "sub-07" for "sub-07_ses-2", "patient12" for "patient12_frame01", "B4" for "B4_left".
    """
    match = _PATIENT.match(name)
    while match is None and _REPEAT.search(name):
        name = _REPEAT.sub("", name)
    return match[0] if match else name
