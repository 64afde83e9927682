"""Predictions in a folder for the viewer, with the scans that they are of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import Problem, UserError, fail, nearest, raise_all
from crossview.core.progress import Progress
from crossview.core.text import count, percent
from crossview.data.io import BY_SUFFIX, CLASS_NUMBERS, ScanFiles, split_name
from crossview.data.io.dicom_files import file_name
from crossview.data.io.label_map import LabelMap
from crossview.evaluation.metrics import overlap
from crossview.inference.inputs import find_scans
from crossview.reporting.pictures.panels import Array
from crossview.reporting.viewer.gallery import Gallery, Listed
from crossview.reporting.viewer.grid import Grid
from crossview.reporting.viewer.layers import DOUBTS, Opened, opened


@dataclass(frozen=True)
class Predicted:
    """A prediction and the files that belong to it.

    meaning: of all label files of the folder; segments are read by name.
    """

    name: str
    file: Path
    scan: ScanFiles
    label: Path | None
    maps: Mapping[str, Path]
    meaning: LabelMap = CLASS_NUMBERS

    @property
    def prediction(self) -> Array:
        return self._classes(self.file)

    def _classes(self, file: Path) -> Array:
        """Return the classes of a label file of this scan. UserError if it does not fit."""
        return replace(self.scan, label=file).read_label(self.meaning)

    def map(self, name: str) -> NDArray[np.float32]:
        """Return a map (*S) of the prediction, with values 0 to 1."""
        file = self.maps[name]
        values: NDArray[np.float32] = BY_SUFFIX[split_name(file.name)[1]].read([file], 1).image[0]
        return values

    def open(self) -> Opened:
        """Return the layers. UserError if a file can't be read or has another grid."""
        form, files = self.scan.format, self.scan.files
        header = form.read_header(files[0])
        scan = form.read(files, header.channels)
        return opened(
            Grid.of(header.shape, header.affine),
            scan.image,
            None if self.label is None else self._classes(self.label),
            self.prediction,
            doubts={name: self.map(name) for name in self.maps},
            names=dict(enumerate(self.meaning.names)),
        )

    def dice(self) -> float:
        """Return the mean Dice over the classes of the label and the prediction."""
        assert self.label is not None
        label, prediction = self._classes(self.label), self.prediction
        values = [
            overlap(prediction == index, label == index)[0]
            for index in np.union1d(np.unique(label), np.unique(prediction))
            if index > 0
        ]
        return float(np.mean(values)) if values else 1.0

    def doubt(self) -> float:
        """Return the mean of the first map over the prediction; 1 if it finds nothing."""
        found = self.prediction > 0
        return float(self.map(next(iter(self.maps)))[found].mean()) if found.any() else 1.0


def gallery_of_folder(
    folder: Path,
    names: Sequence[str] = (),
    *,
    scans: Path | None,
    labels: Path | None = None,
    progress: Progress | None = None,
) -> Gallery:
    """Return the predictions of a folder, the worst first: by Dice, else by doubt.

    Args:
        folder: The folder that predict wrote.
        names: Predictions to show, in this order. Default: all.
        scans: The folder of the scans.
        labels: The folder of true labels, if there are any.
        progress: Called with (cases ranked, all cases).

    Raises:
        UserError: If the folder has no predictions, or a scan is missing.
    """
    if scans is None:
        fail(
            "the scans of these predictions are needed",
            folder,
            expected="the folder that the predicted scans are in",
            fix="add --scans DIR",
        )
    every = _predictions(folder, scans, labels)
    raise_all(
        [
            Problem("there is no such prediction", name, fix=nearest(name, every))
            for name in names
            if name not in every
        ]
    )
    chosen = [every[name] for name in dict.fromkeys(names)] or list(every.values())
    listed = []
    for done, case in enumerate(chosen, 1):
        listed.append(_listed(case))
        if progress is not None:
            progress(done, len(chosen))
    order = "as named"
    if not names:
        scored = any(case.label for case in chosen)
        listed.sort(key=lambda each: (each.score is None, each.score or 0))
        if not scored:
            listed.sort(key=lambda each: -(each.score or 0))
        ranked = "most doubtful first" if any(case.maps for case in chosen) else "by name"
        order = "worst Dice first" if scored else ranked
    return Gallery(folder.absolute().name, count(len(listed), "prediction"), order, listed)


def _listed(case: Predicted) -> Listed:
    if case.label is not None:
        dice = case.dice()
        return Listed(case.name, case.open, dice, f"Dice {percent(dice)} %")
    if case.maps:
        doubt = case.doubt()
        return Listed(case.name, case.open, doubt, f"doubt {doubt:.2f}")
    return Listed(case.name, case.open)


def _predictions(folder: Path, scans: Path, labels: Path | None) -> dict[str, Predicted]:
    """Return the predictions of a folder by name. UserError with every problem found."""
    if not folder.is_dir():
        fail("there is no such folder", folder, fix="give a run folder or a folder of predictions")
    files = _by_name(folder)
    if not files:
        fail(
            "this is neither a run folder nor a folder of predictions",
            folder,
            expected="recipe.toml, or label files that crossview predict wrote",
            fix="give a run folder, or the --out of crossview predict",
        )
    found, problems = find_scans([scans], 1, numbered=True)
    by_name = {scan.name: scan for scan in found}
    truths = {} if labels is None else _by_name(labels)
    maps = {name: _by_name(folder / name) for name in DOUBTS if (folder / name).is_dir()}
    meaning, predicted = _meaning([*files.values(), *truths.values()]), {}
    for name, file in files.items():
        scan = by_name.get(name) or by_name.get(f"{name}_0000")
        if scan is None:
            problems.append(Problem("the scan of a prediction is missing", f"{scans}/{name}"))
            continue
        of_case = {kind: others[name] for kind, others in maps.items() if name in others}
        predicted[name] = Predicted(name, file, scan, truths.get(name), of_case, meaning)
    raise_all(problems)
    return predicted


def _meaning(files: Iterable[Path]) -> LabelMap:
    """Return the classes of label files: by their segments' names, numbered as they come first.

    Predictions come first, and name every class in the order of its number.
    """
    names = {"background": None}
    for file in files:
        try:
            names |= dict.fromkeys(BY_SUFFIX[split_name(file_name(file))[1]].names(file))
        except UserError:
            continue  # reading the file raises the reason
    return LabelMap((), tuple(names)) if len(names) > 1 else CLASS_NUMBERS


def _by_name(folder: Path) -> dict[str, Path]:
    """Return the scan or label files of a folder by their names without suffix, sorted."""
    if not folder.is_dir():
        fail("there is no such folder", folder, fix="check the path")
    files = {split_name(file.name): file for file in sorted(folder.iterdir()) if file.is_file()}
    return {name: file for (name, suffix), file in files.items() if suffix}
