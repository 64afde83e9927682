"""A run small enough for a test: volumes of 16 voxels, a V-Net of 2 filters and 2 levels."""

from pathlib import Path

import torch

from crossview.runs.run import Run
from crossview.runs.train import train

SMALL = [
    "data.size=16",
    "data.patch=[8,8,8]",
    "data.unlabelled=5",
    "data.test=2",
    "network.filters=2",
    "network.levels=2",
    "network.dropout=0.3",
    "method.pretrain_steps=3",
    "method.train_steps=4",
    "training.precision=float32",
    "training.log_every=2",
    "training.checkpoint_every=0",
]


def small(out: Path, *sets: str, **options) -> Run:
    """Train CML on tiny phantoms into ``out``; ``sets`` are further --set texts."""
    return train("demo", None, out, overrides=[*SMALL, *sets], **options)[0]


def weights(run: Run) -> dict[str, torch.Tensor]:
    """Return the last checkpoint's tensors of method and optimiser, flat."""
    state = torch.load(run.path / "checkpoints" / "last.pt", weights_only=True)
    flat = {f"weights {name}": value for name, value in state["weights"].items()}
    return flat | {
        f"momentum {key}": value["momentum_buffer"]
        for key, value in state["optimiser"]["state"].items()
    }


def assert_bit_equal(one: Run, other: Run) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different
