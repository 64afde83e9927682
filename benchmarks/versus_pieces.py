"""Pieces that :mod:`benchmarks.versus_official` compares: component cleaning and inference."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.components import clean, noisy
from benchmarks.loops import Loop, loop_of, prepared_of
from benchmarks.release import Backends, load, quiet
from benchmarks.timing import say, seconds, spread
from numpy.typing import NDArray

from crossview.inference.items import ArrayItem
from crossview.inference.windows import window_starts
from crossview.methods.blocks.pseudo_labels import clean_async
from crossview.runs.prepare import Prepared
from crossview.runs.run import make_predictor

Turn = Callable[[], float]


def in_turn(turns: Mapping[str, Turn], repeats: int) -> dict[str, list[float]]:
    """A B C A B C ...: the seconds of each, ``repeats`` times."""
    found: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(repeats):
        for name, turn in turns.items():
            found[name].append(turn())
            say(f"{name}: {found[name][-1]:.3f} s")
    return found


def compared(times: Mapping[str, list[float]], reference: str = "official") -> dict[str, Any]:
    """Return seconds of each, and the reference's seconds by each other's, per turn and in all."""
    result: dict[str, Any] = {"seconds": {name: spread(values) for name, values in times.items()}}
    for name in times:
        if name != reference:
            ratios = [a / b for a, b in zip(times[reference], times[name], strict=True)]
            result[f"{reference} / {name}"] = spread(ratios, 3) | {
                "of_totals": round(sum(times[reference]) / sum(times[name]), 3)
            }
    return result


def with_backends(work: Callable[[], Any], device: torch.device, backends: Backends) -> Turn:
    """A turn of some work under a contestant's own switches of torch."""

    def turn() -> float:
        backends.put()
        return seconds(work, device)

    return turn


def components(
    module: Any, data: Path, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    """Clean both views' pseudo-labels of one LA step, by the release and by crossview's thread."""
    recipe = prepared_of("la-8", data, [f"training.device={device}", *options.overrides])
    batches = [
        recipe.stream.batch(0, number, unlabelled=False).label.to(torch.uint8) for number in (0, 1)
    ]
    results: dict[str, Any] = {}
    for name, change in (("clean", clean), ("noisy", noisy)):
        views = [change(batch, number) for number, batch in enumerate(batches)]
        masks = [view.long() for view in views]

        def theirs(masks: Sequence[Any] = masks) -> list[Any]:
            return [module.LargestCC_pancreas(mask) for mask in masks]

        def ours(views: Sequence[Any] = views) -> list[Any]:
            pending = [clean_async(view, recipe.recipe.data.classes) for view in views]
            return [each.result() for each in pending]

        same = all(
            torch.equal(a.to(torch.uint8).cpu(), b.cpu())
            for a, b in zip(theirs(), ours(), strict=True)
        )
        switches = Backends.now()
        turns = {
            "official": with_backends(theirs, device, switches),
            "ours": with_backends(ours, device, switches),
        }
        for key, value in compared(in_turn(turns, max(5, options.repeats))).items():
            if key == "seconds":
                results.setdefault("seconds", {}).update(
                    {f"{who}, {name}": times for who, times in value.items()}
                )
            else:
                results[f"{key}, {name}"] = value
        results[f"equal, {name}"] = same
    return results


def inference(
    name: str,
    recipe: str,
    precision: str,
    data: Path,
    device: torch.device,
    options: argparse.Namespace,
    stack: ExitStack,
) -> tuple[Callable[[], Any], dict[str, Any]]:
    """Return a prediction of a test image by the release or by crossview, and facts about it.

    Networks are new. LA: a part of a volume with few windows, and cleaning. ACDC: a whole volume,
    slice by slice.
    """
    prepared = prepared_of(recipe, data, [f"training.device={device}", *options.overrides])
    image, label, windows = _image(prepared, options, recipe)
    if name == "official":
        return _official_inference(prepared, image, label, recipe), {
            "precision": "float32",
            "windows": windows,
        }
    loop = stack.enter_context(
        loop_of(prepared, precision="" if precision == "auto" else precision)
    )
    return _ours(loop, image), {"precision": loop.precision, "windows": windows}


def _image(
    prepared: Prepared, options: argparse.Namespace, recipe: str
) -> tuple[NDArray[np.float32], NDArray[np.uint8], int]:
    """The image (*S) that is predicted, its label, and how many windows or slices it is."""
    case = prepared.splits.test[0]
    image: NDArray[np.float32] = case.read_image()[0]
    if not recipe.startswith("la"):
        return image, case.read_label(), len(image)
    data, stride = prepared.recipe.data, prepared.recipe.inference.stride
    image = image[
        : data.patch[0] + stride[0],
        : data.patch[1],
        : data.patch[2] + stride[2] * (options.windows // 2 - 1),
    ]
    starts = [window_starts(*axis) for axis in zip(image.shape, data.patch, stride, strict=True)]
    return image, case.read_label(), int(np.prod([len(each) for each in starts]))


def _official_inference(
    prepared: Prepared, image: NDArray[np.float32], label: NDArray[np.uint8], recipe: str
) -> Callable[[], Any]:
    """The release's way."""
    data, stride = prepared.recipe.data, prepared.recipe.inference.stride
    factory = load("networks.net_factory").net_factory
    if not recipe.startswith("la"):
        network = factory(net_type="unet", in_chns=1, class_num=data.classes).eval()
        slices = load("utils.val_2d")
        slices.calculate_metric_percase = lambda *_: (0.0, 0.0)  # prediction alone is timed
        stack, truth = torch.from_numpy(image)[None], torch.from_numpy(label)[None]
        return lambda: _quietly(
            slices.test_single_volume, stack, truth, network, data.classes, list(data.patch)
        )
    network = factory(net_type="VNet", in_chns=1, class_num=2, mode="test").eval()
    volumes = load("utils.test_3d_patch")

    def predict() -> Any:
        found, _ = _quietly(
            volumes.test_single_case,
            network,
            image,
            stride[0],
            stride[2],
            tuple(data.patch),
            num_classes=2,
        )
        return volumes.getLargestCC(found)

    return predict


def _quietly(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    with quiet():
        return function(*arguments, **named)


def _ours(loop: Loop, image: NDArray[np.float32]) -> Callable[[], Any]:
    predictor = make_predictor(
        loop.recipe, loop.training.job.method, loop.device, loop.precision, many=True
    )
    return lambda: list(predictor.predict([ArrayItem.on_own_grid(image[None])]))
