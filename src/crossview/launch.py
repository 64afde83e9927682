"""Processes that train one run together, started by ``--gpus N`` on this machine, torchrun or srun.

Each process learns its place from torchrun's environment variables: RANK and WORLD_SIZE among all,
LOCAL_RANK and LOCAL_WORLD_SIZE on its machine, and MASTER_ADDR and MASTER_PORT of rank 0.
Nothing heavy is imported here.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from crossview.errors import Problem, UserError

LAUNCHER = "CROSSVIEW_LAUNCHER"
"""Environment variable with the id of the process that started this one for ``--gpus``."""
PATIENCE = 20.0
"""Seconds that the other processes get to end after one has failed."""


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
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    found = ", ".join(
        f"{name}={environment[name]}"
        for name in (*names, "MASTER_ADDR", "MASTER_PORT")
        if name in environment
    )
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
    if (
        here is None
        or not (0 <= here.rank < here.size)
        or not {"MASTER_ADDR", "MASTER_PORT"} <= environment.keys()
    ):
        expected = "RANK below WORLD_SIZE, and MASTER_ADDR and MASTER_PORT, as torchrun sets them"
        fix = "start it with torchrun or --gpus, or unset RANK and WORLD_SIZE"
        raise UserError(
            Problem(
                "the variables of distributed training are incomplete or wrong",
                "environment",
                found,
                expected,
                fix,
            )
        )
    return here


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
    os._exit(code)


def orphaned() -> bool:
    """True if the process that started this one for ``--gpus`` has ended."""
    return os.environ.get(LAUNCHER, str(os.getppid())) != str(os.getppid())


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run ``crossview`` with these arguments in several processes and return their exit code.

    Only rank 0 prints progress and results; all ranks share standard error. The first Ctrl-C or
    SIGTERM is passed on, a second one kills.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": processes,
        "LOCAL_WORLD_SIZE": processes,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    shared[LAUNCHER] = os.getpid()
    threads = {
        "OMP_NUM_THREADS": os.environ.get(
            "OMP_NUM_THREADS", max(1, (os.cpu_count() or 1) // processes)
        )
    }
    family = _Family()
    usual = {
        number: signal.signal(number, family.pass_on) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        for rank in range(processes):
            own = {
                key: str(value)
                for key, value in {**shared, **threads, "RANK": rank, "LOCAL_RANK": rank}.items()
            }
            # A new session: Ctrl-C in a terminal reaches only this process, which passes it on.
            # -P: modules in the current folder must not be imported.
            command = [sys.executable, "-P", "-m", "crossview", *arguments]
            started = subprocess.Popen(
                command, env={**os.environ, **own}, start_new_session=True, stdin=subprocess.DEVNULL
            )
            family.children.append(started)
        return family.wait()
    finally:
        family.kill()
        for number, handler in usual.items():
            signal.signal(number, handler)


@dataclass
class _Family:
    """The started processes, in order of rank."""

    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    signalled: int = 0

    def pass_on(self, number: int, frame: object) -> None:
        again, self.signalled = bool(self.signalled), number
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGKILL if again else number)

    def kill(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()

    def _failed(self) -> tuple[int, int] | None:
        """Return rank and exit code of a failed process.

        A killed process comes first: others may have failed only because they missed it.
        """
        failed = [
            (rank, child.returncode) for rank, child in enumerate(self.children) if child.returncode
        ]
        return min(failed, key=lambda each: each[1] > 0, default=None)

    def wait(self) -> int:
        """Wait until all have ended and return the exit code of the first to fail, else 0.

        Once one has failed, the others get ``PATIENCE`` seconds to end.
        """
        failed: tuple[int, int] | None = None
        deadline = float("inf")
        while any(child.poll() is None for child in self.children):
            if failed is None:
                failed = self._failed()
                deadline = float("inf") if failed is None else time.monotonic() + PATIENCE
            elif time.monotonic() > deadline:
                self.kill()
            time.sleep(0.05)
        failed = failed or self._failed()
        if failed is None:
            return 0
        rank, code = failed
        if code > 0:
            return code
        if not self.signalled:
            text = f"error: process {rank + 1} of {len(self.children)} was killed by signal {-code}"
            print(f"{text}; the last checkpoint is intact: resume with --resume", file=sys.stderr)  # noqa: T201
            return 1
        return 128 - code
