"""Time of cleaning pseudo-labels: ``python -m benchmarks.components [--data DIR] [--labels FILE]``.

The labels of both views of one LA step (twice 4 x 112 x 112 x 80) are cleaned by ``clean_async``,
as in CML, and volume by volume with scikit-image's ``label`` and a count, as in the release. There
are three kinds of labels: true ones (clean), those with specks and holes (noisy), and with --train
N those of two small views after N steps. Or those of a file: an array ``labels``, uint8
(views, B, X, Y, Z).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.loops import loop_of, prepared_of
from benchmarks.timing import add_common, finish, report, run, seconds, spread
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from crossview.methods.blocks.pseudo_labels import clean_async, decide
from crossview.training.device import autocast, find_device


def clean(label: Tensor, seed: int) -> Tensor:
    """The labels as they are."""
    return label


def noisy(label: Tensor, seed: int) -> Tensor:
    """Return labels uint8 (B, *S) as of an early network: specks, holes and ragged borders."""
    generator = np.random.default_rng(seed)
    changed = label.cpu().numpy().copy()
    for volume in changed:
        noise = gaussian_filter(generator.standard_normal(volume.shape, dtype=np.float32), 1.0)
        flipped = noise > 2.0 * noise.std()
        volume[flipped] = np.where(volume[flipped] > 0, 0, 1)
    return torch.from_numpy(changed).to(label.device)


def by_scikit_image(label: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """Return the largest component per class and sample (B, *S), all labelled and counted."""
    from skimage import measure

    result = np.zeros_like(label)
    for sample, kept in zip(label, result, strict=True):
        for index in range(1, classes):
            found = measure.label(sample == index)
            if found.any():
                kept[found == 1 + np.bincount(found.ravel())[1:].argmax()] = index
    return result


def compare(views: Sequence[Tensor], classes: int, repeats: int) -> dict[str, Any]:
    """Seconds for all views, in turn; whether both say the same; how many components there were."""
    device = views[0].device

    def ours() -> list[Tensor]:
        pending = [clean_async(view, classes) for view in views]
        return [each.result() for each in pending]

    def reference() -> list[Tensor]:
        return [
            torch.from_numpy(by_scikit_image(view.cpu().numpy(), classes)).to(device)
            for view in views
        ]

    same = all(torch.equal(a, b) for a, b in zip(ours(), reference(), strict=True))
    times = [(seconds(reference, device), seconds(ours, device)) for _ in range(repeats)]
    return {
        "scikit_image_seconds": spread([first for first, _ in times], 5),
        "ours_seconds": spread([second for _, second in times], 5),
        "ratio": spread([first / second for first, second in times], 2),
        "equal": same,
        "components": components_in(views, classes),
        "foreground_share": round(
            float(np.mean([(view > 0).float().mean().item() for view in views])), 4
        ),
    }


def components_in(views: Sequence[Tensor], classes: int) -> int:
    """Return the number of components of all classes of all samples."""
    import cc3d

    arrays = [sample for view in views for sample in view.cpu().numpy()]
    connectivity = 8 if arrays[0].ndim == 2 else 26
    count = 0
    for sample in arrays:
        for index in range(1, classes):
            mask = np.ascontiguousarray(sample == index).view(np.uint8)
            count += int(
                cc3d.connected_components(mask, connectivity=connectivity, return_N=True)[1]
            )
    return count


def trained(prepared: Any, steps: int) -> list[Tensor]:
    """Return each view's classes of an unlabelled batch after ``steps`` labelled steps."""
    with loop_of(prepared, stage="pretrain") as loop:
        loop.times(steps, warm_up=0)
        method = loop.training.job.method
        batch = prepared.stream.batch(1, 0, unlabelled=True)
        method.train()
        with torch.no_grad(), autocast(loop.device, loop.precision):
            return [decide(logits) for logits in method.views(batch.unlabelled).values()]


def labels_by_kind(arguments: argparse.Namespace) -> tuple[dict[str, list[Tensor]], int]:
    """The views of each kind of labels, and how many classes they have."""
    device = find_device(arguments.device)
    if arguments.labels is not None:
        stored = np.load(arguments.labels)["labels"].astype(np.uint8)
        return {"file": [torch.from_numpy(view).to(device) for view in stored]}, int(
            stored.max()
        ) + 1
    overrides = [f"training.device={device}", *arguments.overrides]
    prepared = prepared_of(arguments.recipe, arguments.data, overrides)
    batches = [
        prepared.stream.batch(0, number, unlabelled=False).label.to(torch.uint8)
        for number in (0, 1)
    ]
    kinds = {
        kind.__name__: [kind(batch, number) for number, batch in enumerate(batches)]
        for kind in (clean, noisy)
    }
    if arguments.train:
        kinds[f"after {arguments.train} steps"] = trained(prepared, arguments.train)
    return kinds, prepared.recipe.data.classes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="la-8", help="whose shapes are taken")
    parser.add_argument(
        "--data", type=Path, help="the real data; left out: made volumes of true shapes"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE.npz", help="pseudo-labels to clean instead"
    )
    parser.add_argument(
        "--train",
        type=int,
        default=0,
        metavar="N",
        help="also what the recipe's views say after N steps; see --set",
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    add_common(parser)
    arguments = parser.parse_args()
    kinds, classes = labels_by_kind(arguments)
    results = {kind: compare(views, classes, arguments.repeats) for kind, views in kinds.items()}
    rows: list[tuple[Any, ...]] = [
        (
            "labels",
            "scikit-image (ms)",
            "ours (ms)",
            "ratio",
            "least to largest",
            "components",
            "equal",
        )
    ]
    for kind, found in results.items():
        ratio = found["ratio"]
        rows.append(
            (
                kind,
                1000 * found["scikit_image_seconds"]["median"],
                1000 * found["ours_seconds"]["median"],
                ratio["median"],
                f"{ratio['min']} to {ratio['max']}",
                found["components"],
                found["equal"],
            )
        )
    first = next(iter(kinds.values()))
    settings = {
        "recipe": arguments.recipe,
        "shapes": [list(view.shape) for view in first],
        "set": arguments.overrides,
    }
    settings["data"] = (
        "real"
        if arguments.data
        else "a file"
        if arguments.labels
        else "made volumes of true shapes"
    )
    finish(
        report("components", settings, results, find_device(arguments.device)), rows, arguments.json
    )


if __name__ == "__main__":
    run(main)
