"""A user's own scans: images/ and labels/, or the layout of the Decathlon and of nnU-Net.

A scan is labelled if the label folder contains its name. Cases are raw: intensities as stored, in
canonical orientation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from crossview.core.errors import Problem, raise_all
from crossview.core.text import first_few
from crossview.data.case import Case, Splits
from crossview.data.io import ScanFiles
from crossview.data.io.geometry import Header
from crossview.data.sources import lists
from crossview.data.sources.dataset_json import DatasetJson, read_dataset_json
from crossview.data.sources.layout import LAYOUT, Layout, find_scans
from crossview.data.sources.scans import Colour, make_case, read_headers
from crossview.data.sources.source import DataOptions
from crossview.data.sources.split_toml import Split, read_split

FEWEST_LABELLED = 2
"""Fewest labelled training cases.

The methods mix labelled scans with each other, and a single scan does not show how scans differ.
"""

ROLES = ("labelled", "hidden", "unlabelled", "validation", "test", "unused")


class Options(DataOptions):
    """Keys of [data] for a user's folder. ``crossview train folder`` plans the other keys."""

    source: str = Field(default="folder", description="This source's name.")
    labelled: int = Field(
        default=0,
        ge=0,
        description="0: all cases with labels. n: the first n (in the order of the list "
        "`labelled` in split.toml, else by name); the other labels are hidden and their scans "
        "used as unlabelled.",
    )
    orientation: Literal["canonical"] = Field(
        default="canonical",
        description="NIfTI axes towards right, front and head (from the affine), in the order of "
        "nifti_axes.",
    )
    colour: Colour = Field(
        default="stored",
        description="PNG and TIFF images in colour. stored: three channels. grey: one channel; the "
        "three channels of every image must be equal.",
    )


@dataclass(frozen=True)
class FolderCases:
    """The cases of a folder by role, before a recipe limits the number of labelled cases.

    labelled: in the order in which ``data.labelled`` counts them. hidden: labelled cases that
    split.toml lists as unlabelled. unlabelled: without labels. unused: scans without a role, such
    as those of imagesTs without labels. channels: of every case. channel_names: from dataset.json
    ("MRI", "CT", "T1"), or None. class_names: from dataset.json, background first, or (). unit: of
    distances, "mm" if every case has a spacing, else "voxel". colour: of the images, "grey" if each
    that is stored in colour has three equal channels. warnings: problems that do not prevent
    training.
    """

    labelled: tuple[Case, ...] = ()
    hidden: tuple[Case, ...] = ()
    unlabelled: tuple[Case, ...] = ()
    validation: tuple[Case, ...] = ()
    test: tuple[Case, ...] = ()
    unused: tuple[Case, ...] = ()
    channels: int = 1
    channel_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] = ()
    colour: Colour = "stored"
    warnings: tuple[Problem, ...] = ()

    @property
    def by_role(self) -> dict[str, tuple[Case, ...]]:
        return {role: getattr(self, role) for role in ROLES}

    @property
    def unit(self) -> str:
        cases = [case for of_role in self.by_role.values() for case in of_role]
        return "mm" if all(case.spacing is not None for case in cases) else "voxel"

    def names_of(self, classes: int) -> tuple[str, ...]:
        """Return a name per class; "class k" if dataset.json has none."""
        known = (self.class_names or ("background",))[:classes]
        return (*known, *(f"class {number}" for number in range(len(known), classes)))


def splits(root: Path | None, options: Options) -> Splits:
    """Return raw cases without reading their images.

    Images are float32 (C, *S) in canonical orientation with axes in the order
    ``options.nifti_axes``; (C, H, W) for PNG and TIFF. UserError with every problem of names,
    dataset.json and split.toml, and for too few labelled cases.
    """
    cases = find_cases(root, options.nifti_axes, options.colour)
    split_file, here = Path(root or "") / "split.toml", str(root)
    used = cases.labelled[: options.labelled or None]
    begin = max(0, len(used) - options.validation)
    trained, held_out = used[:begin], used[begin:]
    unlabelled = (*cases.unlabelled, *cases.hidden, *cases.labelled[len(used) :])
    problems = lists.too_few(
        options.labelled, len(used), "labelled cases", f"[data] labelled, {here}"
    )
    if options.validation and cases.validation:
        what, fix = "validation cases are defined twice", "remove one of the two"
        found = f"data.validation = {options.validation} and a list in split.toml"
        problems.append(Problem(what, str(split_file), found, "one of the two", fix))
    if len(trained) < FEWEST_LABELLED:
        problems.append(too_few_labelled(len(trained), here))
    by_role = {"training": (*trained, *unlabelled), "validation": held_out}
    problems += lists.shared_names(
        {role: [case.patient for case in of_role] for role, of_role in by_role.items()}, "patient"
    )
    raise_all(problems)
    return Splits(
        labelled=trained,
        unlabelled=tuple(case.without_label() for case in unlabelled),
        validation=held_out or cases.validation,
        test=cases.test,
        classes=options.classes,
        class_names=cases.names_of(options.classes),
        channels=cases.channels,
        unit=cases.unit,
        raw=True,
    )


def too_few_labelled(count: int, where: str) -> Problem:
    """Return the problem of a data set that is too small to train on."""
    fix = (
        "label more scans (a label has its scan's name), raise data.labelled or lower "
        "data.validation"
    )
    return Problem(
        "too few labelled cases to train on", where, str(count), f"at least {FEWEST_LABELLED}", fix
    )


def find_cases(
    root: Path | None, nifti_axes: Sequence[int] = (0, 1, 2), colour: Colour | None = None
) -> FolderCases:
    """Return the cases of a folder, reading headers only.

    ``colour``: None looks into images stored in colour, too. UserError with every problem of names,
    dataset.json and split.toml.
    """
    cases, problems = survey(root, nifti_axes, colour)
    raise_all(problems)
    return cases


def survey(
    root: Path | None, nifti_axes: Sequence[int] = (0, 1, 2), colour: Colour | None = None
) -> tuple[FolderCases, list[Problem]]:
    """Return the cases of a folder, and the problems of names, dataset.json and split.toml.

    colour: How to read images stored in colour; None decides it over the set.

    Cases with damaged files are included; reading them raises UserError. UserError if the folder
    does not exist.
    """
    root = lists.existing_root(root, LAYOUT)
    dataset, problems = read_dataset_json(root / "dataset.json")
    layout = find_scans(root)
    scans = layout.train | layout.test
    labelled = {name for name, scan in scans.items() if scan.label is not None}
    split, wrong = read_split(root / "split.toml", scans, labelled)
    problems += layout.problems + wrong + _mixed(scans, root)
    roles, left_out = _roles(layout, split)
    headers, colour = read_headers(scans, colour)
    channels = _channels(scans, headers, dataset)
    by_name = {
        name: make_case(scan, split.patient(name), channels, headers[name], tuple(nifti_axes))
        for name, scan in scans.items()
    }
    problems += _shared_patients(roles, by_name)
    names = dataset.channel_names
    cases = FolderCases(
        **{role: tuple(by_name[name] for name in names) for role, names in roles.items()},
        channels=channels,
        channel_names=names if names and len(names) == channels else None,
        class_names=dataset.class_names,
        colour=colour,
        warnings=(*layout.warnings, *_unlisted(dataset, scans, root), *left_out),
    )
    return cases, problems


def _roles(layout: Layout, split: Split) -> tuple[dict[str, list[str]], list[Problem]]:
    """Return names by role, and warnings.

    A scan in no list is used according to its label, but never for training if its patient is in
    validation or test.
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
    return roles | {"unused": [name for name in scans if name not in used]}, warnings


def _shared_patients(
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
    return lists.shared_names(patients, "patient")


def _mixed(scans: Mapping[str, ScanFiles], root: Path) -> list[Problem]:
    flat = sum(scan.format.flat for scan in scans.values())
    if flat in (0, len(scans)):
        return []
    found = f"{len(scans) - flat} NIfTI volumes and {flat} PNG or TIFF images"
    what, fix = "volumes and 2D images are mixed", "split them into two data sets"
    return [Problem(what, str(root), found, "one of the two", fix)]


def _unlisted(dataset: DatasetJson, scans: Mapping[str, ScanFiles], root: Path) -> list[Problem]:
    """Return a warning if dataset.json lists missing images."""
    files = {file.relative_to(root).as_posix() for scan in scans.values() for file in scan.files}
    numbered = {
        path.replace(f"{scan.name}_0000.", f"{scan.name}.")
        for scan in scans.values()
        for path in [scan.files[0].relative_to(root).as_posix()]
    }
    missing = [path for path in dataset.images if Path(path).as_posix() not in files | numbered]
    what = f"dataset.json lists {len(missing)} missing images"
    return [Problem(what, str(root / "dataset.json"), first_few(missing))] if missing else []


def _channels(
    scans: Mapping[str, ScanFiles], headers: Mapping[str, Header | None], dataset: DatasetJson
) -> int:
    """Return the number of channels: for volumes from dataset.json, else that of most scans."""
    if dataset.channel_names and any(not scan.format.flat for scan in scans.values()):
        return len(dataset.channel_names)
    counts = Counter(header.channels for header in headers.values() if header is not None)
    return max(counts, key=lambda count: (counts[count], -count), default=1)
