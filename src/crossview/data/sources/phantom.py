"""Made-up volumes for the demo and for tests: a bright chamber with a wall, among look-alikes.

Each case is drawn from (seed, split, number): a bumpy ellipsoid (the chamber), a thin wall around
it, bright rods and balls that look like parts of a chamber, a smooth bias field, blur and noise,
then z-scored. Chamber and rods overlap in intensity, so shape and position must be learnt.
Contrast, noise and bias vary so much that a few labelled cases don't cover their range.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import gaussian_filter

from crossview.core.errors import fail
from crossview.core.rng import Randomness
from crossview.data.case import Case, Splits
from crossview.data.sources.lists import by_role
from crossview.data.sources.source import Augmentation, DataOptions, Sampling

NOTES = (
    "These are made-up volumes: they show that the program works, but say nothing about a method "
    "on real scans.",
)


Volume = NDArray[np.float32]


class Options(DataOptions):
    """Keys of [data] for phantoms.

    Training and test cases are independent: more labelled cases don't change the test cases.
    """

    source: str = Field(default="phantom", description="This source's name.")
    labelled: int = Field(
        default=3, ge=1, le=10_000, description="Number of training cases with labels."
    )
    unlabelled: int = Field(
        default=24, ge=0, le=10_000, description="Number of training cases without labels."
    )
    test: int = Field(default=8, ge=1, le=10_000, description="Number of test cases.")
    patch: tuple[int, ...] = Field(
        default=(32, 32, 32), description="Size of the training crops in voxels."
    )
    classes: int = Field(
        default=2, ge=2, le=3, description="2: background and chamber. 3: also the chamber's wall."
    )
    sampling: Sampling = Field(
        default="crop", description="How patches are taken from a case: crop or crop_released."
    )
    augmentation: Augmentation = Field(default="rot90_flip", description="none or rot90_flip.")
    size: int = Field(
        default=40, ge=16, le=256, description="Side length of the volumes in voxels."
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="Seed of the phantoms; independent of the training seed.",
    )
    contrast: float = Field(
        default=1.0,
        gt=0,
        description="Mean intensity difference between chamber and background; varies by 40 %.",
    )
    noise: float = Field(
        default=0.3,
        ge=0,
        description="Mean standard deviation of the noise, in units of contrast; varies by 40 %.",
    )
    bias: float = Field(
        default=0.6,
        ge=0,
        description="Size of the smooth change of intensity across the volume, in units of "
        "contrast.",
    )
    lookalikes: int = Field(
        default=6,
        ge=0,
        le=50,
        description="Number of rods and balls of about the chamber's intensity in the background.",
    )


def splits(root: Path | None, options: Options) -> Splits:
    """Return cases (1, size, size, size), made when they are read (milliseconds each).

    UserError if a data folder is given.
    """
    if root is not None:
        fail(
            "phantoms need no data",
            "--data",
            found=root,
            expected="no --data",
            fix="remove --data",
        )
    number_of_cases = options.labelled + options.unlabelled
    train = [_case(options, "train", number) for number in range(number_of_cases)]
    return Splits(
        *by_role(train, options),
        test=tuple(_case(options, "test", number) for number in range(options.test)),
        classes=options.classes,
        class_names=("background", "chamber", "wall")[: options.classes],
        notes=NOTES,
    )


def _case(options: Options, split: str, number: int) -> Case:
    name = f"phantom_{split}_{number:03d}"
    made = partial(phantom, options, split, number)
    return Case(name, name, Path(name), lambda: made()[0], lambda: made()[1])


def phantom(options: Options, split: str, number: int) -> tuple[Volume, NDArray[np.uint8]]:
    """Return one phantom.

    Image: float32 (1, S, S, S), zero mean and unit standard deviation. Label: uint8 (S, S, S).
    """
    generator = Randomness(options.seed).host(f"phantom {split}", number)
    contrast, noise = generator.uniform(0.6, 1.4, size=2) * (options.contrast, options.noise)
    depth = _chamber(options.size, generator)
    chamber, wall = depth < 1, (depth >= 1) & (depth < 1.7)
    image = 0.25 * contrast * _smooth(options.size, 6, generator)
    image[wall] -= 0.5 * contrast
    for _ in range(options.lookalikes):
        image[_lookalike(options.size, generator) & ~chamber & ~wall] += (
            contrast * generator.uniform(0.6, 1.2)
        )
    image[chamber] += contrast
    image = gaussian_filter(image, generator.uniform(0.5, 1.1))
    image += options.bias * options.contrast * _smooth(options.size, 2, generator)
    image += (noise * options.contrast) * generator.standard_normal(image.shape, dtype=np.float32)
    label = chamber.astype(np.uint8)
    if options.classes == 3:
        label[wall] = 2
    image = (image - image.mean()) / image.std()
    return image[None].astype(np.float32), label


def _chamber(size: int, generator: np.random.Generator) -> Volume:
    """Return the chamber's depth: below 1 inside, growing outwards.

    The chamber is a randomly turned ellipsoid, dented by smooth noise.
    """
    centre, sides = generator.uniform(-0.3, 0.3, size=3), generator.uniform(0.4, 0.7, size=3)
    turn, _ = np.linalg.qr(generator.standard_normal((3, 3)))
    dents: Volume = np.exp(0.25 * _smooth(size, 5, generator))
    return dents * _distance(size, centre, turn / sides[:, None])


def _lookalike(size: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return the mask of a rod or a ball at a random position."""
    sides = np.full(3, generator.uniform(0.08, 0.18))
    if generator.random() < 0.6:
        sides[0] = generator.uniform(0.6, 1.2)
    turn, _ = np.linalg.qr(generator.standard_normal((3, 3)))
    inside: NDArray[np.bool_] = (
        _distance(size, generator.uniform(-0.9, 0.9, size=3), turn / sides[:, None]) < 1
    )
    return inside


def _distance(size: int, centre: NDArray[np.float64], matrix: NDArray[np.float64]) -> Volume:
    """Return |matrix (x - centre)|^2 over the volume, which spans [-1, 1] on each axis."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    total = np.zeros((size, size, size), np.float32)
    for row in matrix.astype(np.float32):
        along = [row[axis] * (line - np.float32(centre[axis])) for axis in range(3)]
        total += (along[0][:, None, None] + along[1][None, :, None] + along[2][None, None, :]) ** 2
    return total


def _smooth(size: int, points: int, generator: np.random.Generator) -> Volume:
    """Return a smooth random field of about unit spread: interpolated coarse normal noise."""
    coarse = generator.standard_normal((points, points, points)).astype(np.float32)
    weights = _interpolation(size, points)
    for _ in range(3):  # each pass interpolates the first axis and moves it to the end
        coarse = np.tensordot(coarse, weights, axes=(0, 1))
    return coarse * np.float32(1.8)  # interpolation lowers the spread to about 0.55


@lru_cache(maxsize=8)
def _interpolation(size: int, points: int) -> Volume:
    """Return cosine interpolation weights (size, points) between grid points."""
    place = np.linspace(0, points - 1, size)
    below = np.minimum(place.astype(int), points - 2)
    share = (1 - np.cos(np.pi * (place - below))) / 2
    weights = np.zeros((size, points), np.float32)
    weights[np.arange(size), below] = 1 - share
    weights[np.arange(size), below + 1] = share
    return weights
