"""A user's own scans: images/ and labels/, or the layout of the Decathlon and of nnU-Net.

A scan is labelled if the label folder contains its name. Cases are raw: intensities as stored, in
canonical orientation.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from crossview.core.errors import Problem, raise_all
from crossview.core.regions import Entry as RegionEntry
from crossview.core.regions import Region, of_data, regions_of
from crossview.core.text import count, first_few, listed
from crossview.data.case import Case, Splits
from crossview.data.io.label_map import Entry, LabelMap, colliding, written_values
from crossview.data.sources import lists, regions
from crossview.data.sources.dataset_json import DatasetJson, read_dataset_json
from crossview.data.sources.folder_cases import find_cases
from crossview.data.sources.layout import find_scans
from crossview.data.sources.partly import also_classes
from crossview.data.sources.predicted import FOLDER, note_on, with_predictions
from crossview.data.sources.scans import Colour
from crossview.data.sources.source import DataOptions
from crossview.data.sources.split_toml import Split, read_split
from crossview.data.sources.stated import Stated, of_folder

FEWEST_LABELLED = 2
"""Fewest labelled training cases.

The methods mix labelled scans with each other, and a single scan does not show how scans differ.
"""

HIDES = "data.labelled hides"
"""Begin of the note on hidden corrections."""


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
    validation: int = Field(
        default=0,
        ge=0,
        description="n: the labelled cases of the last n patients are used for validation instead "
        "of training, and their other scans not at all. Each case is a patient of its own unless "
        "split.toml says whose it is.",
    )
    label_values: tuple[int | str | tuple[int | str, ...], ...] = Field(
        default=(),
        description="What label files hold for each class, the background first, where values are "
        "not 0, 1, 2, ...: a value, the name of a segment, or a list of these. [0, 255] for masks "
        'whose one class is 255; [0, [205, "liver"], "tumour"]. Predicted files hold the first '
        "value of each, or the class number. Planned from [labels] in split.toml, `labels` in "
        "dataset.json or the segments' names. Empty: values are class numbers.",
    )
    overlap: tuple[str, ...] = Field(
        default=(),
        description="Names of classes, of which the earlier one counts where segments of a label "
        "overlap; other overlaps are refused. Planned from split.toml.",
    )
    regions: tuple[RegionEntry, ...] = Field(
        default=(),
        description="Regions that are trained and scored instead of the classes, each with a "
        "sigmoid of its own, in the order in which predictions are written: name, numbers of its "
        'classes, number of the class that is written for it; [["whole", [1, 2], 1], ["core", '
        "[2], 2]]. Planned from `labels` and `regions_class_order` in dataset.json, or from "
        "split.toml. Empty: exclusive classes.",
    )
    orientation: Literal["canonical"] = Field(
        default="canonical",
        description="Axes of volumes towards right, front and head (from the affine), in the order "
        "of nifti_axes.",
    )
    colour: Colour = Field(
        default="stored",
        description="PNG and TIFF images in colour. stored: three channels. grey: one channel; the "
        "three channels of every image must be equal.",
    )

    predicted: bool = Field(
        default=False,
        description="Teach the predictions in the folder predicted/ as labels of the unlabelled "
        "scans. They are never scored. `crossview train folder --predicted` sets it.",
    )

    @model_validator(mode="after")
    def _unseen_folds(self) -> Options:
        if self.predicted and self.fold:
            raise ValueError(
                "predicted: the model of the predictions has seen the labels that a fold tests; "
                "leave out data.fold"
            )
        return self

    @field_validator("label_values")
    @classmethod
    def _distinct(cls, values: tuple[Entry, ...]) -> tuple[Entry, ...]:
        items = [item for each in LabelMap(values).items for item in each]
        numbers = [item for item in items if isinstance(item, int)]
        zero = values and 0 in LabelMap(values).items[0]
        if values and (not zero or max(numbers) > 255 or min(numbers) < 0 or colliding(values)):
            raise ValueError(
                f"label_values: 0 (background) first, then different numbers up to 255 or names; "
                f"found {list(values)}"
            )
        return values

    @field_validator("regions")
    @classmethod
    def _readable(cls, entries: tuple[RegionEntry, ...]) -> tuple[RegionEntry, ...]:
        for problem in regions.unfit(regions_of(entries), ""):
            raise ValueError(f"{problem.what}; found {problem.found}")
        return entries


def splits(root: Path | None, options: Options) -> Splits:
    """Return raw cases without reading their images.

    Images are float32 (C, *S) in canonical orientation with axes in the order
    ``options.nifti_axes``; (C, H, W) for PNG and TIFF. UserError with every problem of names,
    dataset.json and split.toml, and for too few labelled cases.
    """
    cases = find_cases(
        root, options.nifti_axes, options.label_values, options.colour, options.overlap
    )
    split_file, here = Path(root or "") / "split.toml", str(root)
    used = cases.labelled[: options.labelled or None]
    held_out = _last_patients(used, options.validation)
    patients = {case.patient for case in held_out}
    trained = tuple(case for case in used if case.patient not in patients)
    others = (*cases.unlabelled, *cases.hidden, *cases.labelled[len(used) :])
    unlabelled = tuple(case for case in others if case.patient not in patients)
    problems = lists.too_few(
        options.labelled, len(used), "labelled cases", f"[data] labelled, {here}"
    )
    if options.validation and cases.validation:
        what, fix = "validation cases are defined twice", "remove one of the two"
        found = f"data.validation = {options.validation} and a list in split.toml"
        problems.append(Problem(what, str(split_file), found, "one of the two", fix))
    problems += also_classes(
        cases.ignore, [*LabelMap(options.label_values).by_value], options.classes, here
    )
    if len(trained) < FEWEST_LABELLED:
        problems.append(too_few_labelled(len(trained), here, held_out))
    predictions = Path(root or "") / FOLDER if options.predicted else None
    predicted, unpredicted = with_predictions(predictions, unlabelled)
    raise_all(problems)
    return Splits(
        labelled=trained,
        unlabelled=tuple(case.without_label() for case in unlabelled),
        predicted=predicted,
        unpredicted=tuple(unpredicted),
        validation=held_out or cases.validation,
        test=cases.test,
        classes=options.classes,
        class_names=cases.names_of(options.classes),
        channels=cases.channels,
        unit=cases.unit,
        raw=True,
        regions=of_data(options),
        unused=cases.unused,
        notes=(
            *_left_out(others, patients),
            *_hidden_corrections(cases.labelled[len(used) :], cases.drafted),
            *values_note(options.label_values, cases.names_of(options.classes)),
            *note_on(predictions, unlabelled),
            *regions_note(options.regions),
        ),
    )


def stated_classes(root: Path | None) -> Stated:
    """Return what the folder states for the classes in label files; problems are found later."""
    return _stated(root)[2]


def stated_regions(
    root: Path | None, label_values: Sequence[Entry] | None = None
) -> tuple[Region, ...]:
    """Return the regions that the folder states, () for none; problems are found later.

    label_values: The values of the classes; by default as the folder states.
    """
    dataset, split, stated = _stated(root)
    values = stated.entries if label_values is None else tuple(label_values)
    meaning = LabelMap(values, stated.names_of(values, dataset))
    return regions.numbered(split.regions or dataset.regions, meaning, None, missing=False)[0]


def _stated(root: Path | None) -> tuple[DatasetJson, Split, Stated]:
    if root is None or not root.is_dir():
        return DatasetJson(), Split(), Stated()
    dataset = read_dataset_json(root / "dataset.json")[0]
    layout = find_scans(root, len(dataset.channel_names))
    scans = layout.train | layout.test
    split = read_split(root / "split.toml", scans, ())[0]
    return dataset, split, of_folder(split.stated, dataset, scans.values())[0]


def values_note(values: Sequence[Entry], names: Sequence[str]) -> tuple[str, ...]:
    """Return a note on label values that are not class numbers; () if they are."""
    written = written_values(values)
    if not written:
        return ()
    pairs = zip(written[1:], names[1:], strict=False)
    of_class = [
        f"{value} is class {number} ({name})" for number, (value, name) in enumerate(pairs, 1)
    ]
    return (f"In the label files {listed(of_class)}; predicted files hold these values too.",)


def regions_note(entries: Sequence[RegionEntry]) -> tuple[str, ...]:
    """Return a note on what the scores of regions are of; () for exclusive classes."""
    if not entries:
        return ()
    shown = [f"{name} is {listed(list(map(str, classes)))}" for name, classes, _ in entries]
    return (
        f"Scores are of regions, unions of classes in the label and in the predicted label map "
        f"alike: {'; '.join(shown)}.",
    )


def _last_patients(cases: Sequence[Case], number: int) -> tuple[Case, ...]:
    """Return the cases of the last ``number`` patients, in their order."""
    patients = list(dict.fromkeys(case.patient for case in reversed(cases)))[:number]
    return tuple(case for case in cases if case.patient in patients)


def _left_out(others: Sequence[Case], patients: Collection[str]) -> tuple[str, ...]:
    """Return a note if scans without a label are of patients held out by ``data.validation``."""
    number = sum(case.patient in patients for case in others)
    if not number:
        return ()
    verb = "is" if number == 1 else "are"
    return (f"{count(number, 'scan')} of the validation patients {verb} not used for training.",)


def _hidden_corrections(hidden: Sequence[Case], drafted: Collection[str]) -> tuple[str, ...]:
    """Return a note if ``data.labelled`` hides labels that were drawn after a draft."""
    names = [case.id for case in hidden if case.id in drafted]
    if not names:
        return ()
    labels = count(len(names), "corrected draft")
    return (
        f"{HIDES} the labels of {labels}: {first_few(names)}. "
        "Set data.labelled=0 to train on every label.",
    )


def too_few_labelled(count: int, where: str, held_out: Sequence[Case] = ()) -> Problem:
    """Return the problem of a data set that is too small to train on.

    held_out: the cases that ``data.validation`` keeps for validation.
    """
    found = str(count)
    if held_out:
        patients = len({case.patient for case in held_out})
        found += f"; data.validation = {patients} keeps {first_few([case.id for case in held_out])}"
    fix = (
        "label more scans (a label has its scan's name), raise data.labelled or lower "
        "data.validation"
    )
    return Problem(
        "too few labelled cases to train on", where, found, f"at least {FEWEST_LABELLED}", fix
    )
