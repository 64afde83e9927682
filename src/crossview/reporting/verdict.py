"""Verdict on a run in plain words: result, effect of the unlabelled scans, and cautions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crossview.core.run_folder import Row
from crossview.core.text import count, in_text, listed, number, percent
from crossview.reporting.content import Evaluation, RunContent
from crossview.reporting.words import METRICS, distance, interval, table

FOUND = 0.02
"""Dice during training below which a stage has found nothing."""


CLEAR = 0.01
"""Smallest change of Dice during training that is called help or harm."""


WEAK = 0.10
"""Difference in Dice from the best view at which a view is called weak."""


DEAD_SHARE = 1e-4
"""Share of foreground voxels below which a view finds nothing."""


HEALTH_ROWS = 5
"""Last rows over which health is averaged: a single batch may contain no foreground."""


TAUGHT = "Its pseudo-labels teach the other views; more pretrain_steps{} usually help."


MEANING = {
    "teacher": "It is the average of past students and makes the targets on unlabelled scans. "
    "It lags behind a student that still learns fast; more steps or a lower method.ema_decay help.",
    "student": "The student is the result; the teacher is its average over past steps. The last "
    "steps made the student worse, or its learning rate is still high; a schedule that lowers "
    "training.learning_rate helps.",
}
"""Meaning of a weak view that is not one of several that teach each other."""


Help = Literal["rose", "hurt", "unclear", "unknown", "none"]


@dataclass(frozen=True)
class Unlabelled:
    """Effect of the unlabelled stage on the Dice during training, as a word and a sentence."""

    effect: Help
    text: str


def result_sentences(evaluation: Evaluation) -> list[str]:
    """Return sentences on the mean, worst case, distance and failures of an evaluation."""
    summary = evaluation.summary
    mean = table(summary.get("mean"))
    dice, hd95 = table(mean.get("dice")), table(mean.get("hd95"))
    low, high = bounds(dice)
    span = f" (95 % interval {interval(low, high)})" if interval(low, high) else ""
    cases = len(summary.get("cases") or evaluation.cases)
    sentences = [
        f"On {count(cases, f'{evaluation.split} case')} "
        f"the mean Dice is {in_text(dice.get('mean'))}{span}."
    ]
    scored = [case for case in evaluation.cases if case.mean("dice") is not None]
    if len(scored) > 1 and scored[-1].mean("dice"):
        middle, worst = scored[len(scored) // 2], scored[0]
        half = f"Half of the cases reach {in_text(middle.mean('dice'))} or more"
        sentences.append(f"{half}; the worst, {worst.case}, has {in_text(worst.mean('dice'))}.")
    if number(hd95.get("mean")) is not None:
        unit = str(summary.get("unit") or "voxel").replace("voxel", "voxels")
        sentences.append(
            f"{METRICS['hd95']}, the 95th percentile of the surface distances, "
            f"is {distance(hd95['mean'])} {unit} on average."
        )
    return sentences + _failures(summary)


def _failures(summary: Mapping[str, Any]) -> list[str]:
    found: dict[str, list[str]] = {"missed": [], "spurious": []}
    for entry in summary.get("empty") or []:
        names = found.get(table(entry).get("kind", ""))
        if names is not None and str(entry.get("case")) not in names:
            names.append(str(entry.get("case")))
    sentences = []
    if found["missed"]:
        sentences.append(
            f"In {count(len(found['missed']), 'case')} a structure was missed altogether: "
            f"{listed(found['missed'])}."
        )
    if found["spurious"]:
        sentences.append(
            f"In {count(len(found['spurious']), 'case')} "
            f"a structure was found where there is none: {listed(found['spurious'])}."
        )
    return sentences


def unlabelled_effect(run: RunContent, compared: bool = False) -> Unlabelled:
    """Compare the Dice of the labelled-only stage with the result's, both scored during training.

    Unlabelled scans can hurt; the text says so if they did.

    compared: True if the page compares the run with labelled-only ones, which separate the effect
    of the scans from that of longer training.
    """
    found, waited = _effect(run, compared), waiting(run)
    return Unlabelled(found.effect, f"{waited} {found.text}") if waited else found


def waiting(run: RunContent) -> str:
    """Return why the labelled stage ran beyond its steps, and if it ended; "" if it did not."""
    looks = run.journal.of("readiness")
    late = [row for row in looks if not row.get("ready")]
    if not late:
        return ""
    asked = (
        f"each network has a Dice of {in_text(looks[-1].get('needed'))} or more "
        "in each class on labelled crops"
    )
    if looks[-1].get("ready"):
        step, meant = looks[-1].get("step", 0), late[0].get("step", 0)
        return (
            f"The labelled stage took {step:,} steps instead of {meant:,}: it runs until {asked}."
        )
    outcome = (
        "This did not happen, so the unlabelled scans were not used"
        if run.journal.finished
        else "This has not happened yet"
    )
    return f"The labelled stage runs until {asked}. {outcome}: {late[-1].get('text', '')}."


def _effect(run: RunContent, compared: bool) -> Unlabelled:
    stages = [row for row in run.journal.of("stage") if number(row.get("steps"))]
    learning = [row for row in stages if uses_unlabelled(row, run)]
    if stages and not learning:
        pending = run.option("method", "train_steps") and not run.journal.finished
        text = (
            "The stage with unlabelled scans has not begun."
            if pending
            else "This run trained on labelled scans only."
        )
        return Unlabelled("none", text)
    validation = [
        row for row in run.journal.of("validation") if number(row.get("mean")) is not None
    ]
    names = {row.get("stage") for row in learning}
    before = [row for row in validation if row.get("stage") not in names]
    after = [row for row in validation if row.get("stage") in names]
    if not before or not after:
        if compared:
            return Unlabelled(
                "unknown",
                "The comparison at the top of this page shows whether the unlabelled scans helped.",
            )
        return Unlabelled(
            "unknown",
            _unknown(run.scored_in_training, bool(validation), len(stages) > len(learning)),
        )
    return _compared(
        before,
        after,
        run.option("training", "selection") or "last",
        run.scored_in_training,
        compared,
    )


def uses_unlabelled(stage: Row, run: RunContent) -> bool:
    """True if a stage of the journal trains on unlabelled scans, by its row or else the recipe."""
    if isinstance(stage.get("unlabelled"), bool):
        return bool(stage["unlabelled"])
    if (
        run.option("method", "name") == "supervised"
        or run.option("training", "unlabelled_batch") == 0
    ):
        return False
    return bool(number(stage.get("index"))) or not number(run.option("method", "pretrain_steps"))


def _unknown(split: str, scored: bool, staged: bool) -> str:
    why = (
        f"its stages were not both scored on the {split} cases"
        if scored
        else f"no {split} cases were scored during training"
    )
    if scored and not staged:
        why = "this method has no labelled-only stage to compare with"
    return (
        f"This run alone cannot show whether the unlabelled scans helped: {why}. "
        "Compare it with a supervised run of the same steps (crossview compare). "
        "A few validation cases (data.validation) would give a hint."
    )


def _compared(
    before: Sequence[Row], after: Sequence[Row], selection: str, split: str, compared: bool
) -> Unlabelled:
    start, start_best = before[-1], max(before, key=lambda row: row["mean"])
    last, best = after[-1], max(after, key=lambda row: row["mean"])
    if max(best["mean"], start_best["mean"]) < FOUND:
        return Unlabelled(
            "unknown",
            f"Neither stage found anything in the {split} cases, so the effect of the unlabelled "
            "scans is unknown.",
        )
    start, result = (start, last) if selection == "last" else (start_best, best)
    change = result["mean"] - start["mean"]
    figures = (
        f"{split} Dice was {in_text(start['mean'])} at {_place(start, before)} "
        "of the labelled-only stage"
    )
    figures += (
        f" (at its best {in_text(start_best['mean'])})"
        if start_best["mean"] - start["mean"] >= CLEAR / 2
        else ""
    )
    figures += (
        f" and is {in_text(result['mean'])} at {_place(result, after)} "
        "of the stage with unlabelled scans"
    )
    fade = (
        f", after {in_text(best['mean'])} at step {best.get('total_step', 0):,}"
        if result["mean"] <= best["mean"] - 2 * CLEAR
        else ""
    )
    teller = (
        "the comparison at the top of this page"
        if compared
        else "a supervised run with the same number of steps"
    )
    how = "" if compared else " (crossview compare)"
    caveat = (
        f"The second stage adds steps as well as scans; {teller}{how} shows the effect of each."
    )
    tell = f"The cause may be the scans or the longer training; {teller}{how} shows which."
    if change <= -CLEAR:
        advice = (
            "Check the targets in the batch pictures; "
            "fewer train_steps, less dropout or a lower unlabelled_weight may help."
        )
        return Unlabelled(
            "hurt",
            f"The unlabelled scans did harm (Dice fell by {percent(-change)} points): "
            f"{figures}{fade}. {advice}",
        )
    if change >= CLEAR:
        return Unlabelled(
            "rose",
            f"With the unlabelled scans Dice rose by {percent(change)} points: "
            f"{figures}{fade}. {tell}",
        )
    return Unlabelled(
        "unclear", f"The unlabelled scans made no clear difference: {figures}{fade}. {caveat}"
    )


def _place(row: Row, rows: Sequence[Row]) -> str:
    return "the end" if row is rows[-1] else f"step {row.get('total_step', 0):,}, the best"


def cautions(run: RunContent) -> list[tuple[str, str]]:
    """Return cautions about the numbers as (tone, text), with tone "bad" or "warn"."""
    optimistic = [
        _picked(evaluation) for evaluation in run.evaluations if is_optimistic(evaluation.summary)
    ]
    if not run.evaluations and run.option("training", "selection") == "test":
        optimistic.append(
            "This run selects its checkpoint on the test cases: its scores will be optimistic."
        )
    doubtful = [
        text
        for evaluation in run.evaluations
        for text in (_stale(evaluation, run), _part(evaluation))
        if text
    ]
    views = [*_weak_views(run), *_dead_views(run)]
    return [("bad", text) for text in [*optimistic, *doubtful]] + [("warn", text) for text in views]


def _picked(evaluation: Evaluation) -> str:
    """Return the caution about an optimistic evaluation."""
    selection = str(evaluation.summary.get("selection", evaluation.split))
    if selection == evaluation.split:
        return (
            f"Selected on {selection}, optimistic: the checkpoint was selected on the same cases "
            f"that are scored here ({selection})."
        )
    return (
        f"Selected on {selection}, optimistic: the checkpoint was selected on the {selection} "
        f"cases; these are the {evaluation.split} cases."
    )


def _stale(evaluation: Evaluation, run: RunContent) -> str:
    """Return the caution about scores that are older than the run's last checkpoint."""
    step = stale_step(evaluation, run)
    if step is None:
        return ""
    again = f"evaluate it again ({run.folder.command('evaluate', '--split', evaluation.split)})"
    return (
        f"The {evaluation.split} scores are from step {step:,}, but the run is now at step "
        f"{run.journal.total_step:,}: {again}."
    )


def stale_step(evaluation: Evaluation, run: RunContent) -> int | None:
    """Return the step of an evaluation of the last checkpoint if the run has continued since."""
    step, now = number(evaluation.summary.get("step")), run.journal.total_step
    if evaluation.summary.get("checkpoint") != "last" or step is None or not now or step == now:
        return None
    return int(step)


def _part(evaluation: Evaluation) -> str:
    """Return the caution about an evaluation of only a part of the split."""
    if not evaluation.summary.get("partial"):
        return ""
    cases = count(
        len(evaluation.summary.get("cases") or evaluation.cases), f"{evaluation.split} case"
    )
    return (
        f"This is a partial evaluation, of the first {cases} only: "
        "it says little about the whole split."
    )


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
        dice = {
            name: number(table(view).get("mean")) for name, view in table(rows[-1]["views"]).items()
        }
        where = f"the {run.scored_in_training} cases (last scored in training)"
        stage = str(rows[-1].get("stage"))
    elif run.evaluations:
        views = table(run.evaluations[0].summary.get("views"))
        dice = {
            name: number(table(table(table(view).get("mean")).get("dice")).get("mean"))
            for name, view in views.items()
        }
        where = f"the {run.evaluations[0].split} cases"
        stage = str(next((row.get("stage") for row in reversed(run.journal.of("stage"))), ""))
    else:
        return []
    known = {
        name: value
        for name, value in dice.items()
        if value is not None and not is_idle(name, stage, run)
    }
    if len(known) < 2:
        return []
    best = max(known, key=lambda name: known[name])
    less = " or less network.dropout" if number(run.option("network", "dropout")) else ""
    return [
        f"{name} is {'dead' if value < FOUND else 'weak'}: Dice {in_text(value)} on {where}; "
        f"{best} has {in_text(known[best])}. "
        f"{MEANING.get(name, TAUGHT.format(less))}"
        for name, value in known.items()
        if known[best] - value >= WEAK
    ]


def _dead_views(run: RunContent) -> list[str]:
    """Return cautions about views whose pseudo-labels have almost no foreground at the end."""
    rows = [table(row.get("health")) for row in run.journal.of("step") if row.get("health")][
        -HEALTH_ROWS:
    ]
    if not rows:
        return []
    shares: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            if ("share" in name or "foreground" in name) and number(value) is not None:
                shares.setdefault(name, []).append(float(value))
    means = {name: sum(values) / len(values) for name, values in shares.items()}
    return [
        f"{name} is {100 * mean:.3f} % of the voxels at the end: "
        "this network finds almost nothing in the unlabelled scans."
        for name, mean in means.items()
        if mean < DEAD_SHARE
    ]


def bounds(scores: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return both ends of a score's interval; None, None if it has none."""
    found = scores.get("ci95")
    return (
        (found[0], found[1])
        if isinstance(found, list | tuple) and len(found) == 2
        else (None, None)
    )
