"""BraTS2019: FLAIR volumes of brain tumours, as published for semi-supervised segmentation.

Layout:
    train.txt, val.txt, test.txt: 250, 25 and 60 case names, one per line; a comma ends the name.
    data/<name>.h5: ``image`` (float32 H x W x D, normalised) and ``label`` (0 background; every
        other value is whole tumour).

Data: Menze et al., IEEE TMI 2015, and the 2019 challenge. Preprocessing: Luo, SSL4MIS.
The files require registration, so this source was tested on made-up files in this layout.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from crossview.core.errors import raise_all
from crossview.data.case import Case, Splits
from crossview.data.io.h5 import read_label
from crossview.data.sources import lists
from crossview.data.sources.source import DataOptions

LAYOUT = "a folder with train.txt, val.txt, test.txt and data/<case>.h5"


NOTES = (
    "BraTS2019 files store no voxel spacing: distances are in voxels (1 mm in the challenge's "
    "scans).",
)


class Options(DataOptions):
    """Keys of [data] for BraTS.

    The first ``labelled`` volumes of train.txt keep their labels; the others are unlabelled.
    """

    source: str = Field(default="brats", description="This source's name.")
    patch: tuple[int, ...] = Field(
        default=(96, 96, 96),
        description="Size of the training crops in voxels (published: 96 x 96 x 96).",
    )
    classes: int = Field(default=2, ge=2, le=2, description="Background and whole tumour.")
    validation: int = Field(
        default=0,
        ge=0,
        description="0: the published val.txt, whose labels are used in addition to `labelled`. "
        "n: the last n labelled cases instead, which are then not trained on.",
    )


def splits(root: Path | None, options: Options) -> Splits:
    """Return cases (1, H, W, D) in the axis order of the files.

    UserError with every problem of the lists and every missing file.
    """
    root = lists.existing_root(root, LAYOUT)
    paths = dict.fromkeys(("train.txt", "val.txt", "test.txt"), partial(_file, root))
    names, problems = lists.read_lists(root, paths, separator=",")
    train, validation, test = names.values()
    if train:
        problems += lists.too_few(options.labelled, len(train), "cases", root / "train.txt")
    raise_all(problems)
    labelled, unlabelled, held_out = lists.by_role([_case(root, name) for name in train], options)
    return Splits(
        labelled=labelled,
        unlabelled=unlabelled,
        validation=held_out or tuple(_case(root, name) for name in validation),
        test=tuple(_case(root, name) for name in test),
        classes=options.classes,
        class_names=("background", "whole tumour"),
        notes=NOTES,
    )


def _file(root: Path, name: str) -> Path:
    return root / "data" / f"{name}.h5"


def _case(root: Path, name: str) -> Case:
    file = _file(root, name)
    return replace(lists.h5_case(file, name), read_label=partial(_whole_tumour, file))


def _whole_tumour(file: Path) -> NDArray[np.uint8]:
    return (read_label(file, 3) > 0).astype(np.uint8)
