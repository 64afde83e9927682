"""Cases to score, compared with those that a run was trained on: by name, patient and content."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import UserError, fail
from crossview.core.run_folder import RunFolder
from crossview.core.text import first_few
from crossview.data.case import Case, Splits
from crossview.data.checks.likeness import Known, Likeness, likeness
from crossview.data.contents import digest
from crossview.runs.trained import Trained, TrainedCase, remembered

COMPARED = 3
"""Cases compared by content, to tell a data set that has moved from another one."""

SEEN = "Trained on without labels"

CHOSE = "Used to select the checkpoint"

COPIED = "Copies of scans that were trained on without labels"

BETTER = "Their scores may be better than those of new scans."


def unseen(
    run: RunFolder, cases: Sequence[Case], splits: Splits, split: str, root: Path | None
) -> tuple[list[Case], Callable[[], list[str]]]:
    """Return cases to score, and what gives notes on those that the run has seen without labels.

    The notes are complete once the cases have been read: only then copies are known.

    Args:
        run: The run.
        cases: Cases of the split.
        splits: All cases of the data set, as its lists are now.
        split: "test" or "validation".
        root: The folder of the data.

    Raises:
        UserError: For cases, or patients, that were trained on with their labels. A copy of such an
            image under another name raises when it is read.
    """
    trained, seen = remembered(run), dict[str, bool]()
    if _same_data(run, trained, splits, root):
        patients = dict(_patients(trained, splits))
        seen = {case.id: patients[case.patient] for case in cases if case.patient in patients}
        seen |= {case.id: trained[case.id].labelled for case in cases if case.id in trained}
        notes = _notes(run, seen, [case.id for case in cases], split)
    else:
        notes = []
    with_label = [name for name, labelled in seen.items() if labelled]
    if with_label:
        fail(
            f"{split} cases were trained on with labels (they, or other scans of their patients)",
            run.path,
            found=f"{len(with_label)} of {len(cases)}: {first_few(with_label)}",
            expected=f"{split} cases that the run has not been trained on",
            fix="list other cases in split.toml, or train a new run: it will not see these",
        )
    copies = Copies(trained, split)
    guarded = [copies.guarded(case) for case in cases]
    return guarded, lambda: [*notes, *copies.notes(len(cases), seen)]


def _notes(run: RunFolder, seen: Mapping[str, bool], cases: Sequence[str], split: str) -> list[str]:
    """Return notes on cases that the run has seen in another way than with their labels."""
    notes = []
    if seen:
        notes.append(
            f"{SEEN} (the scans, or others of their patients): {len(seen)} of "
            f"{len(cases)} {split} cases, {first_few(list(seen))}. {BETTER}"
        )
    training = run.tables.get("training", {})
    chose = sorted({*run.environment.get("validation", ())} & {*cases})
    if split == "test" and training.get("selection") == "validation" and chose:
        names = f"{len(chose)} of {len(cases)} test cases, {first_few(chose)}"
        notes.append(f"{CHOSE}: {names}.")
    return notes


def _patients(trained: Trained, splits: Splits) -> Iterator[tuple[str, bool]]:
    """Yield the patients of trained cases, as known then and now; labelled ones last, to win."""
    now = {case.id: case.patient for case in _every(splits)}
    for name, case in sorted(trained.items(), key=lambda item: item[1].labelled):
        yield case.patient, case.labelled
        yield now.get(name, case.patient), case.labelled


def _same_data(run: RunFolder, trained: Trained, splits: Splits, root: Path | None) -> bool:
    """True if names mean the same cases as in training.

    The folder is the one of the training, or a copy: then a case has the remembered content.
    """
    stored = str(run.environment.get("data") or "")
    if root is None or Path(stored).resolve() == root.resolve():
        return bool(stored) == (root is not None)
    shared = [case for case in _every(splits) if case.id in trained]
    return any(_is_same(case, trained[case.id]) for case in shared[:COMPARED])


def _every(splits: Splits) -> tuple[Case, ...]:
    held_out = (*splits.validation, *splits.test)
    return (*splits.labelled, *splits.unlabelled, *held_out, *splits.unused)


def _is_same(case: Case, remembered: TrainedCase) -> bool:
    try:
        return bool(remembered.image) and digest(case.read_image()) == remembered.image
    except UserError:
        return False


class Copies:
    """Finds, as cases are read, images that the run was trained on under other names."""

    def __init__(self, trained: Trained, split: str) -> None:
        self.trained, self.split = trained, split
        last = sorted(trained.items(), key=lambda item: item[1].labelled)  # labelled ones win
        self.of_digest = {case.image: name for name, case in last if case.image}
        self.known = Known(
            {name: Likeness.from_text(case.likeness) for name, case in trained.items()}
        )
        self.found: dict[str, str] = {}
        """Names of unlabelled training cases by that of their copy."""

    def guarded(self, case: Case) -> Case:
        """Return the case with a reader that refuses the image of a labelled training case."""

        def read() -> NDArray[np.float32]:
            image = case.read_image()
            originals = self._originals(image)
            for name in originals:
                if self.trained[name].labelled:
                    self._refuse(case, name)
            if originals:
                self.found[case.id] = originals[0]
            return image

        return replace(case, read_image=read)

    def _originals(self, image: NDArray[np.float32]) -> list[str]:
        """Return the training cases that show the same scan, the very same image first."""
        if not (self.of_digest and image.min() < image.max()):  # neither constant nor NaN
            return []
        same = self.of_digest.get(digest(image))
        again = self.known.showing(likeness(image)) if image.ndim in (3, 4) else []
        return [*([] if same is None else [same]), *(name for name in again if name != same)]

    def _refuse(self, case: Case, original: str) -> None:
        fail(
            f"the {self.split} case is a copy of a labelled training case",
            case.where,
            found=f"the scan of {original}",
            expected="a new image",
            fix=f"remove it from the {self.split} cases, or train a new run without it",
        )

    def notes(self, cases: int, seen: Collection[str]) -> list[str]:
        """Return a note on the copies found; none on those already ``seen`` by name."""
        found = [
            f"{name} (the scan of {original})"
            for name, original in sorted(self.found.items())
            if name not in seen
        ]
        if not found:
            return []
        return [
            f"{COPIED}: {len(found)} of {cases} {self.split} cases, {first_few(found)}. {BETTER}"
        ]
