"""What a run's figures say in plain words: the result, whether the unlabelled scans helped, and what to be wary of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crossview.evaluation.scores import evaluate_again
from crossview.reporting.folder import Evaluation, Row, RunFolder
from crossview.reporting.words import (
    METRICS,
    count,
    distance,
    in_text,
    interval,
    listed,
    number,
    percent,
    table,
)

FOUND = 0.02
"""A stage whose Dice during training is below this has found nothing."""
CLEAR = 0.01
"""A smaller change of Dice during training than this is not called help or harm."""
WEAK = 0.10
"""A view this far below the best one is named."""
DEAD_SHARE = 1e-4
"""A view that finds less foreground than this share of voxels finds nothing."""
HEALTH_ROWS = 5
"""Health is averaged over so many of the last rows: a single batch may hold no foreground."""

TAUGHT = "Its pseudo-labels teach the other views; more pretrain_steps{} usually wake it."
MEANING = {
    "teacher": "It is the average of past students and makes the targets on unlabelled scans: it lags behind a student that still learns "
    "fast, which more steps or a lower method.ema_decay mend.",
    "student": "The student is the result, the teacher its average over past steps: the last steps threw it back, or its learning rate is "
    "still high; a schedule that lowers training.learning_rate steadies it.",
}
"""What it means that a view is weak, where it is not one of several that teach each other."""

Help = Literal["rose", "hurt", "unclear", "unknown", "none"]


@dataclass(frozen=True)
class Unlabelled:
    """What the unlabelled stage did to the Dice during training, as a word and as a sentence."""

    effect: Help
    text: str


def result_sentences(evaluation: Evaluation) -> list[str]:
    """The mean, the worst case, the distance and the failures of an evaluation."""
    summary = evaluation.summary
    mean = table(summary.get("mean"))
    dice, hd95 = table(mean.get("dice")), table(mean.get("hd95"))
    low, high = bounds(dice)
    span = f" (95 % interval {interval(low, high)})" if interval(low, high) else ""
    cases = len(summary.get("cases") or evaluation.cases)
    sentences = [
        f"On {count(cases, f'{evaluation.split} case')} the mean Dice is {in_text(dice.get('mean'))}{span}."
    ]
    scored = [case for case in evaluation.cases if case.mean("dice") is not None]
    if len(scored) > 1 and scored[-1].mean("dice"):
        middle, worst = scored[len(scored) // 2], scored[0]
        half = f"Half of the cases reach {in_text(middle.mean('dice'))} or more"
        sentences.append(f"{half}; the worst, {worst.case}, has {in_text(worst.mean('dice'))}.")
    if number(hd95.get("mean")) is not None:
        unit = str(summary.get("unit") or "voxel").replace("voxel", "voxels")
        sentences.append(
            f"{METRICS['hd95']}, below which 95 % of the surface distances lie, is {distance(hd95['mean'])} {unit} on average."
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
            f"A structure was missed altogether in {count(len(found['missed']), 'case')}: {listed(found['missed'])}."
        )
    if found["spurious"]:
        sentences.append(
            f"A structure was found where there is none in {count(len(found['spurious']), 'case')}: {listed(found['spurious'])}."
        )
    return sentences


def unlabelled_effect(run: RunFolder, compared: bool = False) -> Unlabelled:
    """Compare the labelled-only stage's Dice with the result's, both scored during training. It can hurt, and then this says so.

    compared: the page sets the run beside labelled-only ones, which tell what this run alone does not.
    """
    found, waited = _effect(run, compared), waiting(run)
    return Unlabelled(found.effect, f"{waited} {found.text}") if waited else found


def waiting(run: RunFolder) -> str:
    """For whom the labelled stage went on beyond its steps, and whether that came to an end; empty where it did not."""
    looks = run.journal.of("readiness")
    late = [row for row in looks if not row.get("ready")]
    if not late:
        return ""
    asked = f"each network has a Dice of {in_text(looks[-1].get('needed'))} or more in each class on labelled crops"
    if looks[-1].get("ready"):
        step, meant = looks[-1].get("step", 0), late[0].get("step", 0)
        return f"The labelled stage took {step:,} steps instead of {meant:,}: it goes on until {asked}."
    outcome = (
        "That did not come about, so the unlabelled scans were not used"
        if run.journal.finished
        else "That has not come about yet"
    )
    return f"The labelled stage goes on until {asked}. {outcome}: {late[-1].get('text', '')}."


def _effect(run: RunFolder, compared: bool) -> Unlabelled:
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
                "Whether the unlabelled scans helped is told by the comparison at the top of this page.",
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


def uses_unlabelled(stage: Row, run: RunFolder) -> bool:
    """Whether a stage of the journal trains on unlabelled scans: as its row says, else as the recipe lets one conclude."""
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
        f"not both of its stages were scored on the {split} cases"
        if scored
        else f"no {split} cases were scored during training"
    )
    if scored and not staged:
        why = "this method has no labelled-only stage to compare with"
    return (
        f"Whether the unlabelled scans helped can't be told from this run: {why}. "
        "A supervised run of the same steps answers it (crossview compare), or some validation cases (data.validation) give a hint."
    )


def _compared(
    before: Sequence[Row], after: Sequence[Row], selection: str, split: str, compared: bool
) -> Unlabelled:
    start, start_best = before[-1], max(before, key=lambda row: row["mean"])
    last, best = after[-1], max(after, key=lambda row: row["mean"])
    if max(best["mean"], start_best["mean"]) < FOUND:
        return Unlabelled(
            "unknown",
            f"Neither stage found anything in the {split} cases, so what the unlabelled scans did can't be told.",
        )
    start, result = (start, last) if selection == "last" else (start_best, best)
    change = result["mean"] - start["mean"]
    figures = f"{split} Dice was {in_text(start['mean'])} at {_place(start, before)} of the labelled-only stage"
    figures += (
        f" (at its best {in_text(start_best['mean'])})"
        if start_best["mean"] - start["mean"] >= CLEAR / 2
        else ""
    )
    figures += f" and is {in_text(result['mean'])} at {_place(result, after)} of the stage with unlabelled scans"
    fade = (
        f", after {in_text(best['mean'])} at step {best.get('total_step', 0):,}"
        if result["mean"] <= best["mean"] - 2 * CLEAR
        else ""
    )
    teller = (
        "the comparison at the top of this page"
        if compared
        else "a supervised run of as many steps"
    )
    how = "" if compared else " (crossview compare)"
    caveat = f"The second stage adds steps as well as scans: {teller} tells the two apart{how}."
    tell = f"Whether the scans did it or the longer training, {teller} tells{how}."
    if change <= -CLEAR:
        advice = "Look at the targets in the pictures of batches; fewer train_steps, less dropout or a lower unlabelled_weight may help."
        return Unlabelled(
            "hurt",
            f"The unlabelled scans did harm, {percent(-change)} points of Dice: {figures}{fade}. {advice}",
        )
    if change >= CLEAR:
        return Unlabelled(
            "rose",
            f"With the unlabelled scans Dice rose by {percent(change)} points: {figures}{fade}. {tell}",
        )
    return Unlabelled(
        "unclear", f"The unlabelled scans made no clear difference: {figures}{fade}. {caveat}"
    )


def _place(row: Row, rows: Sequence[Row]) -> str:
    return "the end" if row is rows[-1] else f"step {row.get('total_step', 0):,}, the best"


def cautions(run: RunFolder) -> list[tuple[str, str]]:
    """What a reader must know before believing the numbers: (tone, text), tone "bad" or "warn"."""
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
    """On which cases the checkpoint of an optimistic evaluation was picked."""
    selection = str(evaluation.summary.get("selection", evaluation.split))
    if selection == evaluation.split:
        return f"Selected on {selection}, optimistic: the checkpoint was picked on the very cases that are scored here ({selection})."
    return f"Selected on {selection}, optimistic: the checkpoint was picked on the {selection} cases; these are the {evaluation.split} cases."


def _stale(evaluation: Evaluation, run: RunFolder) -> str:
    """Scores of the last checkpoint from before the run went on."""
    step = stale_step(evaluation, run)
    if step is None:
        return ""
    again = f"evaluate it again ({evaluate_again(run.path, evaluation.split)})"
    return f"The {evaluation.split} scores are scores of step {step:,}; the run stands at step {run.journal.total_step:,}: {again}."


def stale_step(evaluation: Evaluation, run: RunFolder) -> int | None:
    """The step of an evaluation of the last checkpoint, if the run has gone on since; else None."""
    step, now = number(evaluation.summary.get("step")), run.journal.total_step
    if evaluation.summary.get("checkpoint") != "last" or step is None or not now or step == now:
        return None
    return int(step)


def _part(evaluation: Evaluation) -> str:
    """An evaluation of fewer cases than the split holds."""
    if not evaluation.summary.get("partial"):
        return ""
    cases = count(
        len(evaluation.summary.get("cases") or evaluation.cases), f"{evaluation.split} case"
    )
    return (
        f"A partial evaluation, made of the first {cases} only: it says little of the whole split."
    )


def is_optimistic(summary: Mapping[str, Any]) -> bool:
    """Whether a checkpoint was picked on the cases that it is scored on, or on the test cases."""
    return bool(summary.get("optimistic")) or summary.get("selection") == "test"


def is_idle(view: str, stage: str, run: RunFolder) -> bool:
    """Whether a view takes no part in a stage: an averaged teacher where no unlabelled scans are to be taught (BCP's first stage)."""
    row = next((row for row in run.journal.of("stage") if row.get("stage") == stage), None)
    return view == "teacher" and row is not None and not uses_unlabelled(row, run)


def _weak_views(run: RunFolder) -> list[str]:
    """Views far below the best one, in the last scoring during training, else in the first evaluation."""
    rows = [row for row in run.journal.of("validation") if row.get("views")]
    if rows:
        dice = {
            name: number(table(view).get("mean")) for name, view in table(rows[-1]["views"]).items()
        }
        where = f"the {run.scored_in_training} cases, when last scored in training"
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
        f"{name} is {'dead' if value < FOUND else 'weak'}: Dice {in_text(value)} on {where}, where {best} has {in_text(known[best])}. "
        f"{MEANING.get(name, TAUGHT.format(less))}"
        for name, value in known.items()
        if known[best] - value >= WEAK
    ]


def _dead_views(run: RunFolder) -> list[str]:
    """Views whose share of foreground in their pseudo-labels is next to nothing at the end."""
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
        f"{name} is {100 * mean:.3f} % of the voxels at the end: this network finds next to nothing in the unlabelled scans."
        for name, mean in means.items()
        if mean < DEAD_SHARE
    ]


def bounds(scores: Mapping[str, Any]) -> tuple[Any, Any]:
    """The two ends of a score's interval, None where it has none."""
    found = scores.get("ci95")
    return (
        (found[0], found[1])
        if isinstance(found, list | tuple) and len(found) == 2
        else (None, None)
    )
