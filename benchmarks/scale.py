"""Cost of more cases, larger patches and more classes: ``python -m benchmarks.scale``.

Made-up volumes of the shapes of LA (gzip h5) or the hippocampus (NIfTI) are written once into
--files (default: a temporary folder), then prepared and trained on. Each number of cases has a
separate process. Measured: seconds to plan, to prepare and to the first batch, busy cores,
milliseconds per batch, memory, and the wait for data next to steps of --step-ms (a stand-in for a
GPU) and in --steps real ones. With --cost: real CML steps by size of the patch and by number
of classes, on made-up volumes in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.loops import loop_of, prepared_of
from benchmarks.timing import add_common, finish, peak_memory, report, run, seconds, spread

from benchmarks import made
from crossview.data.prefetch import Prefetcher, Request
from crossview.recipe.planned import resolve_planned
from crossview.runs.prepare import Prepared, prepare
from crossview.training.device import find_device

HIPPOCAMPUS_SHAPES = (
    (35, 51, 35),
    (34, 52, 35),
    (36, 52, 38),
    (35, 52, 34),
    (39, 48, 36),
    (37, 47, 31),
)
"""Some scans of MSD's Task04."""
RECIPES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "la": ("la-8", ()),
    "hippocampus": (
        "folder",
        ("method.name=cml", "training.labelled_batch=4", "training.unlabelled_batch=4"),
    ),
}
LABELLED = 8
SIDES, CLASSES = (32, 48, 64, 96), (2, 4, 8, 16)


def write_scan(root: Path, number: int) -> None:
    """One made scan of a user's folder, with a label if it is among the first."""
    import nibabel

    sides = HIPPOCAMPUS_SHAPES[number % len(HIPPOCAMPUS_SHAPES)]
    arrays = {"images": made.image(sides, number)} | (
        {"labels": made.label(sides, 3, number)} if number < LABELLED else {}
    )
    for folder, array in arrays.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        nibabel.save(
            nibabel.Nifti1Image(array, np.eye(4)), root / folder / f"made{number:05d}.nii.gz"
        )  # type: ignore[attr-defined]


def write_cases(root: Path, shape: str, count: int) -> None:
    """Make missing cases: scans on all cores, LA's as links to one file per shape."""
    if root.is_dir():
        return
    part = root.with_name(root.name + ".part")
    if shape == "la":
        made.write_la(part, cases=count, tests=1)
    else:
        with ProcessPoolExecutor() as pool:
            list(pool.map(partial(write_scan, part), range(count), chunksize=8))
    part.rename(root)


def batch_times(prepared: Prepared, count: int) -> dict[str, list[float]]:
    """Return milliseconds per batch on one thread, by the clock and of the processor.

    The latter also holds next to other work.

    A second thread gains nothing on so small work, and makes times jump.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {"ms_a_batch": [], "processor_ms_a_batch": []}
    for step in range(count):
        begun = time.thread_time()
        times["ms_a_batch"].append(
            1000
            * seconds(partial(prepared.stream.batch, 0, step, unlabelled=True), prepared.device)
        )
        times["processor_ms_a_batch"].append(1000 * (time.thread_time() - begun))
    torch.set_num_threads(threads)
    return times


def resident() -> dict[str, float]:
    """Return GB of memory now: the process's own, and of mapped files (reclaimable). Linux only."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    words = {
        line.split(":")[0]: int(line.split()[1])
        for line in lines
        if line.startswith(("RssAnon", "RssFile"))
    }
    return {
        name: round(words.get(key, 0) * 1024 / 1e9, 3)
        for name, key in (("own_gb", "RssAnon"), ("mapped_gb", "RssFile"))
    }


def waited(prepared: Prepared, steps: int, step_seconds: float) -> float:
    """Return the share of time that ``steps`` idle stand-in steps waited for their batches."""
    with Prefetcher(prepared.stream, (Request(0, step, True) for step in range(steps))) as batches:
        next(batches)
        before, start = batches.waited, time.perf_counter()
        for _ in batches:
            time.sleep(step_seconds)
        return (batches.waited - before) / (time.perf_counter() - start)


def measure(arguments: argparse.Namespace, root: Path) -> dict[str, Any]:
    """One number of cases, in this process."""
    recipe, sets = RECIPES[arguments.shape]
    sets = (
        *sets,
        f"training.device={arguments.device}",
    )
    begun = [time.perf_counter(), time.process_time()]
    resolved, _ = resolve_planned(recipe, sets, root)
    planned = [time.perf_counter(), time.process_time()]
    prepared = prepare(resolved, root, out=root.parent)
    ready = [time.perf_counter(), time.process_time()]
    after = peak_memory(prepared.device) if prepared.device.type != "cuda" else {}
    times = batch_times(prepared, arguments.batches + 1)
    first = times["ms_a_batch"][0] / 1000
    stores = [
        store
        for store in (prepared.stream.labelled, prepared.stream.unlabelled)
        if store is not None
    ]
    found: dict[str, Any] = {
        "plan_seconds": round(planned[0] - begun[0], 2),
        "prepare_seconds": round(ready[0] - planned[0], 2),
        "prepare_processor_seconds": round(ready[1] - planned[1], 2),
        "cores_busy_while_preparing": round((ready[1] - planned[1]) / (ready[0] - planned[0]), 2),
        "first_batch_seconds": round(first, 4),
        "to_the_first_batch_seconds": round(ready[0] - begun[0] + first, 2),
        "store_gb": round(sum(store.nbytes for store in stores) / 1e9, 3),
        "peak_after_preparing": after,
        **{key: spread(values[1:], 3) for key, values in times.items()},
        "wait_share_beside_stand_in_steps": round(
            waited(prepared, 50, arguments.step_ms / 1000), 4
        ),
        "resident_after_batches": resident(),
    }
    if arguments.steps:
        with loop_of(prepared) as loop:
            steps, waits = loop.times(arguments.steps)
        found |= {
            "seconds_a_step": spread(steps),
            "wait_share": round(sum(waits) / sum(steps), 5),
            "precision": loop.precision,
        }
    return found


def cost(side: int, classes: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time real CML steps on made-up volumes: V-Net of 16 filters, 2 + 2 patches per step."""
    sets = [
        *(
            "data.labelled=4",
            f"data.classes={classes}",
            f"data.patch=[{side},{side},{side}]",
            "data.spacing=[]",
            "data.nifti_axes=[0,1,2]",
        ),
        *(
            "data.normalisation=z_score",
            "data.augmentation=rot90_flip",
            "network.name=vnet",
            "network.filters=16",
            "network.levels=4",
        ),
        *(
            f"inference.stride=[{side},{side},{side}]",
            "inference.largest_component=true",
            f"training.device={arguments.device}",
        ),
        *(
            "training.labelled_batch=2",
            "training.unlabelled_batch=2",
            f"training.precision={arguments.precision}",
        ),
    ]
    prepared = prepared_of("folder", None, sets)
    times = {key: spread(values[3:], 3) for key, values in batch_times(prepared, 13).items()}
    with loop_of(prepared) as loop:
        steps, waits = loop.times(max(1, arguments.steps))
    found: dict[str, Any] = {**times, "seconds_a_step": spread(steps)}
    return found | {
        "wait_share": round(sum(waits) / sum(steps), 5),
        "precision": loop.precision,
        "peak": peak_memory(prepared.device),
    }


def apart(*options: Any) -> dict[str, Any]:
    """``measure`` or ``cost`` in a process of its own, whose memory is nobody else's."""
    command = [sys.executable, "-m", "benchmarks.scale", *sys.argv[1:], "--one", *map(str, options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def cases_table(
    arguments: argparse.Namespace, files: Path
) -> tuple[dict[str, Any], list[Sequence[Any]]]:
    results: dict[str, Any] = {}
    head = (
        "cases",
        "prepare s",
        "cores",
        "first batch s",
        "ms a batch",
        "processor ms",
        "wait",
        "store GB",
        "peak GiB",
        "step s",
    )
    rows: list[Sequence[Any]] = [head]
    for count in arguments.cases:
        root = files / f"{arguments.shape}-{count}"
        write_cases(root, arguments.shape, count)
        found = results[f"{count} cases"] = apart("--cases", count, "--files", files)
        peak, step = (
            found["peak_after_preparing"].get("gib", "-"),
            found.get("seconds_a_step", {}).get("median", "-"),
        )
        told = [
            found[key]
            for key in (
                "prepare_seconds",
                "cores_busy_while_preparing",
                "to_the_first_batch_seconds",
            )
        ]
        wait = found["wait_share_beside_stand_in_steps"]
        batch = [found[key]["median"] for key in ("ms_a_batch", "processor_ms_a_batch")]
        rows.append(
            (
                count,
                *told,
                *batch,
                wait,
                found["store_gb"],
                peak,
                step,
            )
        )
    return results, rows


def cost_table(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Sequence[Any]]]:
    results: dict[str, Any] = {}
    rows: list[Sequence[Any]] = [("patch", "classes", "ms a batch", "step s", "wait", "peak GiB")]
    for side, classes in [
        *((side, 2) for side in SIDES),
        *((64, classes) for classes in CLASSES[1:]),
    ]:
        found = results[f"patch {side}, {classes} classes"] = apart(
            "--side", side, "--classes", classes
        )
        step = found["seconds_a_step"]["median"]
        rows.append(
            (
                side,
                classes,
                found["ms_a_batch"]["median"],
                step,
                found["wait_share"],
                found["peak"]["gib"],
            )
        )
    return results, rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=sorted(RECIPES), default="hippocampus")
    parser.add_argument("--cases", type=int, nargs="+", default=[100, 1000])
    parser.add_argument(
        "--files", type=Path, help="where the made cases lie, or are written and kept"
    )
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument(
        "--step-ms",
        type=float,
        default=40.0,
        help="a stand-in step; 40: what one H100 is to need for LA's",
    )
    parser.add_argument(
        "--steps", type=int, default=0, metavar="N", help="also N real training steps"
    )
    parser.add_argument(
        "--cost", action="store_true", help="by patch and classes instead of by cases"
    )
    parser.add_argument(
        "--precision", choices=("float32", "bf16"), default="bf16", help="for --cost"
    )
    for hidden in ("--side", "--classes"):
        parser.add_argument(hidden, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    add_common(parser)
    arguments = parser.parse_args()
    if arguments.one:
        small = arguments.side is not None
        root = None if small else arguments.files / f"{arguments.shape}-{arguments.cases[0]}"
        found = (
            cost(arguments.side, arguments.classes, arguments)
            if root is None
            else measure(arguments, root)
        )
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as temporary:
        files = arguments.files or Path(temporary)
        files.mkdir(parents=True, exist_ok=True)
        results, rows = cost_table(arguments) if arguments.cost else cases_table(arguments, files)
    keys = (
        ("precision", "steps")
        if arguments.cost
        else ("shape", "cases", "batches", "step_ms", "steps")
    )
    settings = {key: getattr(arguments, key) for key in keys} | {
        "processors": os.cpu_count(),
        "data": "made volumes",
    }
    finish(report("scale", settings, results, find_device(arguments.device)), rows, arguments.json)


if __name__ == "__main__":
    run(main)
