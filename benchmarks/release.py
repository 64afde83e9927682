"""The official release of CML (SongwuJob/CML@1229a71), imported unchanged from a checkout.

Nothing of it is copied here. It was written for older libraries and for CUDA, so at run time it
gets names that numpy has dropped, stand-ins for missing packages (and always for tensorboardX: it
writes nothing), and a ``.cuda()`` that means the device of the comparison. Its training function
runs in a thread and is paused where it asks its data loader for a batch.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from benchmarks.loops import Paused
from torch import nn
from torch.utils.data import DataLoader

from crossview.core.errors import Problem, UserError

NEEDED = ("CML_LA_train.py", "CML_ACDC_train.py", "networks", "utils", "dataloaders")


def code_of(checkout: Path) -> Path:
    """The folder of the release's code. Raises UserError for another folder."""
    code = checkout / "code"
    missing = [name for name in NEEDED if not (code / name).exists()]
    if missing:
        raise UserError(
            Problem(
                "not a checkout of the release",
                str(checkout),
                f"no code/{missing[0]}",
                f"code/ with {', '.join(NEEDED)}",
            )
        )
    return code


@contextmanager
def release(checkout: Path, device: torch.device) -> Iterator[None]:
    """Make the release importable, its ``.cuda()`` meaning ``device``. UserError: other folder."""
    code = code_of(checkout)
    if importlib.util.find_spec("skimage") is None:
        raise UserError(
            Problem("the release needs scikit-image", "--official", fix="pip install scikit-image")
        )
    before = set(sys.modules)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "path", [str(code.resolve()), *sys.path]))
        # Not mock.patch.dict: it would drop what torch imports meanwhile, which fails twice.
        made = stand_ins()
        replaced = {name: sys.modules[name] for name in made if name in sys.modules}
        sys.modules.update(made)
        for name, kind in (("int", int), ("float", float), ("bool", bool)):
            if not hasattr(np, name):
                stack.enter_context(mock.patch.object(np, name, kind, create=True))
        for owner in (torch.Tensor, nn.Module):
            stack.enter_context(
                mock.patch.object(owner, "cuda", lambda self, *_, **__: self.to(device))
            )
        try:
            yield
        finally:
            for name in made:
                del sys.modules[name]
            sys.modules.update(replaced)
            for name in set(sys.modules) - before:
                if any(
                    str(place).startswith(str(code.resolve()))
                    for place in _places(sys.modules[name])
                ):
                    del sys.modules[name]


def _places(module: ModuleType) -> list[Any]:
    """A module's file and folders; its packages have no file."""
    return [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]


def stand_ins() -> dict[str, ModuleType]:
    """Return modules that a timing does not need: real ones if installed, except tensorboardX."""
    writer = ModuleType("tensorboardX")
    writer.SummaryWriter = Silent  # type: ignore[attr-defined]
    made = {"tensorboardX": writer}
    if importlib.util.find_spec("tqdm") is None:
        made["tqdm"] = ModuleType("tqdm")
        made["tqdm"].tqdm = Bar  # type: ignore[attr-defined]
    if importlib.util.find_spec("torchvision") is None:
        vision, transforms = ModuleType("torchvision"), ModuleType("torchvision.transforms")
        transforms.Compose = Compose  # type: ignore[attr-defined]
        vision.transforms = transforms  # type: ignore[attr-defined]
        made |= {"torchvision": vision, "torchvision.transforms": transforms}
    if importlib.util.find_spec("medpy") is None:
        made["medpy"] = ModuleType("medpy")
        made["medpy"].metric = Silent()  # type: ignore[attr-defined]
    for name, module in made.items():
        module.__spec__ = ModuleSpec(
            name, None
        )  # who looks for it, as torch does, must not stumble
    return made


class Silent:
    """Takes every call and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return Silent()

    def __call__(self, *_: Any, **__: Any) -> None: ...


class Bar:
    """Iterates, and shows nothing."""

    def __init__(self, items: Any, **_: Any) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def close(self) -> None: ...


class Compose:
    """One transformation after the other."""

    def __init__(self, steps: Sequence[Callable[[Any], Any]]) -> None:
        self.steps = steps

    def __call__(self, item: Any) -> Any:
        for step in self.steps:
            item = step(item)
        return item


def load(name: str, *options: str) -> ModuleType:
    """Import a module of the release; its scripts read ``options`` as their command line."""
    sys.modules.pop(name, None)
    with mock.patch.object(sys, "argv", [f"{name}.py", *options]), quiet():
        return importlib.import_module(name)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the release prints; its bars and logs are not in the way of a timing."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


@dataclass
class Backends:
    """Keep the switches of torch that the release and crossview set differently apart."""

    deterministic: bool = False
    benchmark: bool = False
    tf32_convolutions: bool = True
    tf32_products: bool = False
    only_deterministic: bool = False

    @staticmethod
    def now() -> Backends:
        cudnn = torch.backends.cudnn
        strict = torch.are_deterministic_algorithms_enabled()
        return Backends(
            cudnn.deterministic,
            cudnn.benchmark,
            cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
            strict,
        )

    def put(self) -> None:
        cudnn = torch.backends.cudnn
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = (
            self.deterministic,
            self.benchmark,
            self.tf32_convolutions,
        )
        torch.backends.cuda.matmul.allow_tf32 = self.tf32_products
        torch.use_deterministic_algorithms(self.only_deterministic, warn_only=True)


@dataclass
class ReleaseLoop:
    """The release's second-stage training loop, paused before each batch. ``model``: its network.

    Its loader's workers are stopped during others' turns: they neither take the processor nor work
    ahead.
    """

    module: ModuleType
    folder: Path
    seed: int = 1337
    model: Any = None
    paused: Paused | None = None
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> ReleaseLoop:
        module, pausing = self.module, _pausing_loader(self)
        build = module.net_factory

        def net_factory(*arguments: Any, **named: Any) -> Any:
            self.model = build(*arguments, **named)
            return self.model

        for name, value in (
            ("DataLoader", pausing),
            ("net_factory", net_factory),
            ("load_net_opt", lambda *_: None),
        ):
            self.stack.enter_context(mock.patch.object(module, name, value))
        # Its __main__ seeds and chooses deterministic kernels; LA's script does so on import.
        random.seed(self.seed)
        np.random.seed(self.seed)
        torch.manual_seed(self.seed)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        self.paused = Paused(self._train)
        return self

    def _train(self, pause: Callable[[], None]) -> None:
        self.pause = pause
        self.module.train(self.module.args, str(self.folder), str(self.folder))

    def advance(self) -> None:
        """One iteration of its loop: a batch from its loader, its step, its logging."""
        assert self.paused is not None
        _send(signal.SIGCONT)
        with quiet():
            self.paused.advance()
        _send(signal.SIGSTOP)

    def __exit__(self, *error: object) -> None:
        _send(signal.SIGCONT)
        if self.paused is not None:
            self.paused.close()
        self.stack.close()
        logging.getLogger().handlers.clear()


def _pausing_loader(loop: ReleaseLoop) -> type[DataLoader[Any]]:
    """The release's loader, that pauses before each batch of the training set."""

    class Pausing(DataLoader[Any]):
        def __iter__(self) -> Any:
            if self.batch_size is not None:  # the validation loader
                yield from super().__iter__()
                return
            for number in range(len(self)):
                loop.pause()
                if number == 0:
                    batches = super().__iter__()
                yield next(batches)
            next(batches, None)  # its epoch ends, and with it its workers

    return Pausing


def _send(number: int) -> None:
    for process in multiprocessing.active_children():
        if process.pid is not None:
            os.kill(process.pid, number)
