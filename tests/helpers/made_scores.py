"""Scores of made cases, and their summary."""

import math

from crossview.evaluation.metrics import Measures
from crossview.evaluation.scores import Score
from crossview.evaluation.summary import summarise

HEADER = {
    "split": "test",
    "checkpoint": "last",
    "step": 300,
    "selection": "last",
    "method": "cml",
    "variant": "corrected",
    "setting": "demo",
    "seed": 7,
    "clean_up": "largest component",
}
NAN = math.nan
MISSED = Measures(0, 0, NAN, NAN, NAN, 50.0, "missed")
SPURIOUS = Measures(0, 0, NAN, NAN, NAN, 50.0, "spurious")
BOTH_EMPTY = Measures(NAN, NAN, NAN, NAN, NAN, 50.0, "both_empty")


def good(dice, hd95=2.0):
    return Measures(dice, dice / (2 - dice), hd95, hd95 / 2, hd95 / 3, 50.0)


def scores(of_case, view=""):
    """Scores of cases with one patient each, from {case: [measures of class 1, class 2, ...]}."""
    return [
        Score(case, f"patient {case}", view, label_class, measures)
        for case, of_classes in of_case.items()
        for label_class, measures in enumerate(of_classes, start=1)
    ]


def summary_of(all_scores, **header):
    classes = max(score.label_class for score in all_scores)
    names = ["background", *(f"organ {index}" for index in range(1, classes + 1))]
    return summarise(
        all_scores, class_names=names, unit="voxel", header={**HEADER, **header}, seconds=1.5
    )
