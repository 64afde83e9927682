"""Contestants of a comparison, each in a separate process, so that memory and switches stay apart.

The parent starts ``python -m benchmarks.PROGRAM ... --contestant NAME`` for each. A contestant
prepares and reports in one line of JSON. It takes a turn per line that it receives, and answers
with its seconds. All others wait meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any

from crossview.core.errors import Problem, UserError

Turn = Callable[[], float]


class Contestant:
    """Process of a contestant, seen from the parent. facts: what it reported when ready."""

    def __init__(self, program: str, arguments: Sequence[str], name: str) -> None:
        self.name = name
        command = [sys.executable, "-W", "ignore", "-m", program, *arguments, "--contestant", name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.facts: dict[str, Any] = self._answer()

    def turn(self) -> float:
        """Take a turn and return its seconds. UserError if the contestant has ended."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write("turn\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        return float(self._answer()["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> UserError:
        code = self.process.wait()
        return UserError(
            Problem(
                f"the contestant '{self.name}' ended",
                found=f"exit code {code}; what it said stands above",
            )
        )

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()


@contextmanager
def contestants(
    program: str, arguments: Sequence[str], names: Sequence[str]
) -> Iterator[dict[str, Contestant]]:
    """Start all one after the other, so that no preparation disturbs another, and yield them."""
    with ExitStack() as stack:
        ready: dict[str, Contestant] = {}
        for name in names:
            ready[name] = Contestant(program, arguments, name)
            stack.callback(ready[name].close)
        yield ready


@contextmanager
def answers() -> Iterator[IO[str]]:
    """Yield the stream of answers to the parent; all other output goes to standard error."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        yield stream
    finally:
        stream.close()


def serve(turn: Turn, facts: Mapping[str, Any], stream: IO[str]) -> None:
    """Report that a contestant is ready, and take a turn per line until there are no more."""
    print(json.dumps(dict(facts)), file=stream, flush=True)
    for _ in sys.stdin:
        print(json.dumps({"seconds": turn()}), file=stream, flush=True)
