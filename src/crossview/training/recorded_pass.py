"""One pass of a network as CUDA graphs, forward and backward, replayed in the network's place.

:mod:`crossview.training.graphs` decides when passes are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from crossview.core.tensors import Output, parts, rebuilt


class Recording:
    """One recorded pass: the graphs, and the memory that they read and write.

    taught: the indices of the outputs that receive a gradient; empty for a pass without gradient.
    """

    def __init__(
        self,
        network: nn.Module,
        plain: Callable[[Tensor], Output],
        image: Tensor,
        taught: Sequence[int],
        stream: Any,
        pool: Any,
    ) -> None:
        """Record a pass.

        stream: on the image's device, for the recording only. pool: memory pool of the graphs.
        """
        self.busy = False
        self.taught = list(taught)
        self.image = image.detach().clone()
        trained = (
            {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
            if taught
            else {}
        )
        # Aliases of the weights for autograd: the node that it keeps per weight belongs to the
        # stream of the first pass, and while an earlier pass is alive anywhere, waiting for that
        # stream would spoil the recording.
        aliases = {name: weight.detach().requires_grad_() for name, weight in trained.items()}
        weights = list(aliases.values())
        module, named = (
            _Plain(network, plain),
            {f"network.{name}": alias for name, alias in aliases.items()},
        )

        def forward() -> Output:
            with torch.autocast(
                "cuda", enabled=torch.is_autocast_enabled("cuda"), cache_enabled=False
            ):  # no cached weights from earlier passes
                output: Output = functional_call(module, named, (self.image,))
                return output

        stream.wait_stream(torch.cuda.current_stream())
        with _failing("before the recording"), torch.cuda.stream(stream):
            outputs = parts(forward())
            self.given = [torch.zeros_like(outputs[place]) for place in self.taught]
            gradients = _gradients(outputs, self.taught, weights, self.given)
            found = [gradient is not None for gradient in gradients]
            reached = list(compress(weights, found))
            sums = [_gradient_of(weight) for weight in compress(trained.values(), found)]
            del outputs, gradients
        torch.cuda.current_stream().wait_stream(stream)
        how = {"pool": pool, "stream": stream, "capture_error_mode": "thread_local"}
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with _failing("in the forward pass"), torch.cuda.graph(self.forward, **how):
            output = forward()
        if taught:
            with _failing("in the backward pass"), torch.cuda.graph(self.backward, **how):
                gradients = _gradients(parts(output), self.taught, reached, self.given)
                torch._foreach_add_(sums, gradients)
        self.output = rebuilt(output, [part.detach() for part in parts(output)])

    def replay(self, image: Tensor) -> Output:
        """Replay a pass without gradient."""
        self.image.copy_(image)
        self.forward.replay()
        logits = self.output.logits.clone()  # the output that callers are most likely to keep
        return rebuilt(self.output, [logits, *(part.detach() for part in parts(self.output)[1:])])

    def replay_with_gradient(self, image: Tensor) -> Output:
        """Replay a pass; its backward pass is replayed when the outputs' gradients arrive."""
        anchor = torch.empty(0, device=image.device, requires_grad=True)
        return rebuilt(self.output, list(_Replayed.apply(anchor, image, self)))  # type: ignore[no-untyped-call]


class _Plain(nn.Module):
    """A network with its plain forward pass, called with weights by name."""

    def __init__(self, network: nn.Module, plain: Callable[[Tensor], Output]) -> None:
        super().__init__()
        self.network, self.plain = network, plain

    def forward(self, image: Tensor) -> Output:
        return self.plain(image)


def _gradient_of(weight: nn.Parameter) -> Tensor:
    """Return a weight's ``grad``, created as zeros if there is none yet."""
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


class _Replayed(torch.autograd.Function):
    """The whole network as one node of the autograd graph."""

    @staticmethod
    def forward(
        context: Any, anchor: Tensor, image: Tensor, recording: Recording
    ) -> tuple[Tensor, ...]:
        recording.image.copy_(image)
        recording.forward.replay()
        recording.busy = True
        context.recording = recording
        context.set_materialize_grads(False)
        return tuple(part.detach() for part in parts(recording.output))

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor | None) -> tuple[None, None, None]:
        recording: Recording = context.recording
        unforeseen = [
            place
            for place, gradient in enumerate(gradients)
            if gradient is not None and place not in recording.taught
        ]
        if unforeseen:
            raise RuntimeError(
                f"a recorded pass received a gradient for output {unforeseen[0]}, "
                "which had none when it was recorded: train with training.compile=false"
            )
        for place, given in zip(recording.taught, recording.given, strict=True):
            gradient = gradients[place]
            given.zero_() if gradient is None else given.copy_(gradient)
        recording.backward.replay()
        recording.busy = False
        return None, None, None


def _gradients(
    outputs: Sequence[Tensor],
    taught: Sequence[int],
    weights: Sequence[Tensor],
    given: Sequence[Tensor],
) -> list[Any]:
    if not taught:
        return []
    with torch.autocast(
        "cuda", enabled=False
    ):  # as in training, where autocast ends before the backward pass; the engine inherits it
        return list(
            torch.autograd.grad(
                [outputs[place] for place in taught], weights, given, allow_unused=True
            )
        )


@contextmanager
def _failing(where: str) -> Iterator[None]:
    """Add the note ``where`` to an error, to report which part of the recording failed."""
    try:
        yield
    except Exception as error:
        error.add_note(where)
        raise
