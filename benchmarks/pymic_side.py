"""PyMIC's side of ``benchmarks.versus_pymic``; run by the Python of PyMIC's environment.

``pymic_side.py train CONFIG SECONDS`` trains the method of CONFIG for a given processor time.
``pymic_side.py predict CONFIG`` predicts the files of its test list. Both print a line of JSON.
Nothing of crossview is imported, and nothing of PyMIC is changed on the disk.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymic.net.net3d.unet3d import UNet3D
from pymic.net_run import agent_seg
from pymic.net_run.semi_sup import SSLMethodDict
from pymic.util.parse_config import parse_config, synchronize_config

PACKAGES = ("PyMIC", "torch", "torchvision", "monai", "numpy", "scipy", "pandas", "SimpleITK")
CPU = torch.device("cpu")


class TorchOnCpu:
    """torch, but for ``device``: PyMIC's agents name a CUDA device whatever the config says."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def device(self, _name: str) -> torch.device:
        return CPU


def read(config: str) -> dict[str, Any]:
    """Return PyMIC's config of a file."""
    given: dict[str, Any] = synchronize_config(parse_config(argparse.Namespace(cfg=config)))
    return given


def new_agent(kind: type, config: dict[str, Any], stage: str) -> Any:
    """Return PyMIC's agent with its data and network.

    PyMIC's examples train UNet3D; version 0.6.2 still ships it and no longer lists it.
    """
    agent = kind(config, stage)
    agent.set_net_dict({"UNet3D": UNet3D})
    agent.create_dataset()
    agent.create_network()
    return agent


def train(config: dict[str, Any], seconds: float) -> dict[str, object]:
    """Train for ``seconds`` of this process's processor time and save the last weights.

    The number of steps that fit is known only at the end. So the share of the time that is spent
    stands for the share of the config's ``iter_max``: the learning rate falls to 0 by PyMIC's
    PolynomialLR, and the weight of the pseudo-labels rises as planned for the whole length.
    """
    agent = new_agent(
        SSLMethodDict[config["semi_supervised_learning"]["method_name"]], config, "train"
    )
    plan = config["training"]
    agent.device = CPU
    agent.create_optimizer(agent.get_parameters_to_update())
    agent.create_loss_calculator()
    agent.trainIter, agent.trainIter_unlab = (
        iter(agent.train_loader),
        iter(agent.train_loader_unlab),
    )
    losses, begun, wall = list[float](), time.process_time(), time.perf_counter()
    while (spent := time.process_time() - begun) < seconds:
        left = 1 - spent / seconds
        agent.glob_it = int((1 - left) * plan["iter_max"])
        for group in agent.optimizer.param_groups:
            group["lr"] = plan["learning_rate"] * left ** plan["lr_power"]
        losses.append(float(agent.training()["loss"]))
    spent, wall = time.process_time() - begun, time.perf_counter() - wall
    out = Path(config["testing"]["ckpt_name"])
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"iteration": len(losses), "model_state_dict": agent.net.state_dict()}, out)
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "threads": torch.get_num_threads(),
        "parameters": sum(each.numel() for each in agent.net.parameters()),
        "seconds": spent,
        "wall_seconds": wall,
        "iterations": len(losses),
        "loss_of_the_last_tenth": float(np.mean(losses[-max(1, len(losses) // 10) :])),
    }


def predict(config: dict[str, Any]) -> dict[str, object]:
    """Predict the files of the test list by PyMIC's own inference."""
    agent_seg.torch = TorchOnCpu()
    agent = new_agent(agent_seg.SegmentationAgent, config, "test")
    begun = time.process_time()
    agent.infer()
    return {"prediction_seconds": time.process_time() - begun}


if __name__ == "__main__":
    verb, file, *seconds = sys.argv[1:]
    given = read(file)
    done = train(given, float(seconds[0])) if verb == "train" else predict(given)
    print(json.dumps(done), flush=True)
