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
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from crossview.data.case import Case, Splits
from crossview.data.sources import lists
from crossview.data.sources.h5 import read_image, read_label
from crossview.data.sources.source import DataOptions
from crossview.errors import Problem, UserError, raise_all

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


def splits(root: Path | None, options: Options) -> Splits:
    """Return training cases (1, H, W), validation and test cases (1, D, H, W).

    UserError with every problem of the lists and every missing file.
    """
    root = lists.existing_root(root, LAYOUT)
    patients, volumes = _checked_lists(root, options)
    names = list(patients)
    trained, held_out = (
        names[: options.labelled - options.validation],
        names[options.labelled - options.validation : options.labelled],
    )
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
    for file, pattern in (
        ("train_slices.list", SLICE),
        ("val.list", VOLUME),
        ("test.list", VOLUME),
    ):
        listed, found = lists.read_list(root / file)
        odd = [name for name in listed if not pattern.fullmatch(name)]
        expected = "patient001_frame01_slice_1" if pattern is SLICE else "patient001_frame01"
        problems += found + [
            Problem(
                "the name does not fit this layout",
                where=str(root / file),
                found=name,
                expected=f"a name such as {expected}",
            )
            for name in odd
        ]
        names[file] = [name for name in listed if name not in odd]
        problems += lists.missing_files(
            names[file], partial(_slice_file if pattern is SLICE else _volume_file, root), file
        )
    patients: dict[str, list[str]] = {}
    for name in names["train_slices.list"]:
        patients.setdefault(_patient(name), []).append(name)
    by_file = {file: list(dict.fromkeys(map(_patient, listed))) for file, listed in names.items()}
    problems += lists.shared_names(by_file, "patient")
    if patients:
        problems += lists.too_few(
            options.labelled, len(patients), "patients", root / "train_slices.list"
        )
    raise_all(problems)
    return patients, names


def _patient(name: str) -> str:
    return name.split("_frame")[0]


def _slice_file(root: Path, name: str) -> Path:
    return root / "data" / "slices" / f"{name}.h5"


def _volume_file(root: Path, name: str) -> Path:
    return root / "data" / f"{name}.h5"


def _slice(root: Path, name: str) -> Case:
    return _case(_slice_file(root, name), name, dimensions=2)


def _volume(root: Path, name: str) -> Case:
    return _case(_volume_file(root, name), name, dimensions=3)


def _case(file: Path, name: str, dimensions: int) -> Case:
    image, label = partial(read_image, file, dimensions), partial(read_label, file, dimensions)
    return Case(id=name, patient=_patient(name), file=file, read_image=image, read_label=label)


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
    return Case(
        id=volume,
        patient=_patient(volume),
        file=files[0],
        read_image=partial(_stack_images, files),
        read_label=partial(_stack_labels, files),
    )


def _stack_images(files: list[Path]) -> NDArray[np.float32]:
    return _stack([read_image(file, 2) for file in files], files, axis=1)


def _stack_labels(files: list[Path]) -> NDArray[np.uint8]:
    return _stack([read_label(file, 2) for file in files], files, axis=0)


def _stack(slices: list[NDArray[Number]], files: list[Path], axis: int) -> NDArray[Number]:
    shapes = [part.shape for part in slices]
    for file, shape in zip(files, shapes, strict=True):
        if shape != shapes[0]:
            raise UserError(
                Problem(
                    "the slices of one volume differ in shape",
                    where=str(file),
                    found=str(shape),
                    expected=str(shapes[0]),
                )
            )
    return np.stack(slices, axis=axis)
