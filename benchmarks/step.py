"""Time of a training step and its parts: ``python -m benchmarks.step RECIPE [--data DIR]``.

The main figure is the unchanged loop (stream, prefetcher, step, journal), its median over N steps.
Then the same loop runs with its parts watched (benchmarks.parts). The networks' operations are
counted and compared with the best matrix product of this machine. Without --data, volumes are made
up in the recipe's true shapes, so that the program runs on a bare machine with a GPU. --profile
adds torch's list of what the device (or the CPU) did in the watched steps, longest first, and how
long a GPU was busy.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.flops import flops_of_calls
from benchmarks.loops import Loop, loop_of, prepared_of
from benchmarks.parts import PARTS, watching
from benchmarks.timing import (
    add_common,
    finish,
    forget_peak_memory,
    matmul_peak,
    peak_memory,
    report,
    run,
    spread,
    synchronise,
)
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from crossview.core.errors import Problem, UserError
from crossview.core.files import write_text


def measure(loop: Loop, steps: int, warm_up: int, watched: int) -> dict[str, Any]:
    """All results of a loop: the loop as it is, its parts, operations and memory."""
    training = loop.recipe.training
    needed = 3 * warm_up + steps + 2 * watched
    if loop.stage.steps < needed:
        fix = "fewer --steps, or more steps of the stage by --set"
        raise UserError(
            Problem(
                "the stage is too short to be measured",
                loop.stage.name,
                f"{loop.stage.steps} steps",
                f"{needed}",
                fix,
            )
        )
    before = matmul_peak(loop.device, loop.precision)
    forget_peak_memory(loop.device)
    times, waits = loop.times(steps, warm_up)
    memory, recordings = peak_memory(loop.device), loop.training.recordings.made
    samples = training.labelled_batch + (training.unlabelled_batch if loop.stage.unlabelled else 0)
    step = spread(times)
    parts = where_time_goes(loop, watched, warm_up)
    # Twice, as what else a machine does lowers a short measurement easily; the larger is the peak.
    peak = max(
        before,
        matmul_peak(loop.device, loop.precision),
        key=lambda found: float(found["flops_per_second"]),
    )
    return {
        "seconds_a_step": step,
        "samples_per_second": round(samples / step["median"], 3),
        "data_wait_share": round(sum(waits) / sum(times), 5),
        "parts": parts,
        "peak_memory": memory,
        "recordings": recordings,
        "matmul_peak": peak,
        "share_of_matmul_peak": round(
            parts["flops_a_step"] / step["median"] / peak["flops_per_second"], 4
        ),
    }


def where_time_goes(loop: Loop, steps: int, warm_up: int) -> dict[str, Any]:
    """Return mean seconds per part of a step, and the operations of the passes of networks."""
    count = 0
    found: dict[str, Any] = {}

    with watching(loop) as watch:

        def stop() -> bool:
            nonlocal count
            if count == warm_up:
                found.update(
                    before=watch.seconds(),
                    threads=dict(watch.threads),
                    calls=len(watch.calls),
                    start=time.perf_counter(),
                )
            count += 1
            return count > warm_up + steps

        loop.run(stop)
        after = watch.seconds()
        total = (time.perf_counter() - found["start"]) / steps
    mean = {name: (after[name] - found["before"][name]) / steps for name in PARTS}
    in_threads = {
        name: round((value - found["threads"].get(name, 0.0)) / steps, 5)
        for name, value in watch.threads.items()
    }
    calls = watch.calls[found["calls"] :]
    return {
        "seconds": {name: round(value, 5) for name, value in mean.items()},
        "rest": round(total - sum(mean.values()), 5),
        "total": round(total, 5),
        "seconds_in_threads": in_threads,
        "flops_a_step": flops_of_calls(calls, loop.recipe.data.classes) // steps,
        "network_passes_a_step": len(calls) / steps,
        "steps": steps,
    }


def profiled(loop: Loop, steps: int, warm_up: int, file: Path) -> dict[str, Any]:
    """Write torch's operations to ``file``; return kernel time, step time and kernel count."""
    on_gpu = loop.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    count, found = 0, {}
    with ExitStack() as stack:

        def stop() -> bool:
            nonlocal count
            if count == warm_up:
                synchronise(loop.device)
                found.update(
                    profile=stack.enter_context(profile(activities=activities)),
                    start=time.perf_counter(),
                )
            count += 1
            return count > warm_up + steps

        loop.run(stop)
        synchronise(loop.device)
        took = time.perf_counter() - found["start"]
    averages = found["profile"].key_averages()
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    write_text(file, averages.table(sort_by=order, row_limit=120, max_name_column_width=150))
    kernels = [event for event in averages if event.device_type != DeviceType.CPU]
    return {
        "kernel_milliseconds_a_step": round(
            sum(event.self_device_time_total for event in kernels) / steps / 1000, 3
        ),
        "kernels_a_step": round(sum(event.count for event in kernels) / steps, 1),
        "milliseconds_a_step_while_profiled": round(1000 * took / steps, 3),
    }


def rows(results: dict[str, Any], loop: Loop) -> list[tuple[Any, ...]]:
    """Return the rows to print."""
    step, parts = results["seconds_a_step"], results["parts"]
    lines: list[tuple[Any, ...]] = [
        (
            f"{loop.recipe.setting} {loop.recipe.method.name}, "
            f"stage {loop.stage.name}, {loop.precision}",
            "",
            "",
        ),
        (
            "ms a step",
            1000 * step["median"],
            f"{1000 * step['min']:.4g} to {1000 * step['max']:.4g}, {len(step['values'])} steps",
        ),
        ("samples/s", results["samples_per_second"], ""),
    ]
    for name, value in parts["seconds"].items():
        note = (
            f"and {1000 * parts['seconds_in_threads'][name]:.4g} ms in threads"
            if name in parts["seconds_in_threads"]
            else ""
        )
        lines.append((f"  {name} (ms)", 1000 * value, note))
    lines.append(
        ("  losses and the rest (ms)", 1000 * parts["rest"], "the watched steps less their parts")
    )
    return [
        *lines,
        ("data wait, share of the step", results["data_wait_share"], ""),
        (
            "TFLOP a step (networks)",
            parts["flops_a_step"] / 1e12,
            f"{parts['network_passes_a_step']:.3g} network passes",
        ),
        (
            "share of the matmul peak",
            results["share_of_matmul_peak"],
            f"{results['matmul_peak']['flops_per_second'] / 1e12:.4g} TFLOP/s",
        ),
        ("peak memory (GiB)", results["peak_memory"]["gib"], results["peak_memory"]["kind"]),
        ("passes recorded as CUDA graphs", results["recordings"], ""),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", metavar="RECIPE")
    parser.add_argument(
        "--data", type=Path, help="the real data; left out: made volumes of true shapes"
    )
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bf16"))
    parser.add_argument("--stage", default="", help="the stage's name; by default the last")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument(
        "--warm-up",
        type=int,
        help="steps before those that count; by default 1, on a GPU 5, as the first ones record",
    )
    parser.add_argument("--watched", type=int, default=2, help="steps whose parts are watched")
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FILE",
        help="write torch's list of operations and kernels there",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    add_common(parser)
    arguments = parser.parse_args()
    overrides = [*arguments.overrides, f"training.device={arguments.device}"]
    prepared = prepared_of(arguments.recipe, arguments.data, overrides)
    with loop_of(
        prepared,
        stage=arguments.stage,
        precision="" if arguments.precision == "auto" else arguments.precision,
    ) as loop:
        by_default = 5 if loop.device.type == "cuda" else 1
        warm_up = by_default if arguments.warm_up is None else arguments.warm_up
        results = measure(loop, arguments.steps, warm_up, arguments.watched)
        recipe = loop.recipe
        settings = {
            "recipe": recipe.setting,
            "method": recipe.method.name,
            "stage": loop.stage.name,
            "precision": loop.precision,
            "patch": list(recipe.data.patch),
            "batch": [
                recipe.training.labelled_batch,
                recipe.training.unlabelled_batch if loop.stage.unlabelled else 0,
            ],
            "data": "real" if arguments.data else "made volumes of true shapes",
            "set": arguments.overrides,
        }
        finish(report("step", settings, results, loop.device), rows(results, loop), arguments.json)
        if arguments.profile:  # last: a profiler can fail where CUDA graphs are replayed
            found = profiled(loop, arguments.watched, warm_up, arguments.profile)
            lines = [(name.replace("_", " "), value) for name, value in found.items()]
            finish(
                report("step", settings, results | {"profile": found}, loop.device),
                lines,
                arguments.json,
            )


if __name__ == "__main__":
    run(main)
