"""Labels that a model predicted for the unlabelled scans of a folder, in its folder predicted/.

A network that learns from them, a student, can exceed the model that made them if it is wider and
its images are harder (Xie, Luong, Hovy and Le, Self-training with Noisy Student improves ImageNet
classification, CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from crossview.core.errors import Problem
from crossview.core.text import count, first_few
from crossview.data.case import Case
from crossview.data.io import BY_SUFFIX, split_name

FOLDER = "predicted"
"""The folder of the predictions, beside images/."""


def with_predictions(
    folder: Path | None, cases: Sequence[Case]
) -> tuple[tuple[Case, ...], list[Problem]]:
    """Return unlabelled cases with their predictions as labels, and the problems found.

    A prediction has the name of its scan. folder: of the predictions; None: no case is returned.
    """
    if folder is None:
        return (), []
    files = _by_name(folder)
    missing = [case.id for case in cases if case.id not in files]
    found = tuple(
        replace(case, read_label=partial(case.read_label_at, files[case.id]))
        for case in cases
        if case.read_label_at and case.id in files
    )
    if cases and not missing:
        return found, []
    what = "unlabelled scans have no prediction" if cases else "there are no unlabelled scans"
    where = f"{len(missing)}: {first_few(missing)}" if cases else "every scan has a label or a role"
    scans = cases[0].file.parent if cases else folder.parent
    fix = f"crossview predict RUN {scans} --out {folder} --resume, or train without --predicted"
    return found, [Problem(what, str(folder), where, fix=fix)]


def note_on(folder: Path | None, cases: Sequence[Case]) -> tuple[str, ...]:
    """Return what every result must say of labels that were predicted; () if there are none."""
    if folder is None:
        return ()
    scans = count(len(cases), "unlabelled scan")
    return (
        f"The labels of {scans} are predictions of another model ({FOLDER}/). If that model was "
        "trained on test cases, scores on them are too high.",
    )


def _by_name(folder: Path) -> dict[str, Path]:
    """Return the predictions in a folder by the name of their scan."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    named = [(split_name(file.name), file) for file in files if file.is_file()]
    return {name: file for (name, suffix), file in named if suffix in BY_SUFFIX}
