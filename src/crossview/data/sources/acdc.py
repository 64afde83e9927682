"""ACDC: cine MR of the heart, as published for semi-supervised segmentation.

100 patients, each at end diastole and end systole.

Layout:
    train_slices.list: 1,312 names such as patient099_frame01_slice_15, of 70 patients.
    val.list: 20 volumes of 10 patients.
    test.list: 40 volumes of 20 patients.
    data/slices/<name>.h5 (H x W) and data/<name>.h5 (D x H x W): ``image`` (float32, scaled to
        [0, 1] per volume, not resampled) and ``label`` (0 background, 1 right ventricle,
        2 myocardium, 3 left ventricle).

Data: Bernard et al., IEEE TMI 2018. Preprocessing: Luo, SSL4MIS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from crossview.core.errors import Problem, fail, raise_all
from crossview.data.case import Case, Splits
from crossview.data.io.h5 import read_image, read_label
from crossview.data.sources import lists
from crossview.data.sources.source import DataOptions

Number = TypeVar("Number", bound=np.generic)


LAYOUT = (
    "a folder with train_slices.list, val.list, test.list, data/slices/<slice>.h5 "
    "and data/<volume>.h5"
)


SLICE = re.compile(r".+_frame\d+_slice_\d+")


VOLUME = re.compile(r".+_frame\d+")


NOTES = (
    "ACDC files store no voxel spacing: distances are in voxels, although slices are 5 to 10 mm "
    "apart and pixels 0.7 to 1.9 mm.",
)


class Options(DataOptions):
    """Keys of [data] for ACDC. Training items are slices; ``labelled`` counts patients."""

    source: str = Field(default="acdc", description="This source's name.")
    labelled: int = Field(
        ge=1,
        description="Number of labelled patients, in the order of train_slices.list (3: 68 "
        "slices, 7: 136).",
    )
    validation: int = Field(
        default=0,
        ge=0,
        description="0: the 10 published validation patients of val.list, whose labels are used in "
        "addition to `labelled`. n: the last n labelled patients instead, which are then not "
        "trained on.",
    )
    patch: tuple[int, ...] = Field(
        default=(256, 256),
        description="Size in pixels to which each slice is resized (published: 256 x 256).",
    )
    classes: int = Field(
        default=4,
        ge=4,
        le=4,
        description="Background, right ventricle, myocardium, left ventricle.",
    )
    nifti_axes: tuple[int, ...] = Field(
        default=(2, 1, 0),
        description="Order in which the axes (x, y, z) of a NIfTI array are read: slices first, "
        "as in the h5 files.",
    )

    @field_validator("fold")
    @classmethod
    def _no_folds(cls, fold: tuple[int, ...]) -> tuple[int, ...]:
        if fold:
            raise ValueError(
                "fold: ACDC's labelled cases are single slices, which do not compare with its test "
                "volumes; leave it empty"
            )
        return fold


def splits(root: Path | None, options: Options) -> Splits:
    """Return training cases (1, H, W), validation and test cases (1, D, H, W).

    UserError with every problem of the lists and every missing file.
    """
    root = lists.existing_root(root, LAYOUT)
    patients, volumes = _checked_lists(root, options)
    names = list(patients)
    trained = names[: options.labelled - options.validation]
    held_out = names[len(trained) : options.labelled]
    if options.validation:
        validation = tuple(
            _stacked(root, volume)
            for patient in held_out
            for volume in _by_volume(patients[patient])
        )
        note = f"Validation: the labelled patients {', '.join(held_out)}, not trained on."
    else:
        validation = tuple(_volume(root, name) for name in volumes["val.list"])
        note = (
            "Validation: the published list, whose labels are used in addition to the labelled "
            "training patients."
        )
    return Splits(
        labelled=tuple(_slice(root, name) for patient in trained for name in patients[patient]),
        unlabelled=tuple(
            _slice(root, name).without_label()
            for patient in names[options.labelled :]
            for name in patients[patient]
        ),
        validation=validation,
        test=tuple(_volume(root, name) for name in volumes["test.list"]),
        classes=options.classes,
        class_names=("background", "right ventricle", "myocardium", "left ventricle"),
        notes=(*NOTES, note),
    )


def _checked_lists(
    root: Path, options: Options
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return slices by patient, in list order, and the names in each list."""
    names, problems = {}, []
    slices = (SLICE, _slice_file, "a name such as patient001_frame01_slice_1")
    volumes = (VOLUME, _volume_file, "a name such as patient001_frame01")
    for file, (pattern, path_of, example) in {
        "train_slices.list": slices,
        "val.list": volumes,
        "test.list": volumes,
    }.items():
        listed, found = lists.read_list(root / file)
        names[file] = [name for name in listed if pattern.fullmatch(name)]
        problems += found + [
            Problem("the name does not fit this layout", str(root / file), name, example)
            for name in listed
            if not pattern.fullmatch(name)
        ]
        problems += lists.missing_files(names[file], partial(path_of, root), file)
    patients: dict[str, list[str]] = {}
    for name in names["train_slices.list"]:
        patients.setdefault(_patient(name), []).append(name)
    by_file = {file: list(dict.fromkeys(map(_patient, listed))) for file, listed in names.items()}
    problems += lists.shared_names(by_file, "patient")
    if patients:
        where = root / "train_slices.list"
        problems += lists.too_few(options.labelled, len(patients), "patients", where)
    raise_all(problems)
    return patients, names


def _patient(name: str) -> str:
    return name.split("_frame")[0]


def _slice_file(root: Path, name: str) -> Path:
    return root / "data" / "slices" / f"{name}.h5"


def _volume_file(root: Path, name: str) -> Path:
    return root / "data" / f"{name}.h5"


def _slice(root: Path, name: str) -> Case:
    return lists.h5_case(_slice_file(root, name), name, _patient(name), dimensions=2)


def _volume(root: Path, name: str) -> Case:
    return lists.h5_case(_volume_file(root, name), name, _patient(name))


def _by_volume(names: Sequence[str]) -> list[list[str]]:
    """Return a patient's slices by volume, in their order along the heart."""
    volumes: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        volume, number = name.rsplit("_slice_", 1)
        volumes.setdefault(volume, []).append((int(number), name))
    return [[name for _, name in sorted(volumes[volume])] for volume in sorted(volumes)]


def _stacked(root: Path, names: list[str]) -> Case:
    """Return a volume stacked from slices: training patients are published only as slices."""
    volume = names[0].rsplit("_slice_", 1)[0]
    files = [_slice_file(root, name) for name in names]
    image, label = partial(_stack, read_image, files, 1), partial(_stack, read_label, files, 0)
    return Case(volume, _patient(volume), files[0], image, label)


def _stack(
    read: Callable[[Path, int], NDArray[Number]], files: list[Path], axis: int
) -> NDArray[Number]:
    slices = [read(file, 2) for file in files]
    for file, part in zip(files, slices, strict=True):
        if part.shape != slices[0].shape:
            what = "the slices of one volume differ in shape"
            fail(what, file, found=part.shape, expected=slices[0].shape)
    return np.stack(slices, axis=axis)
