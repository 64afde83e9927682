"""What the two views' passes of a CML step cost, variant by variant: ``python -m benchmarks.passes RECIPE [--only NAME;...]``.

A variant is a precision, a memory layout, and how the passes are run: eager, compiled, recorded as a CUDA graph (the views one after the
other, or each in a stream of its own). The images are noise in the recipe's true shapes; neither data, components nor optimiser is
measured: that is benchmarks.step. Beside the times stand those a matrix product and a copy of the device's memory would need.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from benchmarks.flops import flops_of_call
from benchmarks.timing import (
    Clock,
    add_common,
    finish,
    matmul_peak,
    peak_memory,
    report,
    run,
    say,
    seconds,
    spread,
)
from torch import Tensor

from crossview.errors import Problem, UserError
from crossview.kernels import own_kernels
from crossview.methods.cml import CML
from crossview.objectives.pseudo_labels import decide
from crossview.resolve import resolve
from crossview.training.compiling import compile_networks, networks_of
from crossview.training.device import autocast, find_device, set_kernels


@dataclass(frozen=True)
class Variant:
    """One way to compute the passes."""

    precision: str
    layout: str
    how: str

    @property
    def name(self) -> str:
        return f"{self.precision} {self.layout} {self.how}"


LAYOUTS = {
    "contiguous": (torch.contiguous_format,) * 2,
    "channels_last": (torch.channels_last, torch.channels_last_3d),
}
VARIANTS = [
    Variant("bf16", "channels_last", "eager"),
    Variant("bf16", "channels_last", "eager, own kernels"),
    Variant("bf16", "channels_last", "graph"),
    Variant("bf16", "channels_last", "graph, own kernels"),
    Variant("bf16", "channels_last", "graph of two streams, own kernels"),
    Variant("bf16", "channels_last", "compiled"),
    Variant("bf16", "channels_last", "compiled graph"),
    Variant("bf16", "contiguous", "eager"),
    Variant("tf32", "channels_last", "eager"),
    Variant("tf32", "contiguous", "eager"),
    Variant("float32", "channels_last", "eager"),
    Variant("float32", "contiguous", "eager"),
]


class Passes:
    """The passes with gradient on a mixed batch, and those without on an unlabelled one, of a method's two views."""

    def __init__(
        self, method: CML, mixed: Tensor, target: Tensor, unlabelled: Tensor, precision: str
    ) -> None:
        self.method, self.mixed, self.target, self.unlabelled, self.precision = (
            method,
            mixed,
            target,
            unlabelled,
            precision,
        )

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with autocast(self.mixed.device, "bf16" if self.precision == "bf16" else "float32"):
            yield

    def with_gradient(self) -> None:
        self.method.zero_grad(set_to_none=True)
        with self._computing():
            loss = torch.stack(
                list(
                    self.method.terms(
                        self.method.both(self.mixed), (self.target, self.target), 1.0, "labelled"
                    ).values()
                )
            )
        loss.sum().backward()

    def without(self) -> None:
        with self._computing(), torch.no_grad():
            for output in self.method.both(self.unlabelled):
                decide(output.logits)


class SideBySide:
    """Stands in for ``CML.both``: the second view in a stream of its own."""

    def __init__(self, method: CML) -> None:
        self.method, self.stream = method, torch.cuda.Stream()

    def __call__(self, image: Tensor) -> tuple[Any, Any]:
        here = torch.cuda.current_stream()
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            second = self.method.view2(image)  # type: ignore[misc]
        first = self.method.view1(image)
        here.wait_stream(self.stream)
        return first, second


def recorded(work: Callable[[], None]) -> Callable[[], None]:
    """The work as a CUDA graph."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def using(work: Callable[[], None], own: bool) -> Callable[[], None]:
    """The work by our own kernels, or by torch's alone."""

    def done() -> None:
        with own_kernels(own):
            work()

    return done


def measured(work: Callable[[], None], device: torch.device, repeats: int) -> dict[str, Any]:
    for _ in range(3):
        work()
    clock = Clock(device)
    clock.mark()
    for _ in range(repeats):
        work()
        clock.mark()
    return spread(clock.intervals(), 6)


def measure(variant: Variant, recipe: Any, device: torch.device, repeats: int) -> dict[str, Any]:
    """Seconds of both kinds of passes, in this variant."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = (
        variant.precision == "tf32"
    )
    torch.manual_seed(0)
    patch, training = tuple(recipe.data.patch), recipe.training
    method: Any = recipe.build_method(1).to(device)
    method.to(memory_format=LAYOUTS[variant.layout][len(patch) - 2])
    mixed = torch.randn(training.labelled_batch // 2, 1, *patch, device=device)
    unlabelled = torch.randn(training.unlabelled_batch, 1, *patch, device=device)
    target = torch.randint(recipe.data.classes, (len(mixed), *patch), device=device)
    passes = Passes(method, mixed, target, unlabelled, variant.precision)
    began = time.perf_counter()
    if variant.how.startswith("compiled"):
        compile_networks(networks_of(method))
    if "two streams" in variant.how:
        method.both = SideBySide(method)
    own = variant.how.endswith("own kernels")
    works = {
        "with gradient": using(passes.with_gradient, own),
        "without": using(passes.without, own),
    }
    for work in works.values():
        seconds(work, device)
    found: dict[str, Any] = {"first_passes_seconds": round(time.perf_counter() - began, 2)}
    for name, work in works.items():
        found[name] = measured(recorded(work) if "graph" in variant.how else work, device, repeats)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", metavar="RECIPE")
    parser.add_argument(
        "--only",
        default="",
        help="parts of the variants' names, by semicolon; by default all that the device can do",
    )
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    add_common(parser)
    options = parser.parse_args()
    device = find_device(options.device)
    set_kernels(deterministic=False)
    recipe = resolve(options.recipe, [*options.overrides, f"training.device={device}"])
    if recipe.method.name != "cml":
        raise UserError(
            Problem("only CML's passes are measured", "method.name", recipe.method.name, "cml")
        )
    chosen = [
        each
        for each in VARIANTS
        if not options.only or any(part in each.name for part in options.only.split(";"))
    ]
    if device.type != "cuda":
        chosen = [
            each
            for each in chosen
            if "graph" not in each.how and "own" not in each.how and each.precision != "tf32"
        ]
    batch, patch = recipe.training.labelled_batch // 2, tuple(recipe.data.patch)
    method: Any = recipe.build_method(1)
    views = [view for view in (method.view1, method.view2) if view is not None]
    operations = {
        "with gradient": sum(
            flops_of_call(view, recipe.data.classes, (batch, 1, *patch), True) for view in views
        ),
        "without": sum(
            flops_of_call(
                view, recipe.data.classes, (recipe.training.unlabelled_batch, 1, *patch), False
            )
            for view in views
        ),
    }
    results: dict[str, Any] = {
        "flops": operations,
        "matmul_peak": matmul_peak(device, "bf16"),
        "bytes_per_second": copied(device),
    }
    lines: list[tuple[Any, ...]] = [
        ("variant", "with gradient (ms)", "without (ms)", "first passes (s)")
    ]
    for variant in chosen:
        try:
            found = measure(variant, recipe, device, options.repeats)
        except (
            Exception
        ) as error:  # a compiler or a recording that fails: the others are measured all the same
            found = {"failed": (str(error).splitlines() or [type(error).__name__])[0]}
            say(f"{variant.name}: {found['failed']}")
        results[variant.name] = found
        if "failed" not in found:
            times = [1000 * found[name]["median"] for name in ("with gradient", "without")]
            lines.append((variant.name, *times, found["first_passes_seconds"]))
    peak = results["matmul_peak"]["flops_per_second"]
    lines.append(
        (
            "at the bf16 matmul peak",
            *(1000 * value / peak for value in operations.values()),
            f"{peak / 1e12:.4g} TFLOP/s",
        )
    )
    lines.append(
        ("memory copied", f"{results['bytes_per_second'] / 1e12:.4g} TB/s", "read and written", "")
    )
    settings = {
        "recipe": recipe.setting,
        "patch": list(patch),
        "batch": [batch, recipe.training.unlabelled_batch],
    }
    finish(
        report("passes", settings, results | {"peak_memory": peak_memory(device)}, device),
        lines,
        options.json,
    )


def copied(device: torch.device) -> float:
    """Bytes a second that a copy within the device's memory reads and writes."""
    source = torch.empty(2**28 if device.type == "cuda" else 2**24, device=device)
    target = torch.empty_like(source)
    best = min(seconds(lambda: target.copy_(source), device) for _ in range(5))
    return float(2 * source.numel() * source.element_size() / best)


if __name__ == "__main__":
    run(main)
