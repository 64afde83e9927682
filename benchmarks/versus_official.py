"""The official release of CML and crossview in turn: ``python -m benchmarks.versus_official``.

--official DIR is a checkout of SongwuJob/CML@1229a71. --data holds LA/ and ACDC/ in the published
layouts; without it, files of true shapes are made. A turn is an iteration of the release's own
training loop (its data set, augmentation and loader included), then as many steps of crossview's,
in the precision of "auto" and in float32. Each has a separate process, and all start from the same
random weights. A ratio is the release's time by crossview's within a turn, so that other load on
the machine affects both. Results are medians with the least and the largest.

    la-step, acdc-step            second stage of training, published batch and shapes
    components                    pseudo-labels of one LA step cleaned: true labels, and with noise
    la-inference, acdc-inference  a few windows of a test volume (LA: extrapolated to the 1,128 of
                                  all 20), a volume slice by slice
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from benchmarks.contestants import answers, contestants, serve
from benchmarks.loops import Loop, Paused, loop_of, prepared_of
from benchmarks.made import LA_TEST_WINDOWS
from benchmarks.release import ReleaseLoop, code_of, load, release
from benchmarks.timing import add_common, finish, report, run, say, seconds
from benchmarks.versus_pieces import compared, components, in_turn, inference
from torch import Tensor, nn

from benchmarks import made
from crossview.core.errors import Problem, UserError
from crossview.networks.official import from_official_vnet, official_unet_keys
from crossview.training.device import find_device

CONTESTANTS = ("official", "ours", "ours float32")
PIECES = ("la-step", "acdc-step", "components", "la-inference", "acdc-inference")


def official_step(
    module: Any, data: Path, options: argparse.Namespace, stack: ExitStack
) -> tuple[Callable[[], Any], dict[str, Any]]:
    """Return the release's iteration and its facts; write its first weights for the others."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    theirs = stack.enter_context(ReleaseLoop(module, folder))
    theirs.advance()  # to its first batch
    torch.save(theirs.model.state_dict(), options.weights)
    tf32 = torch.cuda.is_available() and torch.backends.cudnn.allow_tf32
    return _several(theirs.advance, options.steps), {"precision": "float32", "tf32": tf32}


def our_step(
    recipe: str,
    precision: str,
    data: Path,
    device: torch.device,
    options: argparse.Namespace,
    stack: ExitStack,
) -> tuple[Callable[[], Any], dict[str, Any]]:
    """Our step of the same setting, from the same weights."""
    prepared = prepared_of(recipe, data, [f"training.device={device}", *options.overrides])
    loop = stack.enter_context(
        loop_of(prepared, precision="" if precision == "auto" else precision)
    )
    _same_weights(loop.training.job.method, torch.load(options.weights, weights_only=True))
    ours = stack.enter_context(_stepwise(loop))
    ours.advance()
    return _several(ours.advance, options.steps), {
        "precision": loop.precision,
        "compiled": loop.recipe.training.compile,
    }


def _several(advance: Callable[[], None], steps: int) -> Callable[[], None]:
    def work() -> None:
        for _ in range(steps):
            advance()

    return work


@contextmanager
def _stepwise(loop: Loop) -> Iterator[Paused]:
    """Our loop, paused before every step."""

    def work(pause: Callable[[], None]) -> None:
        def stop() -> bool:
            pause()
            return False

        loop.run(stop)

    paused = Paused(work)
    try:
        yield paused
    finally:
        paused.close()


def _same_weights(method: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load the release's weights into both views; its U-Net has one encoder for both."""
    views: Any = method
    if any(name.startswith("encoder1") for name in state):
        first, second = from_official_vnet(state)
    else:
        keys = (
            official_unet_keys("encoder", "decoder1", transposed=False),
            official_unet_keys("encoder", "decoder2", transposed=True),
        )
        first, second = ({ours: state[theirs] for theirs, ours in each.items()} for each in keys)
    views.view1.load_state_dict(first)
    if views.view2 is not None:
        views.view2.load_state_dict(second)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--official", type=Path, required=True, metavar="DIR", help="a checkout of the release"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the folder that holds LA and ACDC; left out: made files of true shapes",
    )
    parser.add_argument("--only", default=",".join(PIECES), help=f"some of {','.join(PIECES)}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=0, help="iterations a turn; left out: 1 on a CPU, 10 on CUDA"
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "float32", "bf16"),
        help="of ours, beside float32",
    )
    parser.add_argument(
        "--windows", type=int, default=6, help="windows of an LA volume that are timed"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="keys of our recipes",
    )
    parser.add_argument("--contestant", default="", help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    add_common(parser)
    options = parser.parse_args()
    options.only = [name.strip() for name in options.only.split(",")]
    unknown = [name for name in options.only if name not in PIECES]
    if unknown:
        raise UserError(Problem("no such piece", "--only", ", ".join(unknown), ", ".join(PIECES)))
    return options


def data_of(setting: str, data: Path | None, scratch: Path) -> Path:
    """A folder of the setting's layout whose path holds its name, which the release looks for."""
    folder = scratch / setting
    if data is not None:
        folder.symlink_to((data / setting).resolve())
        return folder
    say(f"making files of the shapes of {setting}")
    return made.write_la(folder) if setting == "LA" else made.write_acdc(folder)


def measure(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Every piece that is asked for, by its name."""
    results: dict[str, Any] = {}
    code_of(options.official)  # before anything is made
    with tempfile.TemporaryDirectory() as scratch:
        options.weights = Path(scratch) / "weights.pt"
        roots: dict[str, Path] = {}
        for piece in options.only:
            setting = setting_of(piece)
            if setting not in roots:
                roots[setting] = data_of(setting, options.data, Path(scratch))
            if piece == "components":
                with release(options.official, device):
                    results[piece] = components(
                        script(setting, roots[setting]), roots[setting], device, options
                    )
            else:
                results[piece] = _turns(piece, roots[setting], options)
            say(f"{piece}: done")
    return results


def setting_of(piece: str) -> str:
    return "ACDC" if piece.startswith("acdc") else "LA"


def script(setting: str, data: Path) -> Any:
    """The release's training script of a setting, imported."""
    return load(
        f"CML_{setting}_train",
        "--root_path",
        str(data),
        "--gpu",
        os.environ.get("CUDA_VISIBLE_DEVICES", "0"),
    )


def _turns(piece: str, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A piece by all contestants in turn, each in its own process."""
    given = [
        "--official",
        str(options.official.resolve()),
        "--data",
        str(data.parent),
        "--only",
        piece,
        "--steps",
        str(options.steps),
    ]
    given += [
        "--precision",
        options.precision,
        "--windows",
        str(options.windows),
        "--device",
        options.device,
    ]
    given += [
        "--weights",
        str(options.weights),
        *(text for key in options.overrides for text in ("--set", key)),
    ]
    with contestants("benchmarks.versus_official", given, CONTESTANTS) as ready:
        turns = {name: each.turn for name, each in ready.items()}
        in_turn(
            turns, 1
        )  # kernels are chosen, caches filled, the release's pictures of its first iteration drawn
        found = compared(in_turn(turns, options.repeats))
        found["facts"] = {name: each.facts for name, each in ready.items()}
    if piece == "la-inference":
        windows = ready["official"].facts["windows"]
        found["seconds_all_test_volumes_extrapolated"] = {
            name: round(value["median"] / windows * LA_TEST_WINDOWS, 1)
            for name, value in found["seconds"].items()
        }
    return found


def contestant(options: argparse.Namespace, device: torch.device) -> None:
    """Be one of the contestants."""
    (piece,), name = options.only, options.contestant
    recipe, setting = ("acdc-7" if piece.startswith("acdc") else "la-8"), setting_of(piece)
    data = options.data / setting
    precision = "float32" if name == "ours float32" else options.precision
    with answers() as stream, ExitStack() as stack:
        if name == "official":
            stack.enter_context(release(options.official, device))
        if piece.endswith("step") and name == "official":
            work, facts = official_step(script(setting, data), data, options, stack)
        elif piece.endswith("step"):
            work, facts = our_step(recipe, precision, data, device, options, stack)
        else:
            work, facts = inference(name, recipe, precision, data, device, options, stack)
        serve(lambda: seconds(work, device), facts, stream)


def rows(results: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the rows to print: each contestant's seconds, then the ratios."""
    lines: list[tuple[Any, ...]] = [("piece", "what", "median", "least", "largest")]
    for piece, found in results.items():
        for name, value in found.items():
            entries = (
                {f"seconds, {who}": times for who, times in value.items()}
                if name == "seconds"
                else {name: value}
            )
            lines += [
                (piece, of, v["median"], v["min"], v["max"])
                for of, v in entries.items()
                if isinstance(v, dict) and "median" in v
            ]
    return lines


def main() -> None:
    options = arguments()
    device = find_device(options.device)
    if options.contestant:
        return contestant(options, device)
    options.steps = options.steps or (10 if device.type == "cuda" else 1)
    results = measure(options, device)
    settings = {
        "data": "real" if options.data else "made files of true shapes",
        "repeats": options.repeats,
        "iterations_a_turn": options.steps,
        "set": options.overrides,
    }
    finish(report("versus_official", settings, results, device), rows(results), options.json)


if __name__ == "__main__":
    run(main)
