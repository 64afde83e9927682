"""Training on a CUDA device: what the CPU's tests promise, there."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from small_run import assert_bit_equal, small, weights

from crossview.run import evaluate
from crossview.training.journal import read_journal

pytestmark = pytest.mark.gpu

CUDA = "training.device=cuda"


def losses(run):
    return [row["loss"] for row in read_journal(run.path / "journal.jsonl") if row["kind"] == "step"]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_run_trains_and_is_evaluated(tmp_path, precision):
    run = small(tmp_path / "run", CUDA, f"training.precision={precision}", "method.train_steps=30")
    assert all(torch.isfinite(tensor.float()).all() for tensor in weights(run).values())
    assert losses(run)[-1] < 2 * losses(run)[0]
    assert evaluate(run, device="cuda")["mean"]["dice"]["mean"] is not None


def test_the_first_losses_are_the_cpus(tmp_path):
    on_cpu = small(tmp_path / "cpu", "network.dropout=0", "training.log_every=1")
    on_cuda = small(tmp_path / "cuda", CUDA, "network.dropout=0", "training.log_every=1")
    assert losses(on_cuda)[:3] == pytest.approx(losses(on_cpu)[:3], rel=1e-3)


def test_a_deterministic_run_resumes_bit_equal(tmp_path):
    sets = (CUDA, "training.deterministic=true", "method.train_steps=10")
    whole = small(tmp_path / "whole", *sets)
    small(tmp_path / "run", *sets, max_steps=6)
    assert_bit_equal(whole, small(tmp_path / "run", *sets, resume=True))
