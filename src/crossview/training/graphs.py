"""Passes of networks as CUDA graphs: recorded once, then replayed, so that the host starts one graph instead of hundreds of kernels.

In training steps a network's first passes of each kind (shape, with or without gradient, mode) run as they are, and tune torch's
convolutions. Then one is recorded, forward and backward, and all later ones copy their image to where the graph reads it and replay. The
arithmetic, and the random numbers of dropout, are those of a plain pass. The gradient of the weights is added to their ``grad`` in
place, so it is to be zeroed and not dropped between steps.

What a replayed pass returns lies where the next replay of the same recording writes: of a pass with gradient once its backward pass has
run, of one without at the next such pass. A method says by ``recordable`` that it does not hold on to it for longer.
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

from crossview.core.tensors import Output
from crossview.kernels import own_kernels
from crossview.training.recorded_pass import Recording, parts, rebuilt

PLAIN = 3
"""Passes of a kind that run as they are before one is recorded."""


MOST = 4
"""Recordings of one kind: passes with gradient that may be under way at once. Others run as they are."""


Kind = tuple[object, ...]


@dataclass
class Seen:
    """What is known of one kind of pass. taught: the outputs that have been given a gradient."""

    passes: int = 0
    taught: set[int] = field(default_factory=set)
    recordings: list[Recording] = field(default_factory=list)


def _nothing() -> None:
    """There is nothing to wait for."""


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Python drops no graphs of former trainings in here: to free one spoils a recording."""
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _end_recording(stream: Any, pool: Any) -> None:
    """What torch leaves undone where a recording fails: its allocator and its random numbers think that it goes on."""
    try:
        torch._C._cuda_endAllocateToPool(stream.device_index, pool)
        torch._C._cuda_releasePool(stream.device_index, pool)
    except (RuntimeError, AttributeError):  # it had not begun
        pass
    try:
        with torch.cuda.graph(
            torch.cuda.CUDAGraph(), stream=stream, capture_error_mode="thread_local"
        ):
            torch.zeros(1, device=stream.device)
    except RuntimeError:
        warnings.warn(
            "a recording that failed could not be ended: train with training.compile=false",
            stacklevel=2,
        )


def _reason(error: BaseException) -> str:
    """The first line of the error that came first, and in which part of the recording it came."""
    where = "".join(f" ({note})" for note in getattr(error, "__notes__", ())[:1])
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).strip().splitlines() or [type(error).__name__])[0] + where


class Recorder:
    """Stands in for a network's ``forward``. quiet: waits until no other thread uses the device, which would spoil a recording."""

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
        """A plain pass that notes which of its outputs are given a gradient from outside."""
        output: Output = self.plain(image)
        aliases = [part.view_as(part) for part in parts(output)]
        for place, alias in enumerate(aliases):
            if alias.requires_grad:
                alias.register_hook(lambda gradient, place=place: seen.taught.add(place))  # type: ignore[no-untyped-call]
        return rebuilt(output, aliases)

    def _recorded(self, image: Tensor, taught: Sequence[int]) -> Recording | None:
        """A recording; None where it fails, for good."""
        try:
            return self.record(image, taught)
        except Exception as error:  # CUDA's, or of a compiler of kernels
            what = f"{type(self.network).__name__} on {tuple(image.shape)} with{'' if taught else 'out'} gradient"
            reason = f"passes are not recorded as CUDA graphs: {what}: {_reason(error)}"
        self.close()
        warnings.warn(reason, stacklevel=2)  # last: where warnings are errors, all is tidy
        return None

    def record(self, image: Tensor, taught: Sequence[int]) -> Recording:
        """A new recording of a pass; see :class:`Recording`. The network's statistics and the random numbers are left as they were.

        Raises what CUDA, or a compiler of kernels, raises, after the recording has been ended.
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
            torch.cuda.set_stream(before)  # torch stays on the recording's
            _end_recording(stream, pool)
            raise
        finally:
            torch.cuda.set_rng_state(state, image.device)
            for buffer, value in buffers:
                buffer.data.copy_(
                    value
                )  # unseen by autograd: a plain pass under way may have kept the buffer, as it was

    def close(self) -> None:
        """The network has its plain forward pass again, and the recordings' memory is free."""
        self.active, self.kinds = False, {}
        self.network.forward = self.plain


class Recordings:
    """The recorders of a method's networks; of none where nothing is recorded."""

    def __init__(self, networks: Sequence[nn.Module] = ()) -> None:
        self.recorders = [Recorder(network) for network in networks]

    def __bool__(self) -> bool:
        return bool(self.recorders)

    @property
    def made(self) -> int:
        """How many passes are recorded by now."""
        return sum(
            len(seen.recordings) for recorder in self.recorders for seen in recorder.kinds.values()
        )

    def forget(self) -> None:
        """Drop all recordings: another stage teaches differently."""
        for recorder in self.recorders:
            recorder.kinds = {}

    def close(self) -> None:
        """Record no more."""
        for recorder in self.recorders:
            recorder.close()

    def wait_by(self, quiet: Callable[[], None]) -> None:
        """What waits until no other thread uses the device."""
        for recorder in self.recorders:
            recorder.quiet = quiet

    def begin(self) -> None:
        """A step begins: no pass of the last one is under way any more."""
        for recorder in self.recorders:
            for seen in recorder.kinds.values():
                for recording in seen.recordings:
                    recording.busy = False

    @contextmanager
    def passes(self) -> Iterator[None]:
        """Passes in here may be recorded and replayed; what is not replayed is by our own kernels too."""
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
