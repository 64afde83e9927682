"""Drafts for the suggested scans, and rounds.json brought up to date."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from crossview.core.errors import fail, raise_all
from crossview.core.files import check_writable, folder_written_whole
from crossview.core.progress import Progress
from crossview.core.run_folder import RunFolder
from crossview.core.text import first_few
from crossview.data.case import Case, Splits
from crossview.data.io import ScanFiles
from crossview.data.io.channels import by_channel
from crossview.data.io.extras import is_absent
from crossview.data.io.segments import BY_NAME
from crossview.data.rounds import KEPT, Drafted, Round, Rounds, now
from crossview.evaluation.doubt import Suggestion
from crossview.inference.outputs import unfit
from crossview.recipe.resolve import Recipe
from crossview.runs.predict import predict, segments_of
from crossview.runs.run import Run

NAMED, PLAIN = "seg.nrrd", "nifti"
"""Formats of drafts: the one that keeps names and colours, and the one that needs no extra."""

SCANS_AND_LABELS = ("images", "labels", "imagesTr", "labelsTr", "imagesTs", "labelsTs")


def check_drafts(folder: Path, root: Path | None, source: str) -> Path:
    """Return the data folder. Raise UserError unless drafts of its scans can be written."""
    if root is None or source != "folder":
        what = "drafts are written for a folder of your own scans"
        fail(what, "--drafts", found=source, expected="source folder")
    inside = [root / name for name in SCANS_AND_LABELS]
    place = folder.resolve()
    if any(each.resolve() in (place, *place.parents) for each in inside):
        fail(
            "drafts in this folder would be taken for scans or labels",
            folder,
            fix="choose another --drafts, such as drafts/round-1",
        )
    if folder.is_dir() and any(folder.iterdir()):
        fail(
            "the folder of the drafts is not empty: corrections may be in it",
            folder,
            fix="choose a new --drafts for each round, such as drafts/round-2",
        )
    check_writable(folder)
    check_writable(root)
    return root


def format_of(
    form: str | None, recipe: Recipe, splits: Splits, remark: Callable[[str], None]
) -> str | None:
    """Return the format of drafts: the one asked for, else the best for volumes; None for images.

    Raise UserError if the format is unknown, its library is not installed, or it is not written
    for one of the scans.
    """
    scans = [ScanFiles(case.id, (case.file,)) for case in splits.unlabelled]
    if form is not None:
        raise_all(unfit(segments_of(form, splits.class_names, recipe), scans))
    elif not any(scan.format.flat for scan in scans):
        form = NAMED
        if is_absent(BY_NAME[NAMED].module):
            form = PLAIN
            remark(
                "The drafts are NIfTI files, without the names of the classes: for "
                f'{BY_NAME[NAMED].suffix} install "crossview[{BY_NAME[NAMED].extra}]"'
            )
    return form


def write_drafts(
    run: Run,
    root: Path,
    splits: Splits,
    chosen: Sequence[Suggestion],
    folder: Path,
    *,
    form: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    remark: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write a draft and a map of the uncertainty for each suggestion, and record the round.

    Drafts are ``folder``/<case>, untouched copies are in as-suggested/, maps in entropy/. The
    folder appears when all of it is written and recorded. Returns the drafts.
    """
    cases = {case.id: case for case in splits.unlabelled}
    files = [file for each in chosen for file in files_of(cases[each.case])]
    with folder_written_whole(folder) as aside:
        drafts = predict(
            *(run, files, aside),
            entropy=True,
            form=form,
            estimate=False,
            device=device,
            progress=progress,
            remark=lambda text: remark(text.replace(f"{aside}", f"{folder}")),
        )
        (aside / KEPT).mkdir()
        for draft in drafts:
            shutil.copyfile(draft, aside / KEPT / draft.name)
        _record_round(run, root, splits, chosen, folder, drafts)
    return [folder / draft.name for draft in drafts]


def _record_round(
    run: Run,
    root: Path,
    splits: Splits,
    chosen: Sequence[Suggestion],
    folder: Path,
    drafts: Sequence[Path],
) -> None:
    """Add the round to rounds.json. A round of the same folder that gave no label is replaced.

    Its drafts are gone, or a kill came before they were there: the folder was empty.
    """
    here, data = folder.resolve(), root.resolve()
    record = Round(
        suggested=now(),
        run=run.path.absolute().name,
        drafts=_seen_from(data, here),
        labelled=tuple(case.id for case in splits.labelled),
        cases={
            each.case: Drafted(f"{KEPT}/{draft.name}", each.score)
            for each, draft in zip(chosen, drafts, strict=True)
        },
    )
    before = [
        each
        for each in up_to_date(root, splits).rounds
        if (data / each.drafts).resolve() != here
        or any(case.labelled for case in each.cases.values())
    ]
    Rounds((*before, record)).write(root)


def _seen_from(data: Path, folder: Path) -> str:
    """Return the way to a folder from the data, which a copy of both keeps; else its path."""
    try:
        return Path(os.path.relpath(folder, data)).as_posix()
    except ValueError:  # on another drive
        return folder.as_posix()


def files_of(case: Case) -> list[Path]:
    """Return the files of a scan: one, or one per channel."""
    if not case.numbered:
        return [case.file]
    groups, _ = by_channel(case.file.parent.iterdir())
    of_scan = next(files for files in groups.values() if case.file in files.values())
    return [of_scan[channel] for channel in sorted(of_scan)]


def up_to_date(root: Path, splits: Splits) -> Rounds:
    """Return the rounds of a data folder, with its labels of today."""
    return Rounds.read(root).with_labels(_with_labels(splits), root)


def _with_labels(splits: Splits) -> Iterable[Case]:
    return (*splits.labelled, *splits.validation, *splits.test)


def note_rounds(
    run: RunFolder, root: Path | None, splits: Splits, remark: Callable[[str], None]
) -> None:
    """Bring the data folder's rounds.json up to date, and keep a copy in a new run.

    The run's report shows the copy, so it stays true when the folder changes.
    """
    if root is None or not (before := Rounds.read(root)).rounds:
        return
    rounds = up_to_date(root, splits)
    rounds.write(run.path)
    if rounds != before:
        try:
            rounds.write(root)
        except OSError as error:
            remark(f"rounds.json could not be written into {root}: {error.strerror or error}")
    used = [case.id for case in splits.labelled if case.id in rounds.drafted]
    if used:
        remark(f"trained on with labels that came after a draft: {first_few(used)}")
    there = {case.id for case in _with_labels(splits) if case.labelled}
    if untouched := [
        name for name, case in rounds.latest.items() if case.untouched and name in there
    ]:
        names = first_few(untouched)
        remark(f"these labels equal their drafts in every voxel; were they looked at? {names}")
