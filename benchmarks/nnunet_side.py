"""nnU-Net's side of ``benchmarks.versus_nnunet``; run by the Python of nnU-Net's environment.

``nnunet_side.py train SECONDS SEED`` trains fold "all" of the planned data set for a given time.
``nnunet_side.py predict IMAGES OUT`` predicts with nnU-Net's defaults. Both print a line of JSON.
Folders come from nnU-Net's own variables (nnUNet_raw and so on). Nothing of crossview is imported.
"""

from __future__ import annotations

import json
import random
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

DATASET = "Dataset100_few"
CONFIGURATION = "3d_fullres"
CPU = torch.device("cpu")


def new_trainer() -> nnUNetTrainer:
    """Return nnU-Net's default trainer on its own plan, for all labelled cases."""
    folder = Path(nnUNet_preprocessed) / DATASET
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    plans["continue_training"] = False
    about = json.loads((folder / "dataset.json").read_text())
    return nnUNetTrainer(plans, CONFIGURATION, "all", about, CPU)


def train(seconds: float, seed: int) -> dict[str, object]:
    """Train for ``seconds``, with nnU-Net's learning rate falling to 0 at their end.

    By its own schedule of 1,000 epochs the rate would hardly fall in that time. Validation passes
    are left out: they change nothing in training.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    trainer = new_trainer()
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    first, losses, begun = trainer.initial_lr, list[float](), time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds:
        for group in trainer.optimizer.param_groups:
            group["lr"] = first * (1 - spent / seconds) ** 0.9
        losses.append(float(trainer.train_step(next(trainer.dataloader_train))["loss"]))
    spent = time.perf_counter() - begun
    trainer.on_train_end()
    plan = trainer.configuration_manager
    return {
        "versions": {name: version(name) for name in ("nnunetv2", "batchgeneratorsv2", "torch")},
        "threads": torch.get_num_threads(),
        "patch": list(map(int, plan.patch_size)),
        "batch": int(plan.batch_size),
        "spacing": list(map(float, plan.spacing)),
        "stages": len(plan.pool_op_kernel_sizes),
        "seconds": spent,
        "iterations": len(losses),
        "loss_of_the_last_tenth": float(np.mean(losses[-max(1, len(losses) // 10) :])),
    }


def predict(images: Path, out: Path) -> dict[str, object]:
    """Predict all files of a folder: half-overlapping Gaussian windows, mirrored along all axes."""
    begun = time.perf_counter()
    predictor = nnUNetPredictor(device=CPU, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(
        new_trainer().output_folder_base, ("all",), "checkpoint_final.pth"
    )
    out.mkdir(parents=True, exist_ok=True)
    predictor.predict_from_files_sequential(str(images), str(out))
    return {"prediction_seconds": time.perf_counter() - begun}


if __name__ == "__main__":
    verb, one, other = sys.argv[1:]
    done = train(float(one), int(other)) if verb == "train" else predict(Path(one), Path(other))
    print(json.dumps(done), flush=True)
