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

from crossview.core.watchdog import LAUNCHER

PATIENCE = 20.0
"""Seconds that the other processes get to end after one has failed."""


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run ``crossview`` with these arguments in several processes and return their exit code.

    Only rank 0 prints progress and results; all ranks share standard error. The first Ctrl-C or
    SIGTERM is passed on, a second one kills.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = max(1, (os.cpu_count() or 1) // processes)
    shared = {
        "OMP_NUM_THREADS": str(threads),
        **os.environ,
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        LAUNCHER: str(os.getpid()),
    }
    family = _Family()
    usual = {
        number: signal.signal(number, family.pass_on) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        for rank in range(processes):
            family.start(arguments, {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        return family.wait()
    finally:
        family.kill()
        for number, handler in usual.items():
            signal.signal(number, handler)


@dataclass
class _Family:
    """The started processes, in order of rank."""

    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    signalled: bool = False

    def start(self, arguments: Sequence[str], environment: dict[str, str]) -> None:
        # -P: modules in the current folder must not be imported.
        command = [sys.executable, "-P", "-m", "crossview", *arguments]
        # A new session: Ctrl-C in a terminal reaches only this process, which passes it on.
        child = subprocess.Popen(
            command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL
        )
        self.children.append(child)

    def running(self) -> list[subprocess.Popen[bytes]]:
        return [child for child in self.children if child.poll() is None]

    def pass_on(self, number: int, frame: object) -> None:
        again, self.signalled = self.signalled, True
        for child in self.running():
            child.send_signal(signal.SIGKILL if again else number)

    def kill(self) -> None:
        for child in self.running():
            child.kill()
            child.wait()

    def _failed(self) -> tuple[int, int] | None:
        """Return rank and exit code of a failed process.

        A killed process comes first: others may have failed only because they missed it.
        """
        codes = [(rank, child.returncode) for rank, child in enumerate(self.children)]
        return min((each for each in codes if each[1]), key=lambda each: each[1] > 0, default=None)

    def wait(self) -> int:
        """Wait until all have ended and return the exit code of the first to fail, else 0.

        Once one has failed, the others get ``PATIENCE`` seconds to end.
        """
        failed, deadline = None, float("inf")
        while self.running():
            if failed is None and (failed := self._failed()):
                deadline = time.monotonic() + PATIENCE
            elif time.monotonic() > deadline:
                self.kill()
            time.sleep(0.05)
        failed = failed or self._failed()
        if failed is None:
            return 0
        rank, code = failed
        if code > 0:
            return code
        if self.signalled:
            return 128 - code
        text = f"error: process {rank + 1} of {len(self.children)} was killed by signal {-code}"
        print(f"{text}; the last checkpoint is intact: resume with --resume", file=sys.stderr)  # noqa: T201
        return 1
