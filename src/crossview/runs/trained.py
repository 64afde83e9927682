"""The cases that a run is trained on, remembered in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from crossview.core.files import write_text
from crossview.core.run_folder import TRAINING_CASES, RunFolder
from crossview.core.text import first_few
from crossview.data.contents import Contents
from crossview.runs.prepare import Prepared

CHANGED = "training data changed since the run began"


@dataclass(frozen=True)
class TrainedCase:
    """A case that a run was trained on.

    Attributes:
        patient: As known when the run began.
        labelled: True if it was trained on with its label.
        image: Digest of the image, "" if unknown.
        label: Digest of the label, "" if unknown or unlabelled.
        likeness: Signatures of the image, "" if unknown.
    """

    patient: str
    labelled: bool
    image: str = ""
    label: str = ""
    likeness: str = ""


Trained = Mapping[str, TrainedCase]
"""Cases by name."""


def of_training(prepared: Prepared) -> Trained:
    """Return the cases that are trained on, without digests if no file holds them."""
    splits = prepared.splits
    contents = prepared.contents if prepared.data else Contents()
    unlabelled = splits.unlabelled if prepared.recipe.uses_unlabelled else ()
    labelled = {case.id for case in splits.labelled}
    return {
        case.id: TrainedCase(
            case.patient,
            case.id in labelled,
            contents.images.get(case.id, ""),
            contents.labels.get(case.id, ""),
            contents.likeness.get(case.id, ""),
        )
        for case in (*splits.taught, *unlabelled)
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


def changed_data(run: RunFolder) -> list[str]:
    """Return what the run's journal says of data that changed while it was trained."""
    texts = [str(row.get("text", "")) for row in run.journal.of("warning")]
    return list(dict.fromkeys(text for text in texts if text.startswith(CHANGED)))
