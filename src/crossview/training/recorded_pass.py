"""One pass of a network as CUDA graphs, forward and backward: recorded, and replayed in the network's place.

When passes are recorded is the matter of :mod:`crossview.training.recording`.
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

from crossview.core.tensors import Output


class Recording:
    """One pass, recorded: the graphs and the memory they read and write.

    taught: the places among the outputs of those that are given a gradient; none for a pass without.
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
        """stream: of the image's device, for the recording alone. pool: where the graphs keep their memory."""
        self.busy = False
        self.taught = list(taught)
        self.image = image.detach().clone()
        trained = (
            {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
            if taught
            else {}
        )
        # The weights under other names for the graph of gradients: what it keeps of a weight belongs to the stream of its first pass, and
        # while an earlier pass is remembered anywhere, to wait for that stream would spoil the recording.
        aliases = {name: weight.detach().requires_grad_() for name, weight in trained.items()}
        weights = list(aliases.values())
        module, named = (
            _Plain(network, plain),
            {f"network.{name}": alias for name, alias in aliases.items()},
        )

        def forward() -> Output:
            with torch.autocast(
                "cuda", enabled=torch.is_autocast_enabled("cuda"), cache_enabled=False
            ):  # no weights from before
                output: Output = functional_call(module, named, (self.image,))
                return output

        stream.wait_stream(torch.cuda.current_stream())
        with _told("before it"), torch.cuda.stream(stream):
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
        with _told("of the forward pass"), torch.cuda.graph(self.forward, **how):
            output = forward()
        if taught:
            with _told("of the backward pass"), torch.cuda.graph(self.backward, **how):
                gradients = _gradients(parts(output), self.taught, reached, self.given)
                torch._foreach_add_(sums, gradients)
        self.output = rebuilt(output, [part.detach() for part in parts(output)])

    def replay(self, image: Tensor) -> Output:
        """A pass without gradient."""
        self.image.copy_(image)
        self.forward.replay()
        logits = self.output.logits.clone()  # what is most likely to be kept
        return rebuilt(self.output, [logits, *(part.detach() for part in parts(self.output)[1:])])

    def replay_with_gradient(self, image: Tensor) -> Output:
        """A pass whose backward pass is replayed when its outputs' gradients come."""
        anchor = torch.empty(0, device=image.device, requires_grad=True)
        return rebuilt(self.output, list(_Replayed.apply(anchor, image, self)))  # type: ignore[no-untyped-call]


class _Plain(nn.Module):
    """A network with its plain forward pass, for weights that are given by name."""

    def __init__(self, network: nn.Module, plain: Callable[[Tensor], Output]) -> None:
        super().__init__()
        self.network, self.plain = network, plain

    def forward(self, image: Tensor) -> Output:
        return self.plain(image)


def _gradient_of(weight: nn.Parameter) -> Tensor:
    """Where a weight's gradient is added up: zeros where there is none yet."""
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


class _Replayed(torch.autograd.Function):
    """Stands for the whole network in the graph of gradients, which then need not know its layers."""

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
                f"a recorded pass was given the gradient of output {unforeseen[0]}, which it had not when it was recorded: "
                "train with training.compile=false"
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
    ):  # as in training, where it ends before the backward pass; the engine takes it along
        return list(
            torch.autograd.grad(
                [outputs[place] for place in taught], weights, given, allow_unused=True
            )
        )


def parts(output: Output) -> list[Tensor]:
    """All tensors of an output, the logits first."""
    dropped = [] if output.dropped is None else [output.dropped]
    return [output.logits, output.bottleneck, output.decoder, *output.scales, *dropped]


def rebuilt(like: Output, tensors: Sequence[Tensor]) -> Output:
    """The output whose :func:`parts` are these tensors."""
    logits, bottleneck, decoder, *others = tensors
    scales, dropped = others[: len(like.scales)], others[len(like.scales) :]
    return Output(logits, bottleneck, decoder, tuple(scales), dropped[0] if dropped else None)


@contextmanager
def _told(where: str) -> Iterator[None]:
    """An error in here knows which part of the recording failed."""
    try:
        yield
    except Exception as error:
        error.add_note(where)
        raise
