"""Effect of the unlabelled scans on the Dice during training, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from crossview.core.journal import Row
from crossview.core.text import in_text, number, percent
from crossview.reporting.content import RunContent

FOUND = 0.02
"""Dice during training below which a stage has found nothing."""

CLEAR = 0.01
"""Smallest change of Dice during training that is called help or harm."""

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
    ended = "ready" if looks[-1].get("ready") else "never" if run.journal.finished else "not yet"
    return WAITED[ended].format(
        asked=ASKED.format(needed=in_text(looks[-1].get("needed"))),
        step=looks[-1].get("step", 0),
        planned=late[0].get("step", 0),
        text=late[-1].get("text", ""),
    )


def _effect(run: RunContent, compared: bool) -> Unlabelled:
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


def _change(
    before: list[Scored], after: list[Scored], run: RunContent, compared: bool
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
