"""crossview's default beside PyMIC: ``python -m benchmarks.versus_pymic DATA OUT --pymic PY``.

DATA is a folder made by ``benchmarks.hippocampus``; PY is the Python of an environment with
PyMIC 0.6.2, whose CPS is trained. Both sides read the labelled and the unlabelled scans of DATA's
split.toml, and both predict with the weights of their last step: no validation scan is used.
PyMIC has as many seconds of its own processor time as crossview's training of recipe "folder" took
by the clock (``--times 1 4``: once and four times as many), so other work on the machine takes
none of it. Preparation, start-up and prediction are outside the time of both.

Test scans are scored by crossview's metrics, PyMIC's as they are and with the largest component
of each class, which is what crossview's default keeps.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.beside import ENDING, Trains, command, other_side

from crossview.core.errors import fail
from crossview.core.run_folder import RunFolder

SIDE = Path(__file__).with_name("pymic_side.py")
CONFIG = "config.cfg"


def laid_out(
    given: argparse.Namespace, ours: RunFolder, split: Mapping[str, Any]
) -> tuple[Path, Trains]:
    """Return the folder of PyMIC's runs, and what lays the data out there, trains and predicts."""
    lists = {"labelled": split["labelled"], "unlabelled": unlabelled(given.data, split)}
    if ours.environment["unlabelled"] != len(lists["unlabelled"]):
        found = f"{ours.environment['unlabelled']} and {len(lists['unlabelled'])} scans"
        fail("crossview's run has other unlabelled scans than the data", ours.path, found=found)
    recipe = ours.tables["data"]

    def train(seconds: float, run: Path) -> dict[str, Any]:
        """Train PyMIC's CPS for ``seconds``, predict the test scans and return its facts."""
        run.mkdir(parents=True, exist_ok=True)
        write_lists(run, lists | {"test": split["test"]})
        config = sections(given.data, run, recipe["classes"], recipe["patch"], given.seed)
        write_config(run / CONFIG, config)
        trained = run / "trained.json"
        if not trained.exists():
            facts = other_side("PyMIC", given.python, SIDE, "train", run / CONFIG, seconds)
            trained.write_text(json.dumps(facts | {"config": without_paths(config)}))
        facts = other_side("PyMIC", given.python, SIDE, "predict", run / CONFIG)
        return json.loads(trained.read_text()) | facts

    return given.out.absolute() / "pymic", train


def unlabelled(data: Path, split: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the scans that the split keeps for nothing else."""
    kept = {case for part in ("labelled", "validation", "test") for case in split.get(part, ())}
    found = (file.name.removesuffix(ENDING) for file in (data / "images").glob(f"*{ENDING}"))
    return sorted(set(found) - kept)


def sections(
    data: Path, out: Path, classes: int, patch: Sequence[int], seed: int
) -> dict[str, dict[str, Any]]:
    """Return PyMIC's config of CPS for crossview's patch, which is given as (x, y, z).

    Values are those of PyMIC's example for volumes (seg_semi_sup/AtriaSeg/config/
    unet3d_r10_cps.cfg of github.com/HiLab-git/PyMIC_examples, commit 2dd2fdd), except:

    - Scans are padded to the patch, and both networks predict, as in its example for ACDC.
    - A scan is predicted by windows of the patch, half of it apart (PyMIC's default), since UNet3D
      takes only sides that 8 divides.
    - The rate falls by PolynomialLR with the power that PyMIC's examples have. That of the example,
      halving after 2,000 of 20,000 steps without a gain, needs labelled validation scans.
    - No processes load data, and each call trains one step, so that the time can be kept.
    """
    sides = list(reversed(patch))
    augment = ["Pad", "RandomCrop", "RandomFlip", "NormalizeWithMeanStd", "GammaCorrection"]
    return {
        "dataset": {
            "tensor_type": "float",
            "task_type": "seg",
            "supervise_type": "semi_sup",
            "train_dir": data.absolute(),
            "test_dir": data.absolute(),
            "train_csv": out / "labelled.csv",
            "train_csv_unlab": out / "unlabelled.csv",
            "test_csv": out / "test.csv",
            "train_batch_size": 2,
            "train_batch_size_unlab": 2,
            "num_worker": 0,
            "train_transform": [*augment, "GaussianNoise", "LabelToProbability"],
            "train_transform_unlab": [*augment, "GaussianNoise"],
            "test_transform": ["NormalizeWithMeanStd", "Pad"],
            "Pad_output_size": sides,
            "Pad_ceil_mode": False,
            "RandomCrop_output_size": sides,
            "RandomFlip_flip_depth": True,
            "RandomFlip_flip_height": True,
            "RandomFlip_flip_width": True,
            "NormalizeWithMeanStd_channels": [0],
            "GammaCorrection_channels": [0],
            "GammaCorrection_gamma_min": 0.7,
            "GammaCorrection_gamma_max": 1.5,
            "GaussianNoise_channels": [0],
            "GaussianNoise_mean": 0,
            "GaussianNoise_std": 0.05,
            "GaussianNoise_probability": 0.5,
        },
        "network": {
            "net_type": ["UNet3D", "UNet3D"],
            "infer_mode": 1,
            "class_num": classes,
            "in_chns": 1,
            "feature_chns": [32, 64, 128, 256],
            "dropout": [0.0, 0.0, 0.5, 0.5],
            "up_mode": 2,
            "multiscale_pred": False,
        },
        "training": {
            "gpus": [0],
            "random_seed": seed,
            "loss_type": ["DiceLoss", "CrossEntropyLoss"],
            "loss_weight": [0.5, 0.5],
            "optimizer": "Adam",
            "learning_rate": 0.001,
            "momentum": 0.9,
            "weight_decay": 0.00001,
            "lr_scheduler": "PolynomialLR",
            "lr_power": 0.8,
            "iter_max": 20000,
            "iter_valid": 1,
            "ckpt_dir": out,
        },
        "semi_supervised_learning": {
            "method_name": "CPS",
            "regularize_w": 0.1,
            "rampup_start": 1000,
            "rampup_end": 15000,
        },
        "testing": {
            "gpus": [0],
            "ckpt_mode": 2,
            "ckpt_name": out / "last.pt",
            "output_dir": out / "predictions",
            "sliding_window_enable": True,
            "sliding_window_size": sides,
            "sliding_window_stride": [side // 2 for side in sides],
        },
    }


def without_paths(config: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the config without the folders and files of this machine."""
    return {
        section: {key: value for key, value in values.items() if not isinstance(value, Path)}
        for section, values in config.items()
    }


def write_config(file: Path, config: Mapping[str, Mapping[str, Any]]) -> None:
    """Write PyMIC's config: its lists are texts in brackets, without quotes."""
    lines = list[str]()
    for section, values in config.items():
        lines.append(f"[{section}]")
        for key, value in values.items():
            shown = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else value
            lines.append(f"{key} = {shown}")
    file.write_text("\n".join(lines) + "\n")


def write_lists(out: Path, lists: Mapping[str, Sequence[str]]) -> None:
    """Write the tables of PyMIC's scans: labelled ones with their label's file."""
    for name, cases in lists.items():
        labelled = name == "labelled"
        rows = ["image,label" if labelled else "image"]
        for case in cases:
            image, label = (f"{folder}/{case}{ENDING}" for folder in ("images", "labels"))
            rows.append(f"{image},{label}" if labelled else image)
        (out / f"{name}.csv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    command(__doc__, "PyMIC", "pymic", laid_out)
