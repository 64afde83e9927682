"""Rules for a data set as a whole. Each reads the facts of all cases and returns its findings."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
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
    labelled = facts.get("labelled", ())
    findings = [
        Finding("error", problem, (fact.case.id,)) for fact in every for problem in fact.problems
    ]
    if every and len(labelled) < FEWEST_LABELLED:
        findings.append(Finding("error", too_few_labelled(len(labelled), where)))
    findings += _classes(labelled, classes, where)
    findings += _duplicates(facts, where)
    findings += _patients(facts)
    for rule in (_background_only, _constant, _channels, _spacing, _too_large, _intensity):
        findings += rule(every)
    return sorted(findings, key=lambda finding: finding.severity)


def _about(
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


def _classes(labelled: Sequence[CaseFacts], classes: int | None, where: str) -> list[Finding]:
    """Find classes that never occur in the training labels.

    Label values with more gaps than classes are probably not class numbers: an error.
    """
    values = sorted({value for fact in labelled for value in fact.label_counts})
    if not values:
        return []

    def finding(severity: Severity, *parts: str) -> list[Finding]:
        what, found, expected, fix = parts
        return [Finding(severity, Problem(what, where, found, expected, fix))]

    if not any(values):
        return finding(
            "error",
            "every label contains background only",
            "value 0 only",
            "at least one foreground class",
            "check how the labels were exported",
        )
    present = [value for value in values if value]
    missing = sorted({*range(1, max(classes or 0, values[-1] + 1))} - {*values})
    found = f"values {', '.join(map(str, values))}"
    if len(missing) > len(present) and classes is None:
        return finding(
            "error",
            "the label values are not consecutive class numbers",
            found,
            f"0 to {len(present)}",
            "number the classes 0 (background), 1, 2, ... in every label",
        )
    if not missing:
        return []
    never = f"es {', '.join(map(str, missing))} never occur"
    if len(missing) == 1:
        never = f" {missing[0]} never occurs"
    return finding(
        "warning",
        f"class{never} in the training labels",
        found,
        "every class",
        "label a case that shows it, or number the classes without gaps",
    )


def _background_only(every: Sequence[CaseFacts]) -> list[Finding]:
    return _about(
        "warning",
        [fact for fact in every if set(fact.label_counts) == {0}],
        "label contains|labels contain",
        "background only",
        fix="ignore this if these scans do not show the structure; delete the label file of a scan "
        "that nobody has labelled",
    )


def _constant(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find images with a single value.

    With a label this is an error, because the label must belong to another image. Without one such
    a scan only teaches nothing.
    """
    odd = [fact for fact in every if _is_constant(fact)]
    labelled = [fact for fact in odd if fact.label_counts]
    nouns, what, fix = "image contains|images contain", "a single value", "exclude it or export it"
    unlabelled = [fact for fact in odd if not fact.label_counts]
    return [
        *_about("error", labelled, nouns, what, fix=f"{fix} again"),
        *_about("warning", unlabelled, nouns, what, fix=f"{fix} again"),
    ]


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
    with_label = [fact for fact in telling if any(fact.label_counts)]
    leaks: list[list[CaseFacts]] = []
    others: list[list[CaseFacts]] = []
    for group in _groups(telling, lambda fact: fact.digest):
        leak = len({side_of[fact.case.id] for fact in group} - {"unused"}) > 1
        (leaks if leak else others).append(group)
    shared = [
        group
        for group in _groups(with_label, lambda fact: fact.label_digest)
        if len({fact.digest for fact in group}) > 1
    ]
    copies, keep = "are copies of each other", "keep only one of them"
    check = "check which image the label belongs to"
    return [
        *_copies("error", leaks, f"{copies} across training, validation and test", keep, where),
        *_copies("warning", others, copies, keep, where),
        *_copies("warning", shared, "differ but have identical labels", check, where),
    ]


def _copies(
    severity: Severity, groups: list[list[CaseFacts]], what: str, fix: str, where: str
) -> list[Finding]:
    """Return one finding for all groups of cases, or none if there are no groups."""
    if not groups:
        return []
    names = [[fact.case.id for fact in group] for group in groups]
    every = tuple(itertools.chain(*names))
    found = first_few([" = ".join(group) for group in names])
    return [Finding(severity, Problem(f"{len(every)} images {what}", where, found, fix=fix), every)]


def _side(role: str) -> str:
    return role if role in (*HELD_OUT, "unused") else "training"


def _groups(facts: Iterable[CaseFacts], key: Callable[[CaseFacts], str]) -> list[list[CaseFacts]]:
    groups: dict[str, list[CaseFacts]] = defaultdict(list)
    for fact in facts:
        groups[key(fact)].append(fact)
    return [group for group in groups.values() if len(group) > 1]


def _channels(every: Sequence[CaseFacts]) -> list[Finding]:
    counts = Counter(fact.channels for fact in every if fact.channels)
    usual = max(counts, key=lambda count: counts[count], default=0)
    odd = [fact for fact in every if fact.channels not in (0, usual)]
    expected = f"{usual} channels, as in the other images"
    what = "different number of channels"
    return _about("error", odd, "image has a|images have a", what, expected=expected)


def _sides(sides: Iterable[float]) -> str:
    return f"{' x '.join(f'{side:.3g}' for side in sides)} mm"


def _with_spacing(every: Sequence[CaseFacts]) -> tuple[list[CaseFacts], NDArray[np.float64]]:
    """Return the cases with a spacing, and their spacings (cases, axes); none if axes differ."""
    known = [fact for fact in every if fact.spacing]
    if len({len(fact.spacing or ()) for fact in known}) != 1:
        return [], np.empty((0, 0))
    return known, np.array([fact.spacing for fact in known])


def _spacing(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find cases whose spacing is an outlier, by ``SPACING_FACTOR``, along some axis."""
    known, sides = _with_spacing(every)
    if len(known) < FEWEST_COMPARED:
        return []
    far = np.any([_outliers(axis, SPACING_FACTOR) for axis in sides.T], axis=0)
    usual = _sides(np.median(sides, axis=0))
    return _about(
        "warning",
        [known[place] for place in np.flatnonzero(far)],
        "case has|cases have",
        "an unusual voxel spacing",
        shown=lambda fact: _sides(fact.spacing or ()),
        expected=f"within a factor of {SPACING_FACTOR} of the median {usual}{VARIES}",
        fix="check the headers",
    )


def _too_large(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find scans that resampling to the median spacing would make larger than any scan."""
    known, sides = _with_spacing(every)
    if not known:
        return []
    usual = np.median(sides, axis=0)
    voxels = [np.prod(np.array(fact.shape[1:]) * fact.spacing / usual) for fact in known]
    return _about(
        "error",
        [fact for fact, count in zip(known, voxels, strict=True) if count > LARGEST],
        "case has|cases have",
        "an implausible voxel spacing: the scan would be too large once resampled to the median "
        "spacing",
        shown=lambda fact: _sides(fact.spacing or ()),
        expected=f"at most {LARGEST:,} voxels once resampled to the median {_sides(usual)}",
        fix="correct the headers",
    )


def _intensity(every: Sequence[CaseFacts]) -> list[Finding]:
    """Find cases with an unusual intensity range or single extreme values, per channel."""
    findings = []
    known = [fact for fact in every if fact.percentiles and not _is_constant(fact)]
    for channel in range(max((fact.channels for fact in known), default=0)):
        having = [fact for fact in known if fact.channels > channel]
        findings += _other_range(having, channel) + _single_values(having, channel)
    return findings


def _other_range(known: Sequence[CaseFacts], channel: int) -> list[Finding]:
    known = [fact for fact in known if _width(fact, channel) > 0]
    if len(known) < FEWEST_COMPARED:
        return []
    widths = np.array([_width(fact, channel) for fact in known])
    percentiles = np.array([fact.percentiles[channel] for fact in known])
    low, middle, high = np.median(percentiles, axis=0)
    reach = INTENSITY_FACTOR * np.maximum(np.median(widths), widths)
    far = _outliers(widths, INTENSITY_FACTOR) | (np.abs(percentiles[:, 1] - middle) > reach)
    odd = [known[place] for place in np.flatnonzero(far)]
    return _about(
        "warning",
        sorted(odd, key=lambda fact: -_width(fact, channel)),
        "case has|cases have",
        "an unusual intensity range" + _in_channel(channel),
        shown=lambda fact: "{0:.4g} to {2:.4g}".format(*fact.percentiles[channel]),
        expected=f"0.5th to 99.5th percentile within a factor of {INTENSITY_FACTOR} of the median "
        f"range {low:.4g} to {high:.4g}{VARIES}",
        fix="ignore this if each scan is normalised on its own (z-score); otherwise check units "
        "and export",
    )


def _width(fact: CaseFacts, channel: int) -> float:
    return fact.percentiles[channel][2] - fact.percentiles[channel][0]


def _in_channel(channel: int) -> str:
    return f" in channel {channel}" if channel else ""


def _single_values(known: Sequence[CaseFacts], channel: int) -> list[Finding]:
    odd = []
    for fact in known:
        low, _, high = fact.percentiles[channel]
        reach = INTENSITY_FACTOR * (high - low)
        smallest, largest = fact.extremes[channel]
        if reach > 0 and (smallest < low - reach or largest > high + reach):
            odd.append(fact)
    return _about(
        "warning",
        odd,
        "case has|cases have",
        "single voxels far outside the intensity range" + _in_channel(channel),
        shown=lambda fact: "{:.7g} to {:.7g}".format(*fact.extremes[channel]),
        expected="no value beyond the 0.5th to 99.5th percentile by more than "
        f"{INTENSITY_FACTOR} times the width of that range",
        fix="clip them, or train with data.normalisation = z_score_clipped",
    )


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
        tuple(itertools.chain(*sides.values())) for sides in by_patient.values() if len(sides) > 1
    ]
    if not shared:
        return []
    problem = Problem(
        "some patients seem to be in more than one of training, validation and test "
        f"({len(shared)} in all)",
        "",
        first_few([", ".join(names) for names in shared]),
        "each patient in only one of them",
        "keep each patient's scans together; if the names mislead, assign scans to patients in "
        "[patient] of split.toml",
    )
    return [Finding("warning", problem, tuple(itertools.chain(*shared)))]


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
