"""The campaign's short items: does everything work on this device, and how fast is it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from benchmarks.campaign_item import Context, Failed, finished, gpu, results_of, say

from crossview.environment import environment_now
from crossview.training.device import find_device
from crossview.training.journal import read_journal

AGREE, COMPARED = 0.05, 4
"""Relative difference of a loss in bf16 and in float32 beyond which something is wrong, in the first so many rows: 20 steps. On the CPU
they are 1.7 % apart by then, and 6 % after 50 steps: at the demonstration's learning rate two trainings go their own ways."""
WORKERS = 8
"""Processes that share the tests: most of a test's time is the host's."""
PYTEST = (
    "pytest",
    "-o",
    "addopts=--import-mode=importlib",
    "-m",
    "gpu",
    "-rs",
    "--tb=short",
    "-p",
    "no:cacheprovider",
)
"""The tests marked gpu, which the project's own options leave out."""


def smoke(item: Mapping[str, Any], context: Context) -> None:
    """crossview doctor, the tests marked gpu, and some CML steps on phantoms in both precisions. Raises Failed, the file written."""
    content: dict[str, Any] = {
        "environment": environment_now(find_device(context.device)),
        "gpu": gpu(),
        "problems": [],
    }

    def keep(name: str, value: object) -> None:
        content[name] = value
        context.keep(results_of(item)[0], content)

    code = finished(context, "doctor", ["crossview", "doctor"])
    keep("doctor", {"exit": code, "log": context.log_end("doctor")})
    losses = {
        precision: _losses(precision, item["steps"], context) for precision in ("float32", "bf16")
    }
    keep("losses", losses)
    side_by_side = ("-n", str(WORKERS)) if find_spec("xdist") else ()
    code = finished(
        context,
        "tests",
        [*PYTEST, *side_by_side, *item["tests"]],
        threads=max(1, (os.cpu_count() or 1) // WORKERS),
    )
    keep("tests", {"exit": code, "log": context.log_end("tests")})
    last = [
        line
        for line in context.log_end("tests").splitlines()
        if re.search(r"\d+ (passed|failed|skipped|deselected)", line)
    ]
    say("smoke: tests: " + (last[-1] if last else "no summary"))
    pairs = list(zip(*losses.values(), strict=False))[:COMPARED]
    apart = max((abs(a - b) / abs(a) for a, b in pairs), default=float("nan"))
    say(f"smoke: the first {len(pairs)} losses in bf16 and float32 are at most {apart:.2%} apart")
    problems = [
        f"{name} ended with {content[name]['exit']}"
        for name in ("doctor", "tests")
        if content[name]["exit"] not in (0, 5)
    ]
    problems += [] if apart < AGREE else [f"bf16 and float32 losses are {apart:.2%} apart"]
    keep("problems", problems)
    if problems:
        raise Failed("; ".join(problems))


def _losses(precision: str, steps: int, context: Context) -> list[float]:
    """The losses of the first steps of the demonstration's recipe, its unlabelled stage from the tenth on."""
    folder = context.work / "runs" / f"smoke-{precision}"
    sets = [
        f"training.precision={precision}",
        f"training.device={context.device}",
        "method.pretrain_steps=10",
        "training.log_every=5",
    ]
    arguments = [
        "crossview",
        "train",
        "demo",
        "--out",
        str(folder),
        "--max-steps",
        str(steps),
        "--overwrite",
    ]
    code = finished(
        context,
        f"smoke-{precision}",
        [*arguments, *(part for each in sets for part in ("--set", each))],
    )
    if code != 0:
        raise Failed(
            f"training in {precision} ended with {code}:\n{context.log_end(f'smoke-{precision}')}"
        )
    return [row["loss"] for row in read_journal(folder / "journal.jsonl") if row["kind"] == "step"]


def measure(item: Mapping[str, Any], context: Context) -> None:
    """A program of benchmarks/ in every variant, on the real data where it is there, else on what it makes itself.

    A variant that fails is told of, and the others go on. Raises Failed where all do.
    """
    file = results_of(item)[0]
    content: dict[str, Any] = {"gpu": gpu(), "torch": torch.__version__, "variants": {}}
    data = context.folder_of(item.get("data", ""))
    for number, variant in enumerate(item["variants"]):
        name, log, out = (
            " ".join(variant),
            f"{item['name']}-{number}",
            context.work / "measured.json",
        )
        out.unlink(missing_ok=True)
        arguments = [
            item["program"],
            *item["arguments"],
            *variant,
            "--device",
            context.device,
            "--json",
            str(out),
        ]
        arguments += ["--data", str(data)] if data is not None else []
        arguments += ["--official", str(context.official)] if item.get("official") else []
        code = finished(context, log, arguments)
        done = code == 0 and out.exists()
        content["variants"][name] = (
            json.loads(out.read_text(encoding="utf-8"))
            if done
            else {"failed": context.log_end(log)}
        )
        context.keep(file, content)
        say(f"{item['name']} {name}:\n{context.log_end(log)}")
    if all("failed" in answer for answer in content["variants"].values()):
        (context.results / file).unlink()
        raise Failed(f"{item['name']}: nothing could be measured")
