"""Passes of several networks that do not depend on each other: in turn, or at the same time.

On a CPU an operator of a small network is too short for several threads: they wait for each other
longer than they compute, and far longer next to another busy process. A thread per pass waits once
per pass. The backward passes run in the same way, as each pass has an autograd graph of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from crossview.core.tensors import Output, parts, rebuilt
from crossview.core.threads import ThreadPool
from crossview.networks.dropout import drawing_from
from crossview.networks.safe_convolution import SafeConvolutions

Pass = Callable[[], Output]
"""Function that runs a network once."""

Together = Callable[..., tuple[Output, ...]]
"""Function of passes that returns their outputs in the same order."""


def in_turn(*passes: Pass) -> tuple[Output, ...]:
    """Run passes one after the other, and return their outputs."""
    return tuple(run() for run in passes)


class InThreads:
    """Runs up to ``count`` passes at the same time on the CPU, and their backward passes too.

    The passes must share no weights and no buffers. Until :meth:`close`, each pass has its share of
    torch's threads, and so has the caller: threads of the caller would wait for each other too.
    Grad mode and autocast are those of the caller. Dropout of each pass comes from a generator
    seeded by a draw of torch's own, so the result does not depend on which thread is faster.
    Gradients of the outputs reach the weights by ``backward()`` alone, not by ``autograd.grad``.
    """

    def __init__(self, count: int) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(max(1, self._before // count))  # new threads begin with it too
        self._pool = ThreadPool(count)

    def __call__(self, *passes: Pass) -> tuple[Output, ...]:
        """Run passes at the same time, and return their outputs."""
        seeds = torch.randint(2**63 - 1, (len(passes),)).tolist()
        run = partial(
            _run,
            torch.is_grad_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_autocast_dtype("cpu"),
        )
        outputs = self.each(run, passes, seeds)
        if not any(part.requires_grad for output in outputs for part in parts(output)):
            return tuple(outputs)
        anchor = torch.empty(0, requires_grad=True)
        roots = [parts(output) for output in outputs]
        joined = iter(_Joined.apply(anchor, self, roots))  # type: ignore[no-untyped-call]
        return tuple(
            rebuilt(output, [next(joined) for _ in of_output])
            for output, of_output in zip(outputs, roots, strict=True)
        )

    def each(self, work: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        """Return ``work`` of each group of arguments, computed in the threads."""
        return list(self._pool.map(work, *arguments))

    def close(self) -> None:
        """End the threads, and give the caller back its own."""
        self._pool.shutdown()
        torch.set_num_threads(self._before)


def _run(gradient: bool, autocast: bool, dtype: torch.dtype, run: Pass, seed: int) -> Output:
    """Run a pass in the caller's modes, which torch keeps per thread."""
    generator = torch.Generator().manual_seed(seed)
    with (
        torch.set_grad_enabled(gradient),
        torch.autocast("cpu", dtype, autocast),
        SafeConvolutions() if autocast else nullcontext(),
        drawing_from(generator),
    ):
        return run()


class _Joined(torch.autograd.Function):
    """All passes as one node of the loss's graph, so that their backward passes start together."""

    @staticmethod
    def forward(
        context: Any, anchor: Tensor, threads: InThreads, roots: list[list[Tensor]]
    ) -> tuple[Tensor, ...]:
        context.threads, context.roots = threads, roots
        context.set_materialize_grads(False)
        return tuple(root.detach() for of_pass in roots for root in of_pass)

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor | None) -> tuple[None, None, None]:
        given, taught = iter(gradients), []
        for of_pass in context.roots:
            pairs = [(root, next(given)) for root in of_pass]
            taught.append([pair for pair in pairs if pair[1] is not None])
        context.roots = None  # frees what each pass saved as soon as it is used
        context.threads.each(_backward, [pairs for pairs in taught if pairs])
        return None, None, None


def _backward(pairs: list[tuple[Tensor, Tensor]]) -> None:
    roots, gradients = zip(*pairs, strict=True)
    torch.autograd.backward(roots, gradients)
