"""Verdict on a run in plain words: result, effect of the unlabelled scans, and cautions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from crossview.core.text import count, distance, in_text, interval, listed, number, percent
from crossview.evaluation.scores import evaluate_again
from crossview.reporting.content import Evaluation, Row, RunFolder
from crossview.reporting.results import Score, scores_of
from crossview.reporting.words import table

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


ASKED = "each network has a Dice of {needed} or more in each class on labelled crops"


WAITED = {
    "ready": "The labelled stage took {step:,} steps instead of {planned:,}: "
    "it runs until {asked}.",
    "never": "The labelled stage runs until {asked}. "
    "This did not happen, so the unlabelled scans were not used: {text}.",
    "not yet": "The labelled stage runs until {asked}. This has not happened yet: {text}.",
}


ALONE = (
    "This run alone cannot show whether the unlabelled scans helped: {why}. "
    "Compare it with a supervised run of the same steps (crossview compare). "
    "A few validation cases (data.validation) would give a hint."
)


COMPARED = "The comparison at the top of this page shows whether the unlabelled scans helped."


EMPTY = (
    "Neither stage found anything in the {split} cases, so the effect of the unlabelled scans is "
    "unknown."
)


FIGURES = (
    "{split} Dice was {start} at {start_at} of the labelled-only stage{peak} "
    "and is {result} at {result_at} of the stage with unlabelled scans{fade}"
)


EFFECTS = {
    "hurt": "The unlabelled scans did harm (Dice fell by {points} points): {figures}. "
    "Check the targets in the batch pictures; "
    "fewer train_steps, less dropout or a lower unlabelled_weight may help.",
    "rose": "With the unlabelled scans Dice rose by {points} points: {figures}. "
    "The cause may be the scans or the longer training; {judge} shows which.",
    "unclear": "The unlabelled scans made no clear difference: {figures}. "
    "The second stage adds steps as well as scans; {judge} shows the effect of each.",
}


Help = Literal["rose", "hurt", "unclear", "unknown", "none"]


@dataclass(frozen=True)
class Unlabelled:
    """Effect of the unlabelled stage on the Dice during training, as a word and a sentence."""

    effect: Help
    text: str


@dataclass(frozen=True)
class Scored:
    """Mean Dice during training, after ``step`` steps of the run."""

    step: int
    dice: float


def result_sentences(evaluation: Evaluation) -> list[str]:
    """Return sentences on the mean, worst case, distance and failures of an evaluation."""
    summary = evaluation.summary
    mean = scores_of(summary.get("mean"))
    span = mean["dice"].span
    within = f" (95 % interval {interval(*span)})" if span else ""
    cases = count(len(summary.get("cases") or evaluation.cases), f"{evaluation.split} case")
    sentences = [f"On {cases} the mean Dice is {in_text(mean['dice'].mean)}{within}."]
    scored = [(case, dice) for case in evaluation.cases if (dice := case.mean("dice")) is not None]
    if len(scored) > 1 and scored[-1][1]:
        (worst, lowest), (_, middle) = scored[0], scored[len(scored) // 2]
        half = f"Half of the cases reach {in_text(middle)} or more"
        sentences.append(f"{half}; the worst, {worst.case}, has {in_text(lowest)}.")
    if mean["hd95"].mean is not None:
        unit = str(summary.get("unit") or "voxel").replace("voxel", "voxels")
        sentences.append(
            "HD95, the 95th percentile of the surface distances, "
            f"is {distance(mean['hd95'].mean)} {unit} on average."
        )
    return sentences + _failures(summary)


def _failures(summary: Mapping[str, Any]) -> list[str]:
    entries = [table(entry) for entry in summary.get("empty") or []]
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


def unlabelled_effect(run: RunFolder, compared: bool = False) -> Unlabelled:
    """Compare the Dice of the labelled-only stage with the result's, both scored during training.

    Unlabelled scans can hurt; the text says so if they did.

    compared: True if the page compares the run with labelled-only ones, which separate the effect
    of the scans from that of longer training.
    """
    found, waited = _effect(run, compared), waiting(run)
    return Unlabelled(found.effect, f"{waited} {found.text}") if waited else found


def waiting(run: RunFolder) -> str:
    """Return why the labelled stage ran beyond its steps, and if it ended; "" if it did not."""
    looks = run.journal.of("readiness")
    late = [row for row in looks if not row.get("ready")]
    if not late:
        return ""
    ended = "ready" if looks[-1].get("ready") else "never" if run.journal.finished else "not yet"
    return WAITED[ended].format(
        asked=ASKED.format(needed=in_text(looks[-1].get("needed"))),
        step=looks[-1].get("step", 0),
        planned=late[0].get("step", 0),
        text=late[-1].get("text", ""),
    )


def _effect(run: RunFolder, compared: bool) -> Unlabelled:
    stages = [row for row in run.journal.of("stage") if number(row.get("steps"))]
    learning = [row for row in stages if uses_unlabelled(row, run)]
    if stages and not learning:
        pending = run.option("method", "train_steps") and not run.journal.finished
        return Unlabelled(
            "none",
            "The stage with unlabelled scans has not begun."
            if pending
            else "This run trained on labelled scans only.",
        )
    names = {row.get("stage") for row in learning}
    before: list[Scored] = []
    after: list[Scored] = []
    for row in run.journal.of("validation"):
        if (dice := number(row.get("mean"))) is not None:
            scored = Scored(int(number(row.get("total_step")) or 0), dice)
            (after if row.get("stage") in names else before).append(scored)
    if before and after:
        return _change(before, after, run, compared)
    if compared:
        return Unlabelled("unknown", COMPARED)
    split = run.scored_in_training
    if not before and not after:
        why = f"no {split} cases were scored during training"
    elif len(stages) == len(learning):
        why = "this method has no labelled-only stage to compare with"
    else:
        why = f"its stages were not both scored on the {split} cases"
    return Unlabelled("unknown", ALONE.format(why=why))


def uses_unlabelled(stage: Row, run: RunFolder) -> bool:
    """True if a stage of the journal trains on unlabelled scans, by its row or else the recipe."""
    if isinstance(stage.get("unlabelled"), bool):
        return bool(stage["unlabelled"])
    if (
        run.option("method", "name") == "supervised"
        or run.option("training", "unlabelled_batch") == 0
    ):
        return False
    return bool(number(stage.get("index"))) or not number(run.option("method", "pretrain_steps"))


def _change(
    before: list[Scored], after: list[Scored], run: RunFolder, compared: bool
) -> Unlabelled:
    """Compare the stages at their ends, or at their best where the run selects its checkpoint."""
    split = run.scored_in_training
    peak, best = (max(stage, key=lambda scored: scored.dice) for stage in (before, after))
    if max(peak.dice, best.dice) < FOUND:
        return Unlabelled("unknown", EMPTY.format(split=split))
    last = (run.option("training", "selection") or "last") == "last"
    start, result = (before[-1], after[-1]) if last else (peak, best)

    def place(scored: Scored, stage: list[Scored]) -> str:
        return "the end" if scored is stage[-1] else f"step {scored.step:,}, the best"

    higher, faded = peak.dice - start.dice >= CLEAR / 2, result.dice <= best.dice - 2 * CLEAR
    figures = FIGURES.format(
        split=split,
        start=in_text(start.dice),
        start_at=place(start, before),
        peak=f" (at its best {in_text(peak.dice)})" if higher else "",
        result=in_text(result.dice),
        result_at=place(result, after),
        fade=f", after {in_text(best.dice)} at step {best.step:,}" if faded else "",
    )
    change = result.dice - start.dice
    effect: Help = "hurt" if change <= -CLEAR else "rose" if change >= CLEAR else "unclear"
    judge = (
        "the comparison at the top of this page"
        if compared
        else "a supervised run with the same number of steps (crossview compare)"
    )
    text = EFFECTS[effect].format(points=percent(abs(change)), figures=figures, judge=judge)
    return Unlabelled(effect, text)


def cautions(run: RunFolder) -> list[tuple[str, str]]:
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


def _stale(evaluation: Evaluation, run: RunFolder) -> list[str]:
    """Return the caution about scores that are older than the run's last checkpoint."""
    step = stale_step(evaluation, run)
    if step is None:
        return []
    return [
        f"The {evaluation.split} scores are from step {step:,}, "
        f"but the run is now at step {run.journal.total_step:,}: "
        f"evaluate it again ({evaluate_again(run.path, evaluation.split)})."
    ]


def stale_step(evaluation: Evaluation, run: RunFolder) -> int | None:
    """Return the step of an evaluation of the last checkpoint if the run has continued since."""
    step, now = number(evaluation.summary.get("step")), run.journal.total_step
    if evaluation.summary.get("checkpoint") != "last" or step is None or not now or step == now:
        return None
    return int(step)


def _partial(evaluation: Evaluation) -> list[str]:
    """Return the caution about an evaluation of only a part of the split."""
    if not evaluation.summary.get("partial"):
        return []
    number_of = len(evaluation.summary.get("cases") or evaluation.cases)
    return [
        f"This is a partial evaluation, of the first "
        f"{count(number_of, f'{evaluation.split} case')} only: "
        "it says little about the whole split."
    ]


def is_optimistic(summary: Mapping[str, Any]) -> bool:
    """True if the checkpoint was selected on the cases it is scored on, or on the test cases."""
    return bool(summary.get("optimistic")) or summary.get("selection") == "test"


def is_idle(view: str, stage: str, run: RunFolder) -> bool:
    """True if a view takes no part in a stage.

    This is an averaged teacher in a stage without unlabelled scans (BCP's first stage).
    """
    row = next((row for row in run.journal.of("stage") if row.get("stage") == stage), None)
    return view == "teacher" and row is not None and not uses_unlabelled(row, run)


def _weak_views(run: RunFolder) -> list[str]:
    """Return cautions about views far below the best, as last scored in training or evaluated."""
    rows = [row for row in run.journal.of("validation") if row.get("views")]
    if rows:
        views = {name: Score.of(view) for name, view in table(rows[-1]["views"]).items()}
        where = f"the {run.scored_in_training} cases (last scored in training)"
        stage = str(rows[-1].get("stage"))
    elif run.evaluations:
        views = {
            name: scores_of(table(view).get("mean"))["dice"]
            for name, view in table(run.evaluations[0].summary.get("views")).items()
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


def _dead_views(run: RunFolder) -> list[str]:
    """Return cautions about views whose pseudo-labels have almost no foreground at the end."""
    rows = [table(row.get("health")) for row in run.journal.of("step") if row.get("health")]
    shares: dict[str, list[float]] = {}
    for row in rows[-HEALTH_ROWS:]:
        for name, value in row.items():
            found = number(value)
            if ("share" in name or "foreground" in name) and found is not None:
                shares.setdefault(name, []).append(found)
    return [
        f"{name} is {100 * share:.3f} % of the voxels at the end: "
        "this network finds almost nothing in the unlabelled scans."
        for name, values in shares.items()
        if (share := fmean(values)) < DEAD_SHARE
    ]
