"""The cases that a run was trained on: remembered, found again among test cases, and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, UserError, fail
from crossview.core.files import write_text
from crossview.core.run_folder import TRAINING_CASES, RunFolder
from crossview.core.text import first_few
from crossview.data.case import Case, Splits
from crossview.data.contents import digest
from crossview.runs.prepare import Prepared

COMPARED = 3
"""Cases compared by content, to tell a data set that has moved from another one."""

CHANGED = "training data changed since the run began"

SEEN = "Trained on without labels"

CHOSE = "Used to select the checkpoint"


@dataclass(frozen=True)
class TrainedCase:
    """A case that a run was trained on.

    Attributes:
        patient: As known when the run began.
        labelled: True if it was trained on with its label.
        image: Digest of the image, "" if unknown.
        label: Digest of the label, "" if unknown or unlabelled.
    """

    patient: str
    labelled: bool
    image: str = ""
    label: str = ""


Trained = Mapping[str, TrainedCase]
"""Cases by name."""


def of_training(prepared: Prepared) -> Trained:
    """Return the cases that are trained on, without digests if no file holds them."""
    contents, splits = prepared.contents, prepared.splits
    unlabelled = splits.unlabelled if prepared.recipe.uses_unlabelled else ()
    return {
        case.id: TrainedCase(
            case.patient,
            case.labelled,
            contents.images.get(case.id, "") if prepared.data else "",
            contents.labels.get(case.id, "") if prepared.data else "",
        )
        for case in (*splits.labelled, *unlabelled)
    }


def write(run: RunFolder, trained: Trained) -> None:
    """Write training-cases.json, a line per case."""
    lines = [f"{json.dumps(name)}: {json.dumps(asdict(case))}" for name, case in trained.items()]
    write_text(run.path / TRAINING_CASES, "{\n" + ",\n".join(lines) + "\n}\n")


def remembered(run: RunFolder) -> Trained:
    """Return the cases that a run was trained on.

    Of runs of earlier versions only the names of labelled cases are known.
    """
    try:
        return {name: TrainedCase(**case) for name, case in run.training_cases.items()} or {
            str(name): TrainedCase(str(name), labelled=True)
            for name in run.environment.get("labelled", ())
        }
    except TypeError:
        return {}


def inherited(now: Trained, earlier: Trained) -> Trained:
    """Return the cases of a run and of the run whose weights it starts from.

    A case that either of them has seen with its label is labelled.
    """
    both = {
        name: replace(case, labelled=case.labelled or earlier[name].labelled)
        for name, case in now.items()
        if name in earlier
    }
    return {**now, **both, **{name: case for name, case in earlier.items() if name not in now}}


def on_resume(run: RunFolder, prepared: Prepared, *, begun: bool, writes: bool) -> list[str]:
    """Return the warning that images or labels have changed since the run began.

    A run of an earlier version, or one that has not ``begun`` with a first step, remembers the
    cases as they are now; the process with ``writes`` records them.
    """
    now = of_training(prepared)
    if not run.training_cases or not begun:
        if writes:
            write(run, inherited(now, remembered(run) if "from" in run.environment else {}))
        return []
    then = remembered(run)
    changed = [
        f"the {kind} of {name}"
        for name, case in now.items()
        for kind in ("image", "label")
        if name in then
        and getattr(then[name], kind)
        and getattr(then[name], kind) != getattr(case, kind)
    ]
    if not changed:
        return []
    told = "the steps before were trained on the old content, those from here on on the new"
    return [f"{CHANGED}: {first_few(changed)}; {told}"]


def unseen(
    run: RunFolder, cases: Sequence[Case], splits: Splits, split: str, root: Path | None
) -> tuple[list[Case], list[str]]:
    """Return cases to score, and notes on those that the run has seen without their labels.

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
    trained = remembered(run)
    originals = {case.image: name for name, case in trained.items() if case.labelled and case.image}
    fresh = [_guarded(case, originals, split) for case in cases]
    if not _same_data(run, trained, splits, root):
        return fresh, []
    patients = dict(_patients(trained, splits))
    seen = {case.id: patients[case.patient] for case in cases if case.patient in patients}
    seen |= {case.id: trained[case.id].labelled for case in cases if case.id in trained}
    with_label = [name for name, labelled in seen.items() if labelled]
    if with_label:
        fail(
            f"{split} cases were trained on with labels (they, or other scans of their patients)",
            run.path,
            found=f"{len(with_label)} of {len(cases)}: {first_few(with_label)}",
            expected=f"{split} cases that the run has not been trained on",
            fix="list other cases in split.toml, or train a new run: it will not see these",
        )
    return fresh, _notes(run, seen, [case.id for case in cases], split)


def _notes(run: RunFolder, seen: Mapping[str, bool], cases: Sequence[str], split: str) -> list[str]:
    """Return notes on cases that the run has seen in another way than with their labels."""
    notes = []
    if seen:
        notes.append(
            f"{SEEN} (the scans, or others of their patients): {len(seen)} of "
            f"{len(cases)} {split} cases, {first_few(list(seen))}. Their scores may be better than "
            "those of new scans."
        )
    training = run.tables.get("training", {})
    chose = sorted({*run.environment.get("validation", ())} & {*cases})
    if split == "test" and training.get("selection") == "validation" and chose:
        names = f"{len(chose)} of {len(cases)} test cases, {first_few(chose)}"
        notes.append(f"{CHOSE}: {names}.")
    return notes


def changed_data(run: RunFolder) -> list[str]:
    """Return what the run's journal says of data that changed while it was trained."""
    texts = [str(row.get("text", "")) for row in run.journal.of("warning")]
    return list(dict.fromkeys(text for text in texts if text.startswith(CHANGED)))


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


def _guarded(case: Case, originals: Mapping[str, str], split: str) -> Case:
    """Return the case with a reader that refuses the image of a labelled training case."""

    def read() -> NDArray[np.float32]:
        image = case.read_image()
        original = originals.get(digest(image)) if originals else None
        if original is not None and image.min() < image.max():
            what = f"the {split} case is a copy of a labelled training case"
            fix = f"remove it from the {split} cases, or train a new run without it"
            raise UserError(Problem(what, case.where, original, "a new image", fix))
        return image

    return replace(case, read_image=read)
