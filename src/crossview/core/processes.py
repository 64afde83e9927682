"""Place of this process among several, and its exit."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from crossview.core.errors import fail
from crossview.core.watchdog import LAUNCHER, exit_now

VARIABLES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)
"""Environment variables by which torchrun places a process."""


SPINS = "GOMP_SPINCOUNT"
"""Environment variable of GNU's OpenMP, which torch uses on Linux, read when torch is imported."""


def share_cores() -> None:
    """Let threads that wait for each other sleep after 10,000 looks instead of 300,000.

    Next to another busy process a waiting thread would keep a core from the thread that it waits
    for. On an idle machine the waits are shorter. A user's own setting is kept.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(SPINS, "10000")


@dataclass(frozen=True)
class Place:
    """The place of a process: ``rank`` of ``size`` in all, and the same on its own machine."""

    rank: int
    size: int
    local_rank: int
    local_size: int


def place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """Return this process's place among several, or None if it was started alone.

    Raise UserError for variables that are incomplete or contradict each other.
    """
    if not {"RANK", "WORLD_SIZE"} <= environment.keys():
        return None
    try:
        rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        here = Place(
            rank,
            size,
            int(environment.get("LOCAL_RANK", rank)),
            int(environment.get("LOCAL_WORLD_SIZE", size)),
        )
    except ValueError:
        here = None
    if here and 0 <= here.rank < here.size and {"MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return here
    fail(
        "the variables of distributed training are incomplete or wrong",
        "environment",
        found=", ".join(f"{name}={environment[name]}" for name in VARIABLES if name in environment),
        expected="RANK below WORLD_SIZE, and MASTER_ADDR and MASTER_PORT, as torchrun sets them",
        fix="start it with torchrun or --gpus, or unset RANK and WORLD_SIZE",
    )


def speaks() -> bool:
    """True if this process prints for all: it is alone, or rank 0."""
    return os.environ.get("RANK", "0") == "0" or "WORLD_SIZE" not in os.environ


def leave(code: int) -> NoReturn:
    """End this process with an exit code.

    Only rank 0 prints. The launcher may kill all ranks when one exits, so the others wait a second.
    Ranks skip the interpreter's clean-up, in which torch's threads sometimes abort the process
    (seen in torch 2.13 with gloo).
    """
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        sys.exit(code)
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_initialized():
        distributed.destroy_process_group()
    if not speaks():
        time.sleep(1.0)
    sys.stdout.flush()
    sys.stderr.flush()
    exit_now(code)


def orphaned() -> bool:
    """True if the process that started this one for ``--gpus`` has ended."""
    parent = str(os.getppid())
    return os.environ.get(LAUNCHER, parent) != parent
