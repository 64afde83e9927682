"""The demonstration: phantoms, both labelled-only baselines and CML with the same steps, one report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossview.errors import Problem, UserError
from crossview.evaluation.compare import compare
from crossview.folder import Run
from crossview.reporting.compared import write_demo
from crossview.resolve import resolve
from crossview.run import evaluate, train


@dataclass(frozen=True)
class Demo:
    """What the demonstration left behind; ``table`` is for a rich console."""

    runs: tuple[Run, ...]
    table: Any
    report: Path
    csv: Path


def demo(out: Path | str = "runs/demo", *, seeds: int = 1, steps: int | None = None, say: Callable[[str], None] = lambda _: None) -> Demo:
    """Train and test labelled-only, CML's labelled stage alone, and CML on phantoms, each with the same number of steps.

    steps: of each run; by default the recipe's. say: is told which run begins. Runs of the same recipe that are there
    already are kept, or gone on with.
    """
    folder = Path(out)
    recipe = resolve("demo")
    pretrain, train_steps = (getattr(recipe.method, key) for key in ("pretrain_steps", "train_steps"))
    if steps is not None:
        pretrain, train_steps = split_steps(steps, pretrain / (pretrain + train_steps))
    tag = "" if steps is None else f"-{steps}steps"
    total = pretrain + train_steps
    methods = {
        "supervised": ["method.name=supervised", f"method.steps={total}"],
        "cml-labelled-only": [f"method.pretrain_steps={total}", "method.train_steps=0"],
        "cml": [f"method.pretrain_steps={pretrain}", f"method.train_steps={train_steps}"],
    }
    runs: list[Run] = []
    for seed in range(recipe.training.seed, recipe.training.seed + seeds):
        for name, sets in methods.items():
            say(f"[{len(runs) + 1}/{seeds * len(methods)}] {name}, seed {seed}, {total} steps")
            runs.append(_run(folder / f"{name}-seed{seed}{tag}", [*sets, f"training.seed={seed}"]))
    comparison = compare([run.path for run in runs])
    report, csv = write_demo(folder, comparison, shown=folder / f"cml-seed{recipe.training.seed}{tag}")
    return Demo(tuple(runs), comparison.table(), report, csv)


def split_steps(steps: int, share: float) -> tuple[int, int]:
    """Steps of the labelled stage, a share of all but at least one, and of the other."""
    first = max(1, round(steps * share))
    return first, steps - first


def _run(path: Path, sets: list[str]) -> Run:
    """A run trained and tested: the one that is there if it is finished, gone on with if it was interrupted. Raises UserError."""
    try:
        run, outcome = train("demo", None, path, overrides=sets, resume=path.exists())
    except UserError as error:
        if not path.exists():
            raise
        fix = "delete the folder, or choose another --out"
        raise UserError([*error.problems, Problem("the demonstration can't go on with this run", str(path), fix=fix)]) from None
    if outcome.how == "interrupted":
        raise SystemExit(128 + outcome.signal)
    summary = path / "evaluation" / "test" / "summary.json"
    if not summary.exists() or json.loads(summary.read_text(encoding="utf-8"))["step"] != outcome.total_step:
        evaluate(run)
    return run
