"""Large scans with a small structure: ``python -m benchmarks.rare OUT`` makes a folder of phantoms.

Each is a cube of 96 voxels per side (1 mm). ONE egg with a dark rim, 0.2 to 0.5 % of the voxels, is
class 1. Rods and balls of about its brightness, without a rim, are background. There are 4 labelled
and 16 unlabelled training scans and 8 test scans, for recipe "folder". They show the effect of
``data.foreground_share``, and whether unlabelled scans help if the foreground is rare
(docs/how-to/own-data/train.md).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import tomli_w
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from crossview.core.errors import Problem, UserError
from crossview.core.rng import Randomness
from crossview.data.sources.phantom import _distance, _lookalike, _smooth

SEED = 7
LOOKALIKES = 12


def scan(number: int, size: int = 96) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Image and label (size, size, size) of one scan, a function of its number."""
    generator = Randomness(SEED).host("rare", number)
    contrast, noise = generator.uniform(0.8, 1.2), generator.uniform(0.2, 0.35)
    turn, _ = np.linalg.qr(generator.standard_normal((3, 3)))
    depth = _distance(
        size,
        generator.uniform(-0.65, 0.65, size=3),
        turn / generator.uniform(0.15, 0.22, size=3)[:, None],
    )
    core, rim = depth < 1, (depth >= 1) & (depth < 2)
    image = 0.25 * _smooth(size, 6, generator)
    for _ in range(LOOKALIKES):
        image[_lookalike(size, generator) & ~core & ~rim] += generator.uniform(0.7, 1.2)
    image[core] += 1
    image[rim] -= 0.5
    image = gaussian_filter(contrast * image, 0.8) + 0.4 * _smooth(size, 2, generator)
    image += noise * generator.standard_normal(image.shape, dtype=np.float32)
    return (100 * image + 500).astype(np.int16), core.astype(np.uint8)


def make(
    out: Path, *, labelled: int = 4, unlabelled: int = 16, test: int = 8, size: int = 96
) -> Path:
    """Make the folder, with labels of labelled and test scans. UserError if it exists."""
    if out.exists():
        raise UserError(Problem("this is there already", str(out), fix="give another OUT"))
    names = [f"scan{number:02d}" for number in range(labelled + unlabelled + test)]
    for folder in ("images", "labels"):
        (out / folder).mkdir(parents=True)
    for number, name in enumerate(names):
        image, label = scan(number, size)
        nib.save(nib.Nifti1Image(image, np.eye(4)), out / "images" / f"{name}.nii.gz")
        if number < labelled or number >= labelled + unlabelled:
            nib.save(nib.Nifti1Image(label, np.eye(4)), out / "labels" / f"{name}.nii.gz")
    (out / "split.toml").write_text(
        tomli_w.dumps({"test": names[labelled + unlabelled :]}), encoding="utf-8"
    )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    try:
        print(make(parser.parse_args().out))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
