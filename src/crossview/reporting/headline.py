"""Top of a report: method, setting, facts and score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossview.core.errors import UserError
from crossview.core.text import count, duration, number, percent
from crossview.recipe.layers import TABLES, differences, shipped_methods, shipped_settings
from crossview.recipe.resolve import resolve
from crossview.reporting.content import Evaluation, RunContent
from crossview.reporting.results import case_row
from crossview.reporting.svg import Mark, strip
from crossview.reporting.verdict import bounds, is_optimistic, stale_step
from crossview.reporting.words import (
    METRICS,
    OVERLAPS,
    SELECTIONS,
    interval,
    method_name,
    metric,
    table,
)
from crossview.training.options import MEASURED

MOST_TOLD = 4
"""Most changed keys that a badge lists; of more it gives the number."""


def headline(run: RunContent) -> dict[str, Any]:
    """Return method, setting, the facts below them and the badges."""
    method = method_name(str(run.option("method", "name") or "?"))
    setting = str(run.recipe.get("setting") or run.option("data", "source") or "own data")
    return {
        "title": f"{method} on {setting}",
        "method": method,
        "setting": setting,
        "facts": _facts(run),
        "badges": _badges(run),
        "run": run.path.name,
        "no_test": run.environment.get("test") == 0,
    }


def _facts(run: RunContent) -> list[tuple[str, str]]:
    """Return (value, meaning) pairs."""
    facts = _scan_facts(run)
    steps = run.journal.total_step
    if steps:
        facts.append((f"{steps:,}", "steps"))
    if run.journal.seconds is not None:
        facts.append((duration(run.journal.seconds), "of training"))
    seed = run.option("training", "seed")
    facts += [(f"seed {seed}", "")] if seed is not None else []
    device = run.environment.get("device_name") or run.environment.get("device")
    return facts + ([(str(device), "")] if device else [])


def _scan_facts(run: RunContent) -> list[tuple[str, str]]:
    """Return the scan counts that the run recorded, or the number of labels in its recipe."""
    slices = run.option("data", "source") == "acdc"
    validation = _amount(run.environment.get("validation"))
    trained, planned = (
        _amount(run.environment.get("labelled")),
        _amount(run.option("data", "labelled")),
    )
    facts = []
    if trained:
        facts.append((f"{trained:,}", f"labelled {'slices' if slices else 'scans'}"))
    elif planned:
        facts.append((f"{planned:,}", f"labelled {'patients' if slices else 'scans'}"))
    unlabelled = _amount(run.environment.get("unlabelled"))
    if unlabelled:
        facts.append((f"{unlabelled:,}", f"unlabelled {'slices' if slices else 'scans'}"))
    whence = (
        ""
        if _amount(run.option("data", "validation")) or run.option("data", "source") != "folder"
        else " (split.toml)"
    )
    return facts + ([(f"{validation:,}", f"for validation{whence}")] if validation else [])


def _amount(value: Any) -> int | None:
    """Return a count that is stored as a number or as a list of the counted."""
    if isinstance(value, list):
        return len(value)
    found = number(value)
    return None if found is None else int(found)


def _badges(run: RunContent) -> list[tuple[str, str]]:
    selection = str(run.option("training", "selection") or "last")
    optimistic = (
        any(is_optimistic(evaluation.summary) for evaluation in run.evaluations)
        or selection == "test"
    )
    badges = []
    if optimistic:
        badges.append(
            (f"selected on {'test' if selection == 'test' else selection}, optimistic", "bad")
        )
    else:
        badges.append((SELECTIONS.get(selection, f"selection {selection}"), ""))
    outdated = [
        step
        for evaluation in run.evaluations[:1]
        if (step := stale_step(evaluation, run)) is not None
    ]
    badges += [(f"scores of step {step:,}, out of date", "bad") for step in outdated]
    if any(evaluation.summary.get("partial") for evaluation in run.evaluations):
        badges.append(("partial evaluation", "warn"))
    if not run.journal.finished:
        badges.append(("unfinished", "warn"))
    if run.option("method", "variant") == "released":
        badges.append(("as released, with its known defects", "warn"))
    changed = changed_keys(run)
    if changed:
        told = ", ".join(changed) if len(changed) <= MOST_TOLD else f"{len(changed)} keys"
        badges.append((f"changed from {run.recipe.get('setting')}: {told}", "warn"))
    return badges


def changed_keys(run: RunContent) -> list[str]:
    """Return the keys, other than the seed, in which a run differs from its named setting.

    Only keys that affect the result count. Empty for a recipe planned for the user's own scans, and
    if the setting or the method is not shipped.
    """
    setting, method = run.recipe.get("setting"), table(run.recipe.get("method"))
    if (
        setting not in shipped_settings()
        or setting == "folder"
        or method.get("name") not in shipped_methods()
    ):
        return []
    try:
        shipped = resolve(
            str(setting),
            [f"method.{key}={method[key]}" for key in ("name", "variant") if key in method],
        ).tables()
    except UserError:
        return []
    found = differences(shipped, {name: table(run.recipe.get(name)) for name in TABLES})
    keys = [problem.where.rpartition(" ")[2] for problem in found]
    return [key for key in keys if key not in ("seed", *MEASURED)]


def planned_steps(run: RunContent) -> int:
    """Return the steps of all stages in the recipe's [method]; 0 if it has none."""
    method = table(run.recipe.get("method"))
    return sum(
        int(number(method.get(key)) or 0) for key in ("pretrain_steps", "train_steps", "steps")
    )


def headline_score(run: RunContent) -> dict[str, Any] | None:
    """Return the first evaluation's mean Dice and interval, other scores and strip of cases."""
    if not run.evaluations:
        return None
    evaluation = run.evaluations[0]
    mean = table(evaluation.summary.get("mean"))
    dice = table(mean.get("dice"))
    low, high = bounds(dice)
    cases, old = (
        len(evaluation.summary.get("cases") or evaluation.cases),
        stale_step(evaluation, run),
    )
    return {
        "on": count(cases, f"{evaluation.split} case")
        + ("" if old is None else f" at step {old:,}; the run has continued since"),
        "dice": percent(dice.get("mean")),
        "interval": interval(low, high),
        "tiles": _tiles(mean, str(evaluation.summary.get("unit") or "voxel")),
        "strip": _strip(evaluation, number(dice.get("mean")), low, high),
    }


def _tiles(mean: Mapping[str, Any], unit: str) -> list[tuple[str, str, str]]:
    found = [(name, table(mean.get(name)).get("mean")) for name in ("jaccard", "hd95", "asd")]
    return [
        (METRICS[name], metric(name, value), "%" if name in OVERLAPS else unit)
        for name, value in found
        if number(value) is not None
    ]


def _strip(evaluation: Evaluation, mean: float | None, low: Any, high: Any) -> Any:
    marks = []
    for index, case in enumerate(evaluation.cases):
        dice = case.mean("dice")
        if dice is not None:
            marks.append(Mark(dice, f"{case.case}: {percent(dice)} %", f"#{case_row(0, index)}"))
    if len(marks) < 2:
        return None
    first, second = number(low), number(high)
    return strip(
        marks,
        mean,
        None if first is None or second is None else (first, second),
        "Dice of each case",
    )
