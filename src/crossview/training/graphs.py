"""Passes of networks recorded as CUDA graphs and replayed: the host launches one graph per pass.

A plain pass launches hundreds of kernels. In training, a network's first passes of each kind
(shape, with or without gradient, mode) run as they are and tune torch's convolutions. Then one is
recorded, forward and backward. Later passes copy their image into the graph's input and replay. The
arithmetic and the random numbers of dropout are those of a plain pass. The gradients of the weights
are added to their ``grad`` in place, so between steps set it to zero, not to None.

The outputs of a replayed pass are overwritten by the next replay of the same recording: for a pass
with gradient, possible once its backward pass has run; for a pass without, at the next such pass. A
method declares with ``recordable`` that it does not keep them longer.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from crossview.core.errors import first_line
from crossview.core.tensors import Output, parts, rebuilt
from crossview.kernels import own_kernels
from crossview.training.recorded_pass import Recording

PLAIN = 3
"""Passes of a kind that run plain before one is recorded."""


MOST = 4
"""Recordings per kind: passes with gradient that may be in progress at once. Others run plain."""


Kind = tuple[object, ...]


@dataclass
class Seen:
    """The state of one kind of pass. taught: the outputs that have received a gradient."""

    passes: int = 0
    taught: set[int] = field(default_factory=set)
    recordings: list[Recording] = field(default_factory=list)


def _nothing() -> None:
    """Wait for nothing."""


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Prevent garbage collection, which could free an old CUDA graph and so spoil a recording."""
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _end_recording(stream: Any, pool: Any) -> None:
    """Clean up after a failed recording: torch leaves allocator and generator in capture mode."""
    try:
        torch._C._cuda_endAllocateToPool(stream.device_index, pool)
        torch._C._cuda_releasePool(stream.device_index, pool)
    except (RuntimeError, AttributeError):  # the recording had not begun
        pass
    try:
        with torch.cuda.graph(
            torch.cuda.CUDAGraph(), stream=stream, capture_error_mode="thread_local"
        ):
            torch.zeros(1, device=stream.device)
    except RuntimeError:
        warnings.warn(
            "could not clean up after a failed recording: train with training.compile=false",
            stacklevel=2,
        )


def _reason(error: BaseException) -> str:
    """Return the first line of the first error in the chain, and the part of the recording."""
    where = "".join(f" ({note})" for note in getattr(error, "__notes__", ())[:1])
    while error.__context__ is not None:
        error = error.__context__
    return first_line(error) + where


class Recorder:
    """Replacement of a network's ``forward`` that records and replays passes.

    quiet: waits until no other thread uses the device, which would spoil a recording.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network, self.plain = network, network.forward
        self.kinds: dict[Kind, Seen] = {}
        self.active = False
        self.quiet: Callable[[], None] = _nothing
        network.forward = self

    def __call__(self, image: Tensor) -> Output:
        if not self.active or image.requires_grad or not image.is_cuda:
            return self.plain(image)  # type: ignore[no-any-return]
        gradient = torch.is_grad_enabled() and any(
            weight.requires_grad for weight in self.network.parameters()
        )
        precision = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        seen = self.kinds.setdefault(
            (image.shape, image.dtype, gradient, self.network.training, precision), Seen()
        )
        seen.passes += 1
        if seen.passes <= PLAIN:
            return self._watched(image, seen) if gradient else self.plain(image)
        free = next((recording for recording in seen.recordings if not recording.busy), None)
        if free is None and (len(seen.recordings) == MOST or (gradient and not seen.taught)):
            return self.plain(image)  # type: ignore[no-any-return]
        if free is None:
            free = self._recorded(image, sorted(seen.taught) if gradient else [])
            if free is None:
                return self.plain(image)  # type: ignore[no-any-return]
            seen.recordings.append(free)
        return free.replay_with_gradient(image) if gradient else free.replay(image)

    def _watched(self, image: Tensor, seen: Seen) -> Output:
        """Run a plain pass, and note which of its outputs receive a gradient from outside."""
        output: Output = self.plain(image)
        aliases = [part.view_as(part) for part in parts(output)]
        for place, alias in enumerate(aliases):
            if alias.requires_grad:
                alias.register_hook(lambda gradient, place=place: seen.taught.add(place))  # type: ignore[no-untyped-call]
        return rebuilt(output, aliases)

    def _recorded(self, image: Tensor, taught: Sequence[int]) -> Recording | None:
        """Return a recording; if it fails, warn, stop recording for good and return None."""
        try:
            return self.record(image, taught)
        except Exception as error:  # from CUDA or a kernel compiler
            what = (
                f"{type(self.network).__name__} on {tuple(image.shape)} "
                f"with{'' if taught else 'out'} gradient"
            )
            reason = f"passes are not recorded as CUDA graphs: {what}: {_reason(error)}"
        self.close()
        warnings.warn(reason, stacklevel=2)  # last, as warnings may be turned into errors
        return None

    def record(self, image: Tensor, taught: Sequence[int]) -> Recording:
        """Return a new :class:`Recording`, and leave running statistics and generator unchanged.

        Errors of CUDA or of a kernel compiler are raised after cleaning up.
        """
        self.quiet()
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        state = torch.cuda.get_rng_state(image.device)
        before, pool = torch.cuda.current_stream(image.device), torch.cuda.graph_pool_handle()
        stream = torch.cuda.Stream(image.device)  # type: ignore[no-untyped-call]
        try:
            with torch.cuda.device(image.device), _nothing_collected():
                return Recording(self.network, self.plain, image, taught, stream, pool)
        except Exception:
            torch.cuda.set_stream(before)  # torch stays on the recording's stream
            _end_recording(stream, pool)
            raise
        finally:
            torch.cuda.set_rng_state(state, image.device)
            for buffer, value in buffers:
                buffer.data.copy_(
                    value
                )  # via .data, unseen by autograd: a plain pass in progress may hold the buffer

    def close(self) -> None:
        """Restore the network's plain forward pass, and free the recordings."""
        self.active, self.kinds = False, {}
        self.network.forward = self.plain


class Recordings:
    """The recorders of a method's networks; empty if nothing is recorded."""

    def __init__(self, networks: Sequence[nn.Module] = ()) -> None:
        self.recorders = [Recorder(network) for network in networks]

    def __bool__(self) -> bool:
        return bool(self.recorders)

    @property
    def made(self) -> int:
        """The number of recordings made so far."""
        return sum(
            len(seen.recordings) for recorder in self.recorders for seen in recorder.kinds.values()
        )

    def forget(self) -> None:
        """Drop all recordings: in another stage other outputs receive gradients."""
        for recorder in self.recorders:
            recorder.kinds = {}

    def close(self) -> None:
        """Stop recording."""
        for recorder in self.recorders:
            recorder.close()

    def wait_by(self, quiet: Callable[[], None]) -> None:
        """Set the function that waits until no other thread uses the device."""
        for recorder in self.recorders:
            recorder.quiet = quiet

    def begin(self) -> None:
        """Mark all recordings as free, at the start of a step."""
        for recorder in self.recorders:
            for seen in recorder.kinds.values():
                for recording in seen.recordings:
                    recording.busy = False

    @contextmanager
    def passes(self) -> Iterator[None]:
        """Allow recording and replay; passes that are not replayed use crossview's kernels too."""
        for recorder in self.recorders:
            recorder.active = recorder.network.forward is recorder
        try:
            with own_kernels(
                bool(self.recorders) and all(recorder.active for recorder in self.recorders)
            ):
                yield
        finally:
            for recorder in self.recorders:
                recorder.active = False
