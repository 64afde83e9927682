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
from collections.abc import Sequence
from dataclasses import dataclass, field

from crossview.core.processes import LAUNCHER, PATIENCE


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
