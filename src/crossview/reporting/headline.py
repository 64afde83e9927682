"""Top of a report: method, setting, facts and score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from crossview.core.errors import UserError
from crossview.core.text import duration, number, percent, table
from crossview.recipe.layers import TABLES, differences, shipped_methods, shipped_settings
from crossview.recipe.resolve import resolve
from crossview.reporting.content import Estimate, RunContent
from crossview.reporting.plots import Mark, strip
from crossview.reporting.results import row_anchor
from crossview.reporting.verdict import is_optimistic, stale_step
from crossview.reporting.words import SELECTIONS, method_name
from crossview.training.options import MEASURED

MOST_KEYS = 4
"""Most changed keys that a badge lists. Of more it gives the number."""


@dataclass(frozen=True)
class Headline:
    """Method and setting, facts (value, meaning) and badges (text, tone)."""

    method: str
    setting: str
    facts: list[tuple[str, str]]
    badges: list[tuple[str, str]]


def headline(run: RunContent) -> Headline:
    return Headline(
        method=method_name(
            str(run.option("method", "name") or "?"), run.folder.labelled_stage_only
        ),
        setting=str(run.recipe.get("setting") or run.option("data", "source") or "own data"),
        facts=_facts(run),
        badges=_badges(run),
    )


def _facts(run: RunContent) -> list[tuple[str, str]]:
    steps, seed = run.journal.total_step, run.option("training", "seed")
    device = run.environment.get("device_name") or run.environment.get("device")
    facts = _scan_facts(run)
    if steps:
        facts.append((f"{steps:,}", "steps"))
    if run.journal.seconds is not None:
        facts.append((duration(run.journal.seconds), "of training"))
    if seed is not None:
        facts.append((f"seed {seed}", ""))
    if device:
        facts.append((str(device), ""))
    return facts


def _scan_facts(run: RunContent) -> list[tuple[str, str]]:
    """Return the scan counts that the run recorded, or the number of labels in its recipe."""
    slices = run.option("data", "source") == "acdc"
    noun = "slices" if slices else "scans"
    amounts = {key: _amount(run.environment.get(key)) for key in ("labelled", "unlabelled")}
    validation = _amount(run.environment.get("validation"))
    unused = {"unlabelled": " not used"} if run.journal.waited_in_vain else {}
    facts = [
        (f"{amount:,}", f"{key} {noun}{unused.get(key, '')}")
        for key, amount in amounts.items()
        if amount
    ]
    if not amounts["labelled"] and (planned := _amount(run.option("data", "labelled"))):
        facts.insert(0, (f"{planned:,}", f"labelled {'patients' if slices else 'scans'}"))
    if validation:
        own = run.option("data", "source") == "folder"
        source = " (split.toml)" if own and not _amount(run.option("data", "validation")) else ""
        facts.append((f"{validation:,}", f"for validation{source}"))
    return facts


def _amount(value: Any) -> int:
    """Return a count that is stored as a number or as a list of the counted; 0 for none."""
    return len(value) if isinstance(value, list) else int(number(value) or 0)


def _badges(run: RunContent) -> list[tuple[str, str]]:
    selection = str(run.option("training", "selection") or "last")
    if selection == "test" or any(is_optimistic(each.summary) for each in run.evaluations):
        badges = [(f"selected on {selection}, optimistic", "bad")]
    else:
        badges = [(SELECTIONS.get(selection, f"selection {selection}"), "")]
    for evaluation in run.evaluations[:1]:
        if (step := stale_step(evaluation, run)) is not None:
            badges.append((f"scores of step {step:,}, out of date", "bad"))
    changed = changed_keys(run)
    keys = ", ".join(changed) if len(changed) <= MOST_KEYS else f"{len(changed)} keys"
    warnings = {
        "partial evaluation": any(each.summary.get("partial") for each in run.evaluations),
        "still training": bool(run.training_by),
        "unfinished": not run.journal.finished and not run.training_by,
        "as released, with its known defects": run.option("method", "variant") == "released",
        f"changed from {run.recipe.get('setting')}: {keys}": changed,
    }
    return badges + [(text, "warn") for text, holds in warnings.items() if holds]


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


@dataclass(frozen=True)
class HeadlineScore:
    """Mean scores of the first evaluation, its cases in words, and a strip of their Dice."""

    on: str
    patients: int
    scores: Mapping[str, Estimate]
    unit: str
    strip: Markup | None


def headline_score(run: RunContent) -> HeadlineScore | None:
    if not run.evaluations:
        return None
    evaluation = run.evaluations[0]
    old, on = stale_step(evaluation, run), evaluation.counted
    marks = [
        Mark(value, f"{case.case}: {percent(value)} %", f"#{row_anchor(0, index)}")
        for index, case in enumerate(evaluation.cases)
        if (value := case.mean("dice")) is not None
    ]
    dice = evaluation.scores["dice"]
    return HeadlineScore(
        on if old is None else f"{on} at step {old:,}; the run has continued since",
        evaluation.patients,
        evaluation.scores,
        evaluation.unit,
        strip(marks, dice.mean, dice.span, "Dice of each case") if len(marks) > 1 else None,
    )
