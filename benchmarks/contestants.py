"""Contestants of a comparison, each in a process of its own: what one does to the memory or the switches of a process touches no other.

The parent starts ``python -m benchmarks.PROGRAM ... --contestant NAME`` for each; a contestant gets ready, says so in one line of JSON, and
takes a turn for every line that it is sent, which it answers with its seconds. All wait while one has its turn.
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
    """A contestant's process, seen from the parent. facts: what it said of itself when it was ready."""

    def __init__(self, program: str, arguments: Sequence[str], name: str) -> None:
        self.name = name
        command = [sys.executable, "-W", "ignore", "-m", program, *arguments, "--contestant", name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.facts: dict[str, Any] = self._answer()

    def turn(self) -> float:
        """One turn; its seconds, as the contestant measured them. Raises UserError where it has ended."""
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
    """All of them, ready; started one after the other, so that none's preparation disturbs another's."""
    with ExitStack() as stack:
        ready: dict[str, Contestant] = {}
        for name in names:
            ready[name] = Contestant(program, arguments, name)
            stack.callback(ready[name].close)
        yield ready


@contextmanager
def answers() -> Iterator[IO[str]]:
    """The stream of answers to the parent. Whatever else is printed meanwhile, by anybody, goes to standard error."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        yield stream
    finally:
        stream.close()


def serve(turn: Turn, facts: Mapping[str, Any], stream: IO[str]) -> None:
    """Be a contestant: say that it is ready, and take a turn for each line that comes, until there are no more."""
    print(json.dumps(dict(facts)), file=stream, flush=True)
    for _ in sys.stdin:
        print(json.dumps({"seconds": turn()}), file=stream, flush=True)
