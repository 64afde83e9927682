"""Verdict on a run in plain words: result and cautions."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from crossview.core.text import count, distance, in_text, interval, listed, number, table
from crossview.evaluation.patients import caution
from crossview.reporting.content import Estimate, Evaluation, RunContent, estimates
from crossview.reporting.unlabelled import FOUND, uses_unlabelled

WEAK = 0.10
"""Difference in Dice from the best view at which a view is called weak."""

DEAD_SHARE = 1e-4
"""Share of foreground voxels below which a view finds nothing."""

HEALTH_ROWS = 5
"""Last rows over which health is averaged: a single batch may contain no foreground."""

TAUGHT = "Its pseudo-labels teach the other views; more pretrain_steps{less} usually help."

MEANING = {
    "teacher": "It is the average of past students and makes the targets on unlabelled scans. "
    "It lags behind a student that still learns fast; more steps or a lower method.ema_decay help.",
    "student": "The student is the result; the teacher is its average over past steps. The last "
    "steps made the student worse, or its learning rate is still high; a schedule that lowers "
    "training.learning_rate helps.",
}
"""Meaning of a weak view that is not one of several that teach each other."""

FAILURES = {
    "missed": "In {cases} a structure was missed altogether: {names}.",
    "spurious": "In {cases} a structure was found where there is none: {names}.",
}


def result_sentences(evaluation: Evaluation) -> list[str]:
    """Return sentences on the mean, worst case, distance and failures of an evaluation."""
    dice, hd95 = evaluation.scores["dice"], evaluation.scores["hd95"]
    over = f" over {count(evaluation.patients, 'patient')}" if evaluation.patients else ""
    within = f" (95 % interval {interval(*dice.span)}{over})" if dice.span else ""
    sentences = [f"On {evaluation.counted} the mean Dice is {in_text(dice.mean)}{within}."]
    sentences += [caution(evaluation.patients)] if dice.span and evaluation.patients else []
    means = [(case, case.mean("dice")) for case in evaluation.cases]
    scored = [(case, mean) for case, mean in means if mean is not None]
    if len(scored) > 1 and scored[-1][1]:
        (worst, lowest), (_, middle) = scored[0], scored[len(scored) // 2]
        half = f"Half of the cases reach {in_text(middle)} or more"
        sentences.append(f"{half}; the worst, {worst.case}, has {in_text(lowest)}.")
    if hd95.mean is not None:
        unit = evaluation.unit.replace("xel", "xels")
        sentences.append(
            "HD95, the 95th percentile of the surface distances, "
            f"is {distance(hd95.mean)} {unit} on average."
        )
    return list(filter(None, sentences)) + _failures(evaluation.empty)


def _failures(entries: list[Mapping[str, Any]]) -> list[str]:
    found = {
        kind: list(
            dict.fromkeys(str(each.get("case")) for each in entries if each.get("kind") == kind)
        )
        for kind in FAILURES
    }
    return [
        FAILURES[kind].format(cases=count(len(names), "case"), names=listed(names))
        for kind, names in found.items()
        if names
    ]


def cautions(run: RunContent) -> list[tuple[str, str]]:
    """Return cautions about the numbers as (tone, text), with tone "bad" or "warn"."""
    bad = [_selected(each) for each in run.evaluations if is_optimistic(each.summary)]
    if not run.evaluations and run.option("training", "selection") == "test":
        bad.append(
            "This run selects its checkpoint on the test cases: its scores will be optimistic."
        )
    for evaluation in run.evaluations:
        bad += [*_stale(evaluation, run), *_partial(evaluation)]
    views = [*_weak_views(run), *_dead_views(run)]
    return [("bad", text) for text in bad] + [("warn", text) for text in views]


def _selected(evaluation: Evaluation) -> str:
    """Return the caution about an optimistic evaluation."""
    selection = str(evaluation.summary.get("selection", evaluation.split))
    cases = (
        f"the same cases that are scored here ({selection})"
        if selection == evaluation.split
        else f"the {selection} cases; these are the {evaluation.split} cases"
    )
    return f"Selected on {selection}, optimistic: the checkpoint was selected on {cases}."


def _stale(evaluation: Evaluation, run: RunContent) -> list[str]:
    """Return the caution about scores that are older than the run's last checkpoint."""
    step = stale_step(evaluation, run)
    if step is None:
        return []
    return [
        f"The {evaluation.split} scores are from step {step:,}, "
        f"but the run is now at step {run.journal.total_step:,}: "
        f"evaluate it again ({run.folder.command('evaluate', '--split', evaluation.split)})."
    ]


def stale_step(evaluation: Evaluation, run: RunContent) -> int | None:
    """Return the step that was evaluated as the last, if the run has trained on since."""
    step, now = number(evaluation.summary.get("step")), run.journal.total_step
    if evaluation.summary.get("checkpoint") != "last" or step is None or not now or step == now:
        return None
    return int(step)


def _partial(evaluation: Evaluation) -> list[str]:
    """Return the caution about an evaluation of only a part of the split."""
    if not evaluation.summary.get("partial"):
        return []
    return [
        f"This is a partial evaluation, of the first {evaluation.counted} only: "
        "it says little about the whole split."
    ]


def is_optimistic(summary: Mapping[str, Any]) -> bool:
    """True if the checkpoint was selected on the cases it is scored on, or on the test cases."""
    return bool(summary.get("optimistic")) or summary.get("selection") == "test"


def is_idle(view: str, stage: str, run: RunContent) -> bool:
    """True if a view takes no part in a stage.

    This is an averaged teacher in a stage without unlabelled scans (BCP's first stage).
    """
    row = next((row for row in run.journal.of("stage") if row.get("stage") == stage), None)
    return view == "teacher" and row is not None and not uses_unlabelled(row, run)


def _weak_views(run: RunContent) -> list[str]:
    """Return cautions about views far below the best, as last scored in training or evaluated."""
    rows = [row for row in run.journal.of("validation") if row.get("views")]
    if rows:
        views = {name: Estimate.of(view) for name, view in table(rows[-1]["views"]).items()}
        where = f"the {run.scored_in_training} cases (last scored in training)"
        stage = str(rows[-1].get("stage"))
    elif run.evaluations:
        views = {
            name: estimates(view.get("mean"))["dice"]
            for name, view in run.evaluations[0].views.items()
        }
        where = f"the {run.evaluations[0].split} cases"
        stage = str(next((row.get("stage") for row in reversed(run.journal.of("stage"))), ""))
    else:
        return []
    dice = {
        name: score.mean
        for name, score in views.items()
        if score.mean is not None and not is_idle(name, stage, run)
    }
    if len(dice) < 2:
        return []
    best = max(dice, key=lambda name: dice[name])
    less = " or less network.dropout" if number(run.option("network", "dropout")) else ""
    return [
        f"{name} is {'dead' if value < FOUND else 'weak'}: Dice {in_text(value)} on {where}; "
        f"{best} has {in_text(dice[best])}. {MEANING.get(name, TAUGHT.format(less=less))}"
        for name, value in dice.items()
        if dice[best] - value >= WEAK
    ]


def _dead_views(run: RunContent) -> list[str]:
    """Return cautions about views whose pseudo-labels have almost no foreground at the end."""
    rows = [table(row.get("health")) for row in run.journal.of("step") if row.get("health")]
    shares: dict[str, list[float]] = {}
    for row in rows[-HEALTH_ROWS:]:
        for name, value in row.items():
            found = number(value)
            if ("share" in name or "foreground" in name) and found is not None:
                shares.setdefault(name, []).append(found)
    patch = run.option("data", "patch")
    what = "pixels" if isinstance(patch, list) and len(patch) == 2 else "voxels"
    return [
        f"{name} is {100 * share:.3f} % of the {what} at the end: "
        "this network finds almost nothing in the unlabelled scans."
        for name, values in shares.items()
        if (share := fmean(values)) < DEAD_SHARE
    ]
