"""rounds.json of a data folder: the scans that drafts were written for, and what became of them.

It lies next to the labels, because every round's run reads these, whereas runs and drafts come and
go. A draft is kept as it was written next to the one that is corrected (``KEPT``), since programs
save corrections into the file that they opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import UserError, fail
from crossview.core.files import write_text
from crossview.core.parse import from_json
from crossview.core.run_folder import ROUNDS
from crossview.data.case import Case
from crossview.data.contents import digest

KEPT = "as-suggested"
"""Folder of the drafts that nobody touches, in the folder of the drafts."""

Label = NDArray[np.uint8]


def now() -> str:
    """Return the time as rounds.json has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Drafted:
    """A scan with a draft.

    Attributes:
        draft: File of the draft as it was written, in the folder of the round's drafts.
        doubt: The run's doubt about the scan.
        labelled: Time at which its label was first found; "" while it has none.
        dice: Mean Dice of draft and label over the classes that one of them has; None if neither
            has any, or the draft could not be read.
        changed: Voxels that have another class in the label than in the draft; None if unknown.
        voxels: Voxels of the label that belong to a class.
        digest: Digest of the label that the figures are of; "" in files of earlier versions.
        outdated: True if the label has changed since and the draft is gone, so that the figures are
            of the label before.
    """

    draft: str
    doubt: float
    labelled: str = ""
    dice: float | None = None
    changed: int | None = None
    voxels: int = 0
    digest: str = ""
    outdated: bool = False

    @property
    def untouched(self) -> bool:
        """True if the label equals the draft."""
        return bool(self.labelled) and self.changed == 0 and not self.outdated

    def compared(self, draft: Label | None, label: Label, content: str) -> Drafted:
        """Return the scan with its label as found now, whose digest is ``content``.

        Without a draft the figures of a label that was compared before stay.
        """
        voxels = int(np.count_nonzero(label))
        if draft is None and self.changed is not None:
            # Without a digest, as in files of earlier versions, the number of voxels must tell.
            if self.digest or voxels != self.voxels:
                return replace(self, outdated=True)
            return replace(self, digest=content, outdated=False)
        found = replace(
            self,
            labelled=self.labelled or now(),
            dice=None,
            changed=None,
            voxels=voxels,
            digest=content,
            outdated=False,
        )
        if draft is None or draft.shape != label.shape:
            return found
        return replace(found, changed=int((draft != label).sum()), dice=mean_dice(draft, label))


def mean_dice(one: Label, other: Label) -> float | None:
    """Return the mean Dice over the classes that one of two labels has; None without any."""
    dice = []
    for value in {*np.unique(one), *np.unique(other)} - {0}:
        a, b = one == value, other == value
        dice.append(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))
    return float(np.mean(dice)) if dice else None


@dataclass(frozen=True)
class Round:
    """Suggested scans with their drafts.

    Attributes:
        suggested: The time.
        run: Name of the folder of the run that drew them; its path in files of earlier versions.
        drafts: Their folder, relative to the data folder.
        labelled: Scans that had labels before.
        cases: The suggested scans, by name.
    """

    suggested: str
    run: str
    drafts: str
    labelled: tuple[str, ...] = ()
    cases: Mapping[str, Drafted] = field(default_factory=dict)


@dataclass(frozen=True)
class Rounds:
    """The rounds of a data folder, in order."""

    rounds: tuple[Round, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Rounds:
        """Return the rounds in ``folder``. Raise UserError if their file is damaged."""
        path = folder / ROUNDS
        if not path.is_file():
            return cls()
        try:
            content = from_json(path.read_text(encoding="utf-8"))
            return cls(tuple(_round(each) for each in content["rounds"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            found = f"{type(error).__name__}: {error}".splitlines()[0]
            fix = "restore the file, or remove it: then drafts are not compared with labels"
            fail("the record of the drafts can't be read", path, found=found, fix=fix)

    @property
    def drafted(self) -> frozenset[str]:
        """The names of all scans with a draft."""
        return frozenset(self.latest)

    @property
    def latest(self) -> dict[str, Drafted]:
        """Each scan with its last draft, by name."""
        return {name: case for each in self.rounds for name, case in each.cases.items()}

    def write(self, folder: Path) -> None:
        """Write the rounds into ``folder``. OSError."""
        content = {"rounds": [asdict(each) for each in self.rounds]}
        write_text(folder / ROUNDS, json.dumps(content, indent=1) + "\n")

    def with_labels(self, cases: Iterable[Case], root: Path) -> Rounds:
        """Return the rounds with the labels of today, compared with their drafts.

        cases: of the data folder ``root``. Of a scan with several drafts the last one counts. A
        label that has changed since it was compared is compared again. If the draft has gone, its
        figures stay and are marked as outdated.
        """
        labelled = {case.id: case for case in cases if case.labelled}
        rounds, seen = list[Round](), set[str]()
        for each in reversed(self.rounds):
            found = dict(each.cases)
            for name, drafted in each.cases.items():
                if name in labelled and name not in seen:
                    file = root / each.drafts / drafted.draft
                    found[name] = _compared(drafted, labelled[name], file)
                seen.add(name)
            rounds.append(replace(each, cases=found))
        return Rounds(tuple(reversed(rounds)))


def _round(content: Mapping[str, Any]) -> Round:
    cases = {str(name): Drafted(**case) for name, case in content["cases"].items()}
    return Round(**{**content, "cases": cases, "labelled": tuple(content["labelled"])})


def _compared(drafted: Drafted, case: Case, file: Path) -> Drafted:
    read: Callable[[], Label] | None = case.read_label
    assert read is not None  # only labelled cases are compared
    label = read()
    content = digest(label)
    if content == drafted.digest:
        return replace(drafted, outdated=False)
    try:
        draft = case.read_label_at(file) if case.read_label_at and file.is_file() else None
    except UserError:
        draft = None
    if case.partial:
        unknown = label >= case.partial.lowest
        label = np.where(unknown, np.uint8(0), label)
        if draft is not None and draft.shape == label.shape:
            draft = np.where(unknown, np.uint8(0), draft)
    return drafted.compared(draft, label, content)
