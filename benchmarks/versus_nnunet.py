"""crossview's default beside nnU-Net: ``python -m benchmarks.versus_nnunet DATA OUT --nnunet PY``.

DATA is a folder made by ``benchmarks.hippocampus``; PY is the Python of an environment with
nnunetv2 2.8. Each side gets the labelled scans of DATA's split.toml, the same processor cores, and
the seconds that crossview's training of recipe "folder" takes (``--times 1 4``: once and four times
as long). crossview may read the unlabelled scans too, as that is what it is for. nnU-Net makes its
own plan, uses its own augmentation and predicts by its own defaults; its learning rate falls to 0
within the time it has. Preparation, start-up and prediction are outside the time of both.

Test scans are scored by crossview's metrics. nnU-Net chooses post-processing by cross-validation,
which a run on all labelled scans does not have: its rows are scored without any and, beside it,
with the largest component of each class, which is what crossview's default does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.beside import ENDING, Trains, command, other_side

from crossview.core.run_folder import RunFolder

SIDE = Path(__file__).with_name("nnunet_side.py")
DATASET = "Dataset100_few"


def laid_out(
    given: argparse.Namespace, _ours: RunFolder, split: Mapping[str, Any]
) -> tuple[Path, Trains]:
    """Lay the data out for nnU-Net; return the folder of its results, and what trains there."""
    here = folders(given.out / "nnunet")
    prepare(given.data, here, split["labelled"], split["test"], given.python)

    def train(seconds: float, results: Path) -> dict[str, Any]:
        """Train nnU-Net for ``seconds``, predict the test scans and return its facts."""
        env = os.environ | here | {"nnUNet_results": str(results)}
        images = Path(here["nnUNet_raw"]) / DATASET / "imagesTs"
        facts = other_side("nnU-Net", given.python, SIDE, "train", seconds, given.seed, env=env)
        return facts | other_side(
            "nnU-Net", given.python, SIDE, "predict", images, results / "predictions", env=env
        )

    return Path(here["nnUNet_results"]), train


def folders(base: Path) -> dict[str, str]:
    """Return nnU-Net's variables: its folders under ``base``, no compiling, no extra processes."""
    names = ("raw", "preprocessed", "results")
    return {f"nnUNet_{name}": str(base.absolute() / name) for name in names} | {
        "nnUNet_compile": "f",
        "nnUNet_n_proc_DA": "0",
    }


def prepare(
    data: Path, here: Mapping[str, str], labelled: Sequence[str], test: Sequence[str], python: Path
) -> None:
    """Lay the data out as nnU-Net wants them, and let it plan and preprocess them."""
    raw = Path(here["nnUNet_raw"]) / DATASET
    if (Path(here["nnUNet_preprocessed"]) / DATASET / "nnUNetPlans.json").exists():
        return
    for folder, names, source, end in (
        ("imagesTr", labelled, "images", "_0000"),
        ("labelsTr", labelled, "labels", ""),
        ("imagesTs", test, "images", "_0000"),
    ):
        (raw / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(
                data / source / f"{name}{ENDING}", raw / folder / f"{name}{end}{ENDING}"
            )
    labels = json.loads((data / "dataset.json").read_text())["labels"]  # as MSD has them
    about = {
        "channel_names": {"0": "MRI"},
        "labels": {name: int(value) for value, name in labels.items()},
        "numTraining": len(labelled),
        "file_ending": ENDING,
    }
    (raw / "dataset.json").write_text(json.dumps(about))
    plan = python.with_name("nnUNetv2_plan_and_preprocess")
    number = DATASET.removeprefix("Dataset").partition("_")[0]
    command = [plan, "-d", number, "-c", "3d_fullres", "-np", "1", "--verify_dataset_integrity"]
    one = {"nnUNet_n_proc_DA": "1"}  # nnU-Net plans with this number of torch's threads: not 0
    subprocess.run(command, check=True, env=os.environ | here | one)


if __name__ == "__main__":
    command(__doc__, "nnU-Net", "nnunetv2", laid_out)
