"""The roles of a folder's scans, from their labels, their place and split.toml."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from crossview.core.errors import Problem
from crossview.core.text import first_few
from crossview.data.case import Case
from crossview.data.sources.layout import Layout
from crossview.data.sources.lists import shared_names
from crossview.data.sources.split_toml import Split


def assign(
    layout: Layout, split: Split, drafted: Collection[str] = ()
) -> tuple[dict[str, list[str]], list[Problem]]:
    """Return names by role, and warnings.

    A scan in no list is used according to its label, but never for training if its patient is in
    validation or test. A label of a scan that had a draft (``drafted``) is a correction, so it is
    used even if the lists, which are older, say otherwise.
    """
    scans = layout.train | layout.test
    listed = {name for names in split.lists.values() for name in names}
    test = [
        *(split.names("test") or ()),
        *(name for name, scan in layout.test.items() if scan.label and name not in listed),
    ]
    validation = split.names("validation") or []
    held_out = {split.patient(name) for name in (*validation, *test)}
    free = [name for name in layout.train if name not in listed]
    left_out = [name for name in free if split.patient(name) in held_out]
    free = [name for name in free if split.patient(name) not in held_out]
    labelled, unlabelled = split.names("labelled"), split.names("unlabelled")
    if labelled is None:
        labelled = [name for name in free if scans[name].label]
        free = [name for name in free if not scans[name].label]
    if unlabelled is None:
        unlabelled = free
    corrected = [name for name in unlabelled if name in drafted and scans[name].label]
    labelled = [*labelled, *corrected]
    unlabelled = [name for name in unlabelled if name not in corrected]
    roles = {
        "labelled": labelled,
        "hidden": [name for name in unlabelled if scans[name].label],
        "unlabelled": [name for name in unlabelled if not scans[name].label],
        "validation": validation,
        "test": test,
    }
    used = {name for of_role in roles.values() for name in of_role}
    what = f"{len(left_out)} scans of validation or test patients are not used for training"
    warnings = [Problem(what, "split.toml", first_few(left_out))] if left_out else []
    if corrected:
        scan = "1 scan that split.toml does not list as labelled is"
        several = f"{len(corrected)} scans that split.toml does not list as labelled are"
        what = f"{scan if len(corrected) == 1 else several} trained on with labels"
        fix = "none is needed: these labels came after a draft (rounds.json)"
        warnings.append(Problem(what, "split.toml", first_few(corrected), fix=fix))
    return roles | {"unused": [name for name in scans if name not in used]}, warnings


def shared_patients(
    roles: Mapping[str, Iterable[str]], by_name: Mapping[str, Case]
) -> list[Problem]:
    """Return a problem per patient that is in more than one of training, validation and test."""
    parts = {
        "training": ("labelled", "hidden", "unlabelled"),
        "validation": ("validation",),
        "test": ("test",),
    }
    patients = {
        part: [by_name[name].patient for role in of_part for name in roles[role]]
        for part, of_part in parts.items()
    }
    return shared_names(patients, "patient")
