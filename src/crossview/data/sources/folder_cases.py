"""The cases of a user's folder by role, found from names, headers, dataset.json and split.toml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossview.core.errors import Problem, raise_all
from crossview.core.regions import Region
from crossview.core.text import count, first_few
from crossview.data.case import Case
from crossview.data.io import ScanFiles
from crossview.data.io.label_map import Entry, LabelMap
from crossview.data.rounds import Rounds
from crossview.data.sources import lists, regions, roles
from crossview.data.sources.dataset_json import DatasetJson, read_dataset_json
from crossview.data.sources.layout import LAYOUT, find_scans
from crossview.data.sources.partly import agreed, also_classes, numbered, unfit_slices
from crossview.data.sources.scans import Colour, cases_of
from crossview.data.sources.split_toml import read_split
from crossview.data.sources.stated import of_folder

ROLES = ("labelled", "hidden", "unlabelled", "validation", "test", "unused")


@dataclass(frozen=True)
class FolderCases:
    """The cases of a folder by role, before a recipe limits the number of labelled cases.

    labelled: in the order in which ``data.labelled`` counts them. hidden: labelled cases that
    split.toml lists as unlabelled. unlabelled: without labels. unused: scans without a role, such
    as those of imagesTs without labels. channels: of every case. channel_names: from dataset.json
    ("MRI", "CT", "T1"), or None. class_names: from dataset.json, background first, or (). unit: of
    distances, "mm" if every case has a spacing, else "voxel". colour: of the images, "grey" if each
    that is stored in colour has three equal channels. warnings: problems that do not prevent
    training. drafted: names of scans for which drafts were written. ignore: the value in label
    files of voxels that nobody labelled, or None. regions: as the folder states them.
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
    drafted: frozenset[str] = frozenset()
    ignore: int | None = None
    regions: tuple[Region, ...] = ()

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


def find_cases(
    root: Path | None,
    nifti_axes: Sequence[int] = (0, 1, 2),
    label_values: Sequence[Entry] | None = None,
    colour: Colour | None = None,
    overlap: Sequence[str] | None = None,
) -> FolderCases:
    """Return the cases of a folder, reading headers only, as :func:`survey` does.

    ``colour``: None looks into images stored in colour, too. UserError with every problem of names,
    dataset.json and split.toml.
    """
    cases, problems = survey(root, nifti_axes, label_values, colour, overlap)
    raise_all(problems)
    return cases


def survey(
    root: Path | None,
    nifti_axes: Sequence[int] = (0, 1, 2),
    label_values: Sequence[Entry] | None = None,
    colour: Colour | None = None,
    overlap: Sequence[str] | None = None,
) -> tuple[FolderCases, list[Problem]]:
    """Return the cases of a folder, and the problems of names, dataset.json and split.toml.

    label_values: of the classes in label files, () if they are class numbers; by default as the
    folder states. overlap: classes in the order in which they count where segments overlap.
    colour: How to read images stored in colour; None decides it over the set.

    Cases with damaged files are included; reading them raises UserError. UserError if the folder
    does not exist.
    """
    root = lists.existing_root(root, LAYOUT)
    dataset, problems = read_dataset_json(root / "dataset.json")
    layout = find_scans(root, len(dataset.channel_names))
    scans = layout.train | layout.test
    labelled = {name for name, scan in scans.items() if scan.label is not None}
    split, wrong = read_split(root / "split.toml", scans, labelled)
    problems += layout.problems + wrong + _mixed(scans, root)
    drafted = Rounds.read(root).drafted
    by_role, told = roles.assign(layout, split, drafted)
    stated, wrong = of_folder(split.stated, dataset, scans.values())
    problems += wrong if label_values in (None, stated.entries) else []
    values = stated.entries if label_values is None else tuple(label_values)
    class_names = stated.names_of(values, dataset)
    order = stated.order if overlap is None else tuple(overlap)
    meaning, split_file = LabelMap(values, class_names, order), str(root / "split.toml")
    ignore, wrong = agreed(split.partly.ignore, dataset.ignore, split_file)
    missing, unknown = numbered(split.partly.missing, class_names, split_file)
    split.partly = replace(split.partly, ignore=ignore, missing=missing)
    channels, colour, by_name, depths = cases_of(scans, split, dataset, nifti_axes, meaning, colour)
    of_regions, unfit = regions.numbered(
        split.regions or dataset.regions, meaning, ignore, bool(missing)
    )
    problems += [
        *wrong,
        *unknown,
        *unfit,
        *also_classes(ignore, [*meaning.by_value], len(class_names), str(root)),
        *unfit_slices(split.partly.slices, depths, labelled, split_file),
    ]
    problems += roles.shared_patients(by_role, by_name)
    names = dataset.channel_names
    cases = FolderCases(
        **{role: tuple(by_name[name] for name in names) for role, names in by_role.items()},
        channels=channels,
        channel_names=names if names and len(names) == channels else None,
        class_names=class_names,
        colour=colour,
        warnings=(
            *layout.warnings,
            *_unlisted(dataset, scans, root),
            *_other_channels(dataset, channels, root),
            *told,
        ),
        drafted=drafted,
        ignore=ignore,
        regions=of_regions,
    )
    return cases, problems


def _mixed(scans: Mapping[str, ScanFiles], root: Path) -> list[Problem]:
    flat = sum(scan.format.flat for scan in scans.values())
    if flat in (0, len(scans)):
        return []
    found = f"{len(scans) - flat} volumes and {flat} PNG or TIFF images"
    what, fix = "volumes and 2D images are mixed", "split them into two data sets"
    return [Problem(what, str(root), found, "one of the two", fix)]


def _other_channels(dataset: DatasetJson, channels: int, root: Path) -> list[Problem]:
    """Return a warning if images have more or fewer channels than dataset.json names."""
    names = dataset.channel_names
    if not names or len(names) == channels:
        return []
    what = "dataset.json names other channels than the images have"
    found = f"{count(len(names), 'name')} ({first_few(names)}), {count(channels, 'channel')}"
    fix = "correct channel_names, or save grey images with one channel"
    return [Problem(what, str(root / "dataset.json"), found, "a name per channel", fix)]


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
