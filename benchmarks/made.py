"""Made-up data of true shapes, for machines without the real data: time depends on shapes.

Images take 200 values, about as many as the published LA volumes, so that they are stored as
compactly. Labels are blobs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.data.case import Case, Splits
from crossview.recipe.resolve import Recipe

LA_SHAPES = (
    (183, 140, 88),
    (199, 143, 88),
    (212, 141, 88),
    (180, 135, 88),
    (190, 143, 88),
    (187, 146, 88),
    (173, 148, 88),
    (230, 143, 88),
)
"""The first training volumes of LA, and a large one."""
ACDC_SHAPES = ((256, 216), (216, 256), (256, 208), (256, 192), (256, 256), (208, 174), (224, 154))
"""The most frequent slices of ACDC."""
LA_CASES, LA_TEST, LA_TEST_WINDOWS = 80, 20, 1128
ACDC_PATIENTS, ACDC_SLICES, ACDC_TEST, ACDC_DEPTH = 70, 1312, 40, 10


def image(shape: Sequence[int], seed: int) -> NDArray[np.float32]:
    """A random image float32 (*S) of 200 distinct values."""
    values = np.random.default_rng(seed).integers(0, 200, tuple(shape), dtype=np.uint8)
    return (values.astype(np.float32) - 100) / 58


def label(shape: Sequence[int], classes: int, seed: int) -> NDArray[np.uint8]:
    """A blob a class, uint8 (*S): shells of an ellipsoid about a third as wide as the image."""
    generator = np.random.default_rng(seed)
    centre = [side * generator.uniform(0.4, 0.6) for side in shape]
    grid = np.ogrid[tuple(slice(side) for side in shape)]
    radius = np.sqrt(
        sum(
            ((axis - middle) / (0.33 * side)) ** 2
            for axis, middle, side in zip(grid, centre, shape, strict=True)
        )
    )
    return np.asarray(
        np.clip(np.ceil((1 - radius) * (classes - 1)), 0, classes - 1), dtype=np.uint8
    )


def case(name: str, shape: Sequence[int], recipe: Recipe, seed: int, labelled: bool = True) -> Case:
    """A case in memory, made when it is read."""
    read_label = partial(label, shape, recipe.data.classes, seed) if labelled else None
    return Case(name, name, Path(name), lambda: image(shape, seed)[None], read_label)


def splits(recipe: Recipe) -> Splits:
    """Return cases as LA's or ACDC's; for other sources 24, a fifth larger than the patch."""
    source, wanted = recipe.data.source, recipe.data.labelled
    if source == "la":
        shapes, test, count, labelled = LA_SHAPES, LA_SHAPES, LA_CASES, wanted
        tests = LA_TEST
    elif source == "acdc":
        shapes, test, count = (
            ACDC_SHAPES,
            tuple((ACDC_DEPTH, *shape) for shape in ACDC_SHAPES),
            ACDC_SLICES,
        )
        labelled, tests = max(1, round(wanted * ACDC_SLICES / ACDC_PATIENTS)), ACDC_TEST
    else:
        shapes = test = (tuple(round(1.2 * side) for side in recipe.data.patch),)
        labelled, tests = max(wanted, recipe.training.labelled_batch), 4
        count = labelled + max(16, recipe.training.unlabelled_batch)
    train = [
        case(f"made_{number:04d}", shapes[number % len(shapes)], recipe, number, number < labelled)
        for number in range(count)
    ]
    return Splits(
        labelled=tuple(train[:labelled]),
        unlabelled=tuple(train[labelled:]),
        validation=(),
        test=tuple(
            case(f"made_test_{number:04d}", test[number % len(test)], recipe, 10_000 + number)
            for number in range(tests)
        ),
        classes=recipe.data.classes,
        class_names=tuple(map(str, range(recipe.data.classes))),
    )


def write_la(
    root: Path,
    shapes: Sequence[Sequence[int]] = LA_SHAPES,
    cases: int = LA_CASES,
    tests: int = LA_TEST,
) -> Path:
    """The published layout of LA: one gzip h5 file a shape, linked to by the names of all cases."""
    names = [f"made{number:03d}" for number in range(cases + tests)]
    folder = root / "2018LA_Seg_Training Set"
    files = []
    for number, shape in enumerate(shapes):
        files.append(
            _h5(root / "files" / f"{number}.h5", image(shape, number), label(shape, 2, number))
        )
    for number, name in enumerate(names):
        _link(folder / name / "mri_norm2.h5", files[number % len(files)])
    (root / "train.list").write_text("\n".join(names[:cases]) + "\n")
    (root / "test.list").write_text("\n".join(names[cases:]) + "\n")
    return root


def write_acdc(
    root: Path,
    shapes: Sequence[Sequence[int]] = ACDC_SHAPES,
    slices: int = ACDC_SLICES,
    patients: int = ACDC_PATIENTS,
) -> Path:
    """The published layout of ACDC, made as :func:`write_la` makes LA's; two frames a patient."""
    files = [
        _h5(root / "files" / f"{n}.h5", image(shape, n), label(shape, 4, n))
        for n, shape in enumerate(shapes)
    ]
    volumes = [
        _h5(root / "files" / f"volume{n}.h5", image((4, *s), n), label((4, *s), 4, n))
        for n, s in enumerate(shapes)
    ]
    names = []
    for patient in range(patients):
        held = slices // patients + (patient < slices % patients)
        names += [
            f"patient{patient + 1:03d}_frame{1 + k % 2:02d}_slice_{1 + k // 2}" for k in range(held)
        ]
    for number, name in enumerate(names):
        _link(root / "data" / "slices" / f"{name}.h5", files[number % len(files)])
    for split, first in (("val", 201), ("test", 301)):
        listed = [f"patient{first + k:03d}_frame01" for k in range(4)]
        for number, name in enumerate(listed):
            _link(root / "data" / f"{name}.h5", volumes[number % len(volumes)])
        (root / f"{split}.list").write_text("\n".join(listed) + "\n")
    (root / "train_slices.list").write_text("\n".join(names) + "\n")
    return root


def _h5(path: Path, values: NDArray[np.float32], classes: NDArray[np.uint8]) -> Path:
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=values, compression="gzip")
        file.create_dataset("label", data=classes, compression="gzip")
    return path


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(target.resolve(), path.parent.resolve()))
