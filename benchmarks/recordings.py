"""Whether passes can be recorded as CUDA graphs here, and are then what they were: ``python -m benchmarks.recordings [RECIPE]``.

Variant by variant, the least demanding first, for each of CML's two views: a pass is recorded, replayed and compared with the plain one
(outputs, gradients added up over two images, batch norm's statistics), and timed. The first variant that fails ends the program, as what
it leaves may spoil the next ones: the whole error is told, and what still works after it. Images are noise.
"""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from benchmarks.timing import add_common, finish, report, run, say, seconds, spread
from torch import Tensor, nn

from crossview.errors import Problem, UserError
from crossview.kernels import own_kernels
from crossview.networks.network import Output
from crossview.resolve import resolve
from crossview.training.device import autocast, find_device, place, set_kernels
from crossview.training.recorded_pass import parts
from crossview.training.recording import PLAIN, Recorder

SMALL = {2: 64, 3: 32}
"""Sides of a small image, by its axes."""


@dataclass(frozen=True)
class Variant:
    """What a recording has to cope with.

    whole: the recipe's own patch, not a small one. own: our kernels. tuned: convolutions that torch chose by trying them. earlier: a plain
    pass of the same network whose gradient is still to come.
    """

    name: str
    gradient: bool = True
    whole: bool = False
    own: bool = False
    tuned: bool = False
    earlier: bool = False


VARIANTS = (
    Variant("without gradient", gradient=False),
    Variant("with gradient"),
    Variant("tuned convolutions", tuned=True),
    Variant("own kernels", own=True),
    Variant("beside an earlier pass", own=True, tuned=True, earlier=True),
    Variant("whole, without gradient", gradient=False, whole=True, own=True, tuned=True),
    Variant("whole", whole=True, own=True, tuned=True, earlier=True),
)


class Passes:
    """The passes of one network, plain or replayed, and what they leave."""

    def __init__(self, network: nn.Module, images: list[Tensor]) -> None:
        self.network, self.images = network, images
        self.state = {name: value.clone() for name, value in network.state_dict().items()}

    def left_by(self, one_pass: Callable[[Tensor], Output], gradient: bool) -> dict[str, Tensor]:
        """Outputs, gradients and statistics after a pass of each image, from the same weights and random numbers."""
        self.network.load_state_dict(self.state)
        for weight in self.network.parameters():
            if weight.grad is not None:
                weight.grad.zero_()
        torch.manual_seed(0)
        left: dict[str, Tensor] = {}
        for number, image in enumerate(self.images):
            output = in_bf16(one_pass, image)
            left |= {
                f"output {place} of image {number}": part.detach().float().clone()
                for place, part in enumerate(parts(output))
            }
            if gradient:
                taught(output).backward()
        if gradient:
            left |= {
                name: weight.grad.clone()
                for name, weight in self.network.named_parameters()
                if weight.grad is not None
            }
        return left | {
            name: buffer.float().clone() for name, buffer in self.network.named_buffers()
        }


def in_bf16(one_pass: Callable[[Tensor], Output], image: Tensor) -> Output:
    """A forward pass as in a training step: autocast ends with it, and keeps no weights for the next one."""
    with autocast(image.device, "bf16"):
        return one_pass(image)


def taught(output: Output) -> Tensor:
    """A loss of the logits and the bottleneck, as CML has."""
    return output.logits.float().square().mean() + output.bottleneck.float().mean()


def apart(plain: dict[str, Tensor], replayed: dict[str, Tensor]) -> tuple[float, str]:
    """The largest difference, as a share of the plain one's largest value, and where it is."""
    shares = {
        name: float(
            (plain[name] - replayed[name]).abs().max() / plain[name].abs().max().clamp(min=1e-6)
        )
        for name in plain
    }
    worst = max(shares, key=lambda name: shares[name])
    return shares[worst], worst


def tried(variant: Variant, network: nn.Module, images: list[Tensor]) -> dict[str, Any]:
    """One variant of one network: how far plain and replayed passes are apart, and the seconds of each. Raises what recording raises."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, variant.tuned
    network.train()
    passes = Passes(network, images)
    recorder = Recorder(network)
    try:
        with torch.set_grad_enabled(variant.gradient), own_kernels(variant.own):
            for _ in range(PLAIN):
                plain = passes.left_by(recorder.plain, variant.gradient)
            earlier = in_bf16(recorder.plain, images[0]) if variant.earlier else None
            held = _reserved(images[0])
            with autocast(images[0].device, "bf16"):
                recording = recorder.record(images[0], [0, 1] if variant.gradient else [])
            held = _reserved(images[0]) - held
            if earlier is not None:
                taught(earlier).backward()
            replay = recording.replay_with_gradient if variant.gradient else recording.replay
            again = [passes.left_by(replay, variant.gradient) for _ in range(2)]
            differences = [apart(plain, left) for left in again]
            times = {
                name: _timed(one, images[0], variant.gradient)
                for name, one in (("plain", recorder.plain), ("replayed", replay))
            }
    finally:
        recorder.close()
        torch.backends.cudnn.benchmark = before
    worst = max(differences)
    return {
        "apart": worst[0],
        "where": worst[1],
        "replays_equal": all(torch.equal(again[0][name], again[1][name]) for name in plain),
        "seconds": times,
        "reserved_gib": round(held / 2**30, 3),
    }


def _timed(one_pass: Callable[[Tensor], Output], image: Tensor, gradient: bool) -> dict[str, Any]:
    def work() -> None:
        output = in_bf16(one_pass, image)
        if gradient:
            taught(output).backward()

    work()
    return spread([seconds(work, image.device) for _ in range(5)], 6)


def _reserved(image: Tensor) -> int:
    return torch.cuda.memory_reserved(image.device) if image.is_cuda else 0


def after_failure(device: torch.device) -> dict[str, str]:
    """What still works: "yes", or the error."""

    def captured() -> None:
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            torch.zeros(1, device=device)

    works: dict[str, Callable[[], Any]] = {
        "a kernel": lambda: torch.cuda.synchronize(device),
        "random numbers": lambda: torch.rand(1, device=device),
        "freeing memory": torch.cuda.empty_cache,
        "another recording": captured,
    }
    found = {}
    for name, work in works.items():
        try:
            work()
            found[name] = "yes"
        except Exception as error:
            found[name] = (str(error).splitlines() or [type(error).__name__])[0]
    return found


def measure(recipe: Any, device: torch.device, only: str = "") -> dict[str, Any]:
    """Each variant's results by its name and the view's; of the one that failed its error, and nothing of those after it."""
    patch, batch = tuple(recipe.data.patch), recipe.training.labelled_batch // 2
    results: dict[str, Any] = {}
    for variant in VARIANTS:
        if only and only not in variant.name:
            continue
        torch.manual_seed(0)
        method = recipe.build_method(1)
        place(method, device, len(patch))
        sides = patch if variant.whole else (SMALL[len(patch)],) * len(patch)
        images = [torch.randn(batch, 1, *sides, device=device) for _ in range(2)]
        for view, network in method.named_children():
            name = f"{variant.name}, {view}"
            try:
                results[name] = tried(variant, network, images)
            except Exception as error:
                results[name] = {
                    "failed": "".join(traceback.format_exception(error)),
                    "afterwards": after_failure(device),
                }
                return results
            say(f"{name}: recorded")
    return results


def rows(results: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What is printed, but for an error."""
    lines: list[tuple[Any, ...]] = [
        ("recorded pass", "plain (ms)", "replayed (ms)", "apart", "where", "GiB held")
    ]
    for name, found in results.items():
        if "failed" in found:
            told = "; ".join(f"{what}: {answer}" for what, answer in found["afterwards"].items())
            lines.append((name, "failed", "", "", told, ""))
            continue
        times = [1000 * found["seconds"][how]["median"] for how in ("plain", "replayed")]
        lines.append((name, *times, found["apart"], found["where"], found["reserved_gib"]))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", default="la-8")
    parser.add_argument("--only", default="", help="part of the variants' names; by default all")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    add_common(parser)
    options = parser.parse_args()
    device = find_device(options.device)
    if device.type != "cuda":
        raise UserError(Problem("CUDA graphs need a GPU", "--device", str(device), "cuda"))
    set_kernels(deterministic=False)
    recipe = resolve(options.recipe, [*options.overrides, f"training.device={device}"])
    if recipe.method.name != "cml":
        raise UserError(
            Problem("only CML's views are tried", "method.name", recipe.method.name, "cml")
        )
    results = measure(recipe, device, options.only)
    settings = {
        "recipe": recipe.setting,
        "patch": list(recipe.data.patch),
        "batch": recipe.training.labelled_batch // 2,
    }
    versions = {"cudnn": torch.backends.cudnn.version(), "cuda": torch.version.cuda}
    finish(report("recordings", settings | versions, results, device), rows(results), options.json)
    for found in results.values():
        if "failed" in found:
            say(found["failed"])


if __name__ == "__main__":
    run(main)
