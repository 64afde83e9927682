"""One run on several processes: each computes a share of every batch, and gradients are averaged.

The stream gives rank r of R the pairs (i, i + n/2) of a batch of n with
r n/(2R) <= i < (r + 1) n/(2R). This module averages, and makes the decisions that must be the same
in all processes. ``World`` is a process alone, for which all of this does nothing; ``Ranks`` is one
of several.
"""

from __future__ import annotations

import signal
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from crossview.core.errors import Problem, UserError, fail, first_line, of_people
from crossview.core.processes import Place, orphaned, place
from crossview.core.text import count
from crossview.training.batch_norm import share_batch_norm
from crossview.training.device import find_device

Value = TypeVar("Value")


Name = TypeVar("Name", bound=Hashable)


LONGEST_START = timedelta(minutes=15)
"""Time that a process waits for the others to start."""


LONGEST_WAIT = timedelta(hours=6)
"""Time that the others wait while the first process scores, draws and writes alone."""


@dataclass(frozen=True)
class World:
    """A process that trains alone. gpus: True if a number of GPUs was asked for."""

    rank: int = 0
    size: int = 1
    gpus: bool = False

    @property
    def first(self) -> bool:
        """True if this process writes, scores and prints."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """True if this process was launched as part of a group, even a group of one."""
        return False

    def device(self, name: str) -> torch.device:
        """Return this process's device for ``training.device``. Raise UserError if it has none."""
        device = find_device(name)
        if self.gpus and device.type == "cpu" and name != "cpu":
            _too_few_gpus(1)
        return device

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run work that must succeed in every process: a UserError in one is raised in all.

        No collective may be called inside.
        """
        yield

    def from_first(self, value: Value) -> Value:
        """Return the first process's value."""
        return value

    def agree(self, what: str, value: object) -> None:
        """Raise UserError if the processes have different values."""

    def signal(self, caught: Sequence[int]) -> int:
        """Return the signal that ends the run, 0 for none. It is the same in all processes."""
        return caught[0] if caught else 0

    def share_batch_norm(self, method: nn.Module, device: torch.device) -> None:
        """Let the method's batch norms see the whole batch. Call before the optimiser is made."""

    def average(
        self, parameters: Sequence[nn.Parameter], terms: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Average the gradients in place over the processes, and return the averaged loss terms."""
        return terms

    def mean(self, numbers: Mapping[Name, float]) -> dict[Name, float]:
        """Return each number's mean over the processes, which must all have the same names."""
        return dict(numbers)


ALONE = World()


@dataclass(frozen=True)
class Ranks(World):
    """One of several processes. local_rank: its number on its machine, of ``local_size``."""

    local_rank: int = 0
    local_size: int = 1

    @property
    def several(self) -> bool:
        return True

    def device(self, name: str) -> torch.device:
        if name == "cpu":
            return torch.device("cpu")
        if name not in ("auto", "cuda"):
            fail(
                "one device cannot serve several processes",
                "[training] device",
                found=name,
                expected="auto, cuda or cpu",
                fix="use auto: each process takes its own GPU; "
                "CUDA_VISIBLE_DEVICES selects among them",
            )
        if self.local_rank >= torch.cuda.device_count():
            _too_few_gpus(self.local_size)
        device = torch.device("cuda", self.local_rank)
        torch.cuda.set_device(device)
        return device

    @contextmanager
    def together(self) -> Iterator[None]:
        problems: list[Problem] = []
        try:
            yield
        except Exception as error:
            told = of_people(error)
            if told is None:
                raise
            problems = list(told.problems)
        every = dict.fromkeys(problem for found in self._gather(problems) for problem in found)
        if every:
            raise UserError(every)

    def _gather(self, value: Value) -> list[Value]:
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, value)
        return gathered

    def from_first(self, value: Value) -> Value:
        return self._gather(value)[0]

    def agree(self, what: str, value: object) -> None:
        values = dict.fromkeys(self._gather(str(value)))
        if len(values) > 1:
            fail(
                f"the processes differ in {what}",
                found=" and ".join(values),
                expected="the same in all",
                fix="give every process the same command, code, data and run folder, "
                "on a disk that all machines share",
            )

    def signal(self, caught: Sequence[int]) -> int:
        """Return the highest signal of all; a dead launcher counts as SIGTERM.

        One collective on the host per step: nothing waits for a GPU.
        """
        number = torch.tensor(caught[0] if caught else int(signal.SIGTERM) if orphaned() else 0)
        dist.all_reduce(number, dist.ReduceOp.MAX)
        return int(number)

    def share_batch_norm(self, method: nn.Module, device: torch.device) -> None:
        if self.size > 1:
            share_batch_norm(method, device)

    def average(
        self, parameters: Sequence[nn.Parameter], terms: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Average in one flat all-reduce; a non-finite value in one process is so in all."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        losses = torch.stack(list(terms.values())).to(gradients[0].dtype)
        flat = torch.cat([losses, *(gradient.reshape(-1) for gradient in gradients)])
        dist.all_reduce(flat)
        losses, *pieces = torch.split(
            flat / self.size, [len(losses), *(gradient.numel() for gradient in gradients)]
        )
        torch._foreach_copy_(
            gradients,
            [piece.view(gradient.shape) for piece, gradient in zip(pieces, gradients, strict=True)],
        )
        return dict(zip(terms, losses.unbind(), strict=True))

    def mean(self, numbers: Mapping[Name, float]) -> dict[Name, float]:
        values = torch.tensor(list(numbers.values()), dtype=torch.float64)
        if len(values):
            dist.all_reduce(values)
        return dict(zip(numbers, (values / self.size).tolist(), strict=True))


def _too_few_gpus(wanted: int) -> NoReturn:
    gpus = torch.cuda.device_count()
    found = f"{count(gpus, 'GPU')} on this machine"
    fix = f"use --gpus {gpus}" if gpus else "rehearse on the CPU: --set training.device=cpu"
    fail("fewer GPUs than processes", "--gpus", found=found, expected=wanted, fix=fix)


def join(gpus: int | None = None) -> World:
    """Return this process's world: the group that torchrun, srun or ``--gpus`` launched, or itself.

    gpus: the number of processes that the caller expects. Raises UserError if it is different.
    """
    here = place()
    if gpus is not None and gpus != (1 if here is None else here.size):
        found = "one process" if here is None else f"{here.size} processes (WORLD_SIZE)"
        fix = (
            "start them with crossview train --gpus, "
            "or your own script with torchrun --standalone --nproc-per-node"
        )
        fail("the number of processes is different", "gpus", found=found, expected=gpus, fix=fix)
    if here is None:
        return World(gpus=gpus is not None)
    if not dist.is_initialized():
        _connect(here)
    return Ranks(here.rank, here.size, gpus is not None, here.local_rank, here.local_size)


def _connect(here: Place) -> None:
    """Join the process group: gloo for tensors in main memory, nccl for tensors on GPUs."""
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        store, rank, size = next(rendezvous("env://", here.rank, here.size, timeout=LONGEST_START))
        backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=size, timeout=LONGEST_WAIT
        )
    except (dist.DistError, RuntimeError, ValueError) as error:
        fail(
            "the processes cannot find each other",
            found=first_line(error),
            fix="set MASTER_ADDR to the machine of the first process, "
            "and MASTER_PORT to a free port there",
        )
