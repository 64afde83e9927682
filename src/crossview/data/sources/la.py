"""LA: 100 late gadolinium enhanced MR volumes of the left atrium.

The version published for semi-supervised segmentation.

Layout:
    train.list, test.list: 80 and 20 case names.
    2018LA_Seg_Training Set/<name>/mri_norm2.h5: ``image`` (float32 H x W x 88, normalised over the
        uncropped volume) and ``label`` (0 background, 1 left atrium).

Data: Xiong et al., Medical Image Analysis 2021 (the 2018 challenge).
Preprocessing: Yu et al., MICCAI 2019.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pydantic import Field

from crossview.core.errors import raise_all
from crossview.data.case import Splits
from crossview.data.sources import lists
from crossview.data.sources.source import DataOptions

LAYOUT = "a folder with train.list, test.list and '2018LA_Seg_Training Set/<case>/mri_norm2.h5'"


NOTES = (
    "The published LA volumes, test volumes included, are cropped around the ground truth: "
    "results don't carry over to uncropped scans.",
    "LA files store no voxel spacing: distances are in voxels (0.625 mm in the challenge's scans).",
)


class Options(DataOptions):
    """Keys of [data] for LA.

    The first ``labelled`` volumes of train.list keep their labels; the others are unlabelled.
    """

    source: str = Field(default="la", description="This source's name.")
    patch: tuple[int, ...] = Field(
        default=(112, 112, 80),
        description="Size of the training crops in voxels (published: 112 x 112 x 80).",
    )
    classes: int = Field(default=2, ge=2, le=2, description="Background and left atrium.")


def splits(root: Path | None, options: Options) -> Splits:
    """Return cases (1, H, W, 88) in the axis order of the files.

    UserError with every problem of the lists and every missing file.
    """
    root = lists.existing_root(root, LAYOUT)
    path_of = partial(_file, root)
    names, problems = lists.read_lists(root, {"train.list": path_of, "test.list": path_of})
    train, test = names.values()
    if train:
        problems += lists.too_few(options.labelled, len(train), "cases", root / "train.list")
    raise_all(problems)
    cases = [lists.h5_case(path_of(name), name) for name in train]
    return Splits(
        *lists.by_role(cases, options),
        test=tuple(lists.h5_case(path_of(name), name) for name in test),
        classes=options.classes,
        class_names=("background", "left atrium"),
        notes=NOTES,
    )


def _file(root: Path, name: str) -> Path:
    return root / "2018LA_Seg_Training Set" / name / "mri_norm2.h5"
