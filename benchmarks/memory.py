"""Memory and time of large scans and of many: ``python -m benchmarks.memory``.

A made scan (--shape, int16) is predicted with all maps by a model of few filters, for each of
--classes, on the model's voxels and resampled to them; each command has a process of its own, of
which the peak is what the system counts (resident memory). With --cases: a training set of so many
such scans, from the check to the first step. With --many FOLDER: all scans of a folder, say the
hippocampus' imagesTr, predicted by one command; the time to the first label too.

--against SRC, the src folder of another version, runs in turn with this one; every turn swaps the
order, and the ratio is taken turn by turn. Each version trains its own model.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.timing import add_common, finish, report, run, spread

import crossview
from crossview.core.errors import Problem, UserError

OURS = Path(crossview.__file__).parents[1]
SPACING = (0.8, 0.75)
"""mm of a scan's voxels within a slice: those of the model, and others."""
MAPS = ("--probabilities", "--disagreement", "--entropy")
NETWORK = (
    "network.filters=2",
    "training.labelled_batch=2",
    "training.unlabelled_batch=2",
    "training.precision=float32",
    "method.pretrain_steps=1",
    "method.train_steps=1",
)


@dataclass(frozen=True)
class Cost:
    """What one command took: seconds, of the processor too, bytes at the peak, first label."""

    seconds: float
    processor: float
    peak: int
    first: float | None


def command(source: Path, *words: object, first: Path | None = None) -> Cost:
    """Run ``crossview`` of a source folder. first: folder in which its first label is awaited.

    Raises UserError with what it said where it failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(source)}
    start, found = time.perf_counter(), None
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "crossview", *map(str, words)],
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if first is not None and found is None and has_label(first):
                found = time.perf_counter() - start
            if ended:
                break
            time.sleep(0.01)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise UserError(Problem("the command failed", words[0], said.read().strip()[-2000:]))
    bytes_per_unit = 1 if sys.platform == "darwin" else 1024
    processor = usage.ru_utime + usage.ru_stime
    return Cost(time.perf_counter() - start, processor, usage.ru_maxrss * bytes_per_unit, found)


def has_label(folder: Path) -> bool:
    """True if a folder of predictions holds a whole label."""
    return any(file.name.endswith((".nii", ".nii.gz")) for file in folder.glob("*"))


def write_scan(
    root: Path, name: str, shape: Sequence[int], classes: int, spacing: float, labelled: bool = True
) -> Path:
    """Write a made scan and, if it is labelled, its label. Return the scan's file."""
    import nibabel

    random = np.random.default_rng(sum(name.encode()))
    label = np.zeros(shape, np.uint8)
    x, y, z = (side // 3 for side in shape)
    label[x : 2 * x, y : 2 * y, z : 2 * z] = 1
    for index in range(2, classes):
        label[:4, 4 * index : 4 * index + 4, :4] = index
    image = random.integers(-150, 50, shape, dtype=np.int16)
    image += 150 * (label > 0).astype(np.int16)
    affine = np.diag([-spacing, -spacing, 1.0, 1.0])
    for folder, array in (("images", image), ("labels", label))[: 2 if labelled else 1]:
        (root / folder).mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, affine), root / folder / f"{name}.nii")
    return root / "images" / f"{name}.nii"


def sets(patch: int) -> list[str]:
    """Return the arguments of a small network on cubes of ``patch`` voxels."""
    cube = str([patch] * 3).replace(" ", "")
    keys = (*NETWORK, f"data.patch={cube}", f"inference.stride={cube}")
    return [part for key in keys for part in ("--set", key)]


def model(source: Path, root: Path, data: Path, words: Sequence[str]) -> Path:
    """Train a model for two steps with a version of the package and return its run folder."""
    out = root / f"run-{len(list(root.glob('run-*')))}"
    command(source, "train", "folder", "--data", data, "--out", out, *words)
    return out


def in_turn(
    versions: Mapping[str, Path], models: Mapping[str, Path], words: Sequence[object], repeats: int
) -> dict[str, Any]:
    """Return each version's costs of a prediction, and the ratios of their seconds by turn."""
    costs: dict[str, list[Cost]] = {name: [] for name in versions}
    for turn in range(repeats):
        for name in list(versions)[:: -1 if turn % 2 else 1]:
            out = models[name].parent / "predictions"
            costs[name].append(
                command(versions[name], "predict", models[name], *words, "--out", out, first=out)
            )
            shutil.rmtree(out)
    result: dict[str, Any] = {name: summary(each) for name, each in costs.items()}
    if len(costs) == 2:
        ours, theirs = costs.values()
        result["seconds, ours / theirs"] = spread(
            [one.seconds / other.seconds for one, other in zip(ours, theirs, strict=True)], 3
        )
    return result


def summary(costs: Sequence[Cost]) -> dict[str, Any]:
    first = [cost.first for cost in costs if cost.first is not None]
    return {
        "seconds": spread([cost.seconds for cost in costs], 2),
        "processor_seconds": spread([cost.processor for cost in costs], 2),
        "peak_gb": spread([cost.peak / 1e9 for cost in costs], 2),
        **({"first_label_seconds": spread(first, 2)} if first else {}),
    }


def large_scans(given: argparse.Namespace, versions: Mapping[str, Path]) -> dict[str, Any]:
    """Predict the large scan for each number of classes and each voxel spacing."""
    results, device = {}, ("--device", given.device)
    for classes in given.classes:
        with tempfile.TemporaryDirectory(dir=given.files) as folder:
            root, small = Path(folder), [2 * given.patch, max(4 * classes + 8, 2 * given.patch)]
            for number in range(3):
                shape = (small[0] + number, small[1], small[0])
                write_scan(root / "data", f"small{number}", shape, classes, 0.8, number < 2)
            models = {
                name: model(source, root, root / "data", sets(given.patch))
                for name, source in versions.items()
            }
            for spacing in SPACING:
                large = write_scan(root, f"large{spacing}", given.shape, classes, spacing, False)
                name = f"{classes} classes, {'resampled' if spacing != 0.8 else 'own voxels'}"
                results[name] = in_turn(versions, models, [large, *MAPS, *device], given.repeats)
    return results


def training_set(given: argparse.Namespace, versions: Mapping[str, Path]) -> dict[str, Any]:
    """Check and prepare a training set of large scans, and take one step."""
    results = {}
    with tempfile.TemporaryDirectory(dir=given.files) as folder:
        root = Path(folder)
        for number in range(given.cases):
            write_scan(root / "data", f"case{number:03d}", given.shape, 3, 0.8, number < 4)
        for name, source in versions.items():
            words = ["train", "folder", "--data", root / "data", "--out", root / "run"]
            cost = command(source, *words, "--max-steps", "1", *sets(given.patch))
            shutil.rmtree(root / "run")
            results[name] = summary([cost])
    return {f"{given.cases} cases to train on": results}


def many_scans(given: argparse.Namespace, versions: Mapping[str, Path]) -> dict[str, Any]:
    """Predict every scan of a folder with one command."""
    scans = sorted(given.many.absolute().glob("*.nii.gz"))
    labels, device = given.many.absolute().parent / "labelsTr", ("--device", given.device)
    with tempfile.TemporaryDirectory(dir=given.files) as folder:
        root = Path(folder)
        for name in ("images", "labels"):
            (root / "data" / name).mkdir(parents=True)
        for number, scan in enumerate(scans[:12]):
            (root / "data" / "images" / scan.name).symlink_to(scan)
            if number < min(8, len(scans) // 2):
                (root / "data" / "labels" / scan.name).symlink_to(labels / scan.name)
        keys = ("method.pretrain_steps=1", "method.train_steps=1", "training.precision=float32")
        words = [part for key in keys for part in ("--set", key)]
        models = {
            name: model(source, root, root / "data", words) for name, source in versions.items()
        }
        chosen = scans[: given.first] if given.first else scans
        return {
            f"{len(chosen)} scans": in_turn(versions, models, [*chosen, *device], given.repeats)
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--patch", type=int, default=48, help="side of a window")
    parser.add_argument("--classes", type=int, nargs="*", default=(3, 25), help="with background")
    parser.add_argument("--cases", type=int, default=0, help="scans of a training set")
    parser.add_argument("--many", type=Path, metavar="FOLDER", help="scans next to labelsTr")
    parser.add_argument("--first", type=int, default=0, help="only so many of them")
    parser.add_argument("--against", type=Path, metavar="SRC", help="src folder of another version")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument(
        "--files", type=Path, help="folder of temporary files; --cases 60 takes 15 GB"
    )
    add_common(parser)
    given = parser.parse_args()
    versions = {"ours": OURS} | ({"theirs": given.against.absolute()} if given.against else {})
    results = large_scans(given, versions)
    if given.cases:
        results |= training_set(given, versions)
    if given.many:
        results |= many_scans(given, versions)
    rows: list[tuple[Any, ...]] = [("work", "version", "peak GB", "seconds", "processor", "first")]
    for work, of_work in results.items():
        for name in versions:
            cost = {key: value["median"] for key, value in of_work[name].items()}
            rows.append((work, name, *(cost.get(key, "") for key in COLUMNS)))
        if (ratio := of_work.get("seconds, ours / theirs")) is not None:
            rows.append((work, "ours / theirs", "", ratio["median"], "", ""))
    shown = ("shape", "patch", "repeats")
    settings = {key: getattr(given, key) for key in shown}
    finish(report("memory", settings, results, torch.device("cpu")), rows, given.json)


COLUMNS = ("peak_gb", "seconds", "processor_seconds", "first_label_seconds")


if __name__ == "__main__":
    run(main)
