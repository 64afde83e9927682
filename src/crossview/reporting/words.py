"""Names of methods, scores and selections as a report spells them."""

from __future__ import annotations

from typing import Any

from crossview.core.journal import LABELLED_STAGE_ONLY
from crossview.core.text import distance, percent

METHODS = {
    "cml": "CML",
    "bcp": "BCP",
    "ua_mt": "UA-MT",
    "urpc": "URPC",
    "ss_net": "SS-Net",
    "mean_teacher": "Mean Teacher",
    "cps": "CPS",
    "supervised": "Supervised",
}

SELECTIONS = {
    "last": "weights of the last step",
    "validation": "selected on validation cases",
    "test": "selected on test, optimistic",
}

OVERLAPS = ("dice", "jaccard")

METRICS = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hd95": "HD95",
    "asd": "ASD",
    "assd": "ASSD",
    "hd95_penalised": "HD95, misses penalised",
}


def metric(name: str, value: Any) -> str:
    """Format a score: overlaps in per cent, distances unchanged."""
    return percent(value) if name in OVERLAPS else distance(value)


def method_name(name: str, labelled_stage_only: bool = False) -> str:
    """Return a method as a heading spells it, and its stage if the run had only that one."""
    spelt = METHODS.get(name, name)
    return f"{spelt} ({LABELLED_STAGE_ONLY})" if labelled_stage_only else spelt


def row_name(label: str) -> str:
    """Spell a label's method as usual: "cml labelled only" -> "CML labelled only"."""
    method, space, rest = label.partition(" ")
    bare = method.rstrip(",")
    return method_name(bare) + method[len(bare) :] + space + rest
