"""A scan of 512 x 512 x 300 voxels is checked and trained on within 8 GB, predicted within 3 GB.

Each verb runs in its own process.
"""

import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.helpers.made_folder import write_nifti

LARGE = (512, 512, 300)
MOST = 8e9
"""Bytes of memory that a process may hold at most."""
MOST_TO_PREDICT = 3e9
NETWORK = [
    "network.filters=2",
    "data.patch=[48,48,48]",
    "inference.stride=[48,48,48]",
    "training.labelled_batch=2",
    "training.unlabelled_batch=2",
]
STEPS = ["method.pretrain_steps=1", "method.train_steps=2", "training.precision=float32"]


def structures(shape) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(shape[0])
    image, label = random.integers(-150, 50, shape, dtype=np.int16), np.zeros(shape, np.uint8)
    x, y, z = (side // 3 for side in shape)
    label[x : x + x // 2, y : y + y // 2, z : z + z // 2] = 1
    label[x : x + x // 3, y + y // 2 : 2 * y, z : z + z // 2] = 2
    image[label == 1] += 150
    image[label == 2] -= 150
    return image, label


def peak(*arguments) -> int:
    """Runs the command in a process of its own; the most memory that it held, in bytes."""
    command = [sys.executable, "-m", "crossview", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, told
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [0.8, 0.75], ids=["of the model's voxels", "resampled"])
def test_a_large_scan_within_8_gb(tmp_path, spacing):
    for number in range(2):
        image, label = structures((96 + number, 96, 80))
        for folder, array in (("images", image), ("labels", label)):
            write_nifti(
                tmp_path / "scans" / folder / f"small{number}.nii.gz",
                array,
                np.diag([-0.8, -0.8, 1.0, 1.0]),
            )
    large = write_nifti(
        tmp_path / "scans" / "images" / "large.nii",
        structures(LARGE)[0],
        np.diag([-spacing, -spacing, 1.0, 1.0]),
    )
    sets = [part for text in [*NETWORK, *STEPS] for part in ("--set", text)]
    run, out = tmp_path / "run", tmp_path / "out"
    peaks = {
        "check": peak("check", tmp_path / "scans"),
        "train": peak("train", "folder", "--data", tmp_path / "scans", "--out", run, *sets),
        "predict": peak(
            "predict", run, large, "--out", out, "--probabilities", "--disagreement", "--entropy"
        ),
    }
    print({verb: f"{held / 1e9:.2f} GB" for verb, held in peaks.items()})  # noqa: T201
    assert all(held < MOST for held in peaks.values()), peaks
    assert peaks["predict"] < MOST_TO_PREDICT, peaks
    assert nibabel.load(Path(out) / "large.nii").shape == LARGE
