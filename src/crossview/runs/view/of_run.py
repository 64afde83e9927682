"""Cases of a run for the viewer, each predicted when it is first shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossview.core.errors import Problem, fail, nearest, raise_all
from crossview.core.text import percent
from crossview.data.case import Case, Splits
from crossview.data.preprocess import Preprocessing
from crossview.evaluation.patients import cases_of
from crossview.inference.items import CaseItem
from crossview.inference.predict import Predictor
from crossview.reporting.content import CaseScores, read_content
from crossview.reporting.viewer.gallery import Gallery, Listed, Waiting
from crossview.reporting.viewer.grid import Grid
from crossview.reporting.viewer.layers import Opened, opened
from crossview.reporting.words import method_name
from crossview.runs.prepare import find_splits, preprocessing_of
from crossview.runs.run import Run, make_predictor, stored_precision
from crossview.runs.weights import load_method
from crossview.training.device import find_device, set_kernels

SPLITS = ("test", "validation", "unlabelled", "labelled")
"""Splits that can be shown. By default the first that has cases."""

ORDERS = {
    "scores": "worst Dice first",
    "doubt": "most doubtful first",
    "none": "by name",
    "named": "as named",
}


@dataclass(frozen=True)
class Opener:
    """Reads and predicts cases of one run."""

    predictor: Predictor
    preprocessing: Preprocessing
    splits: Splits
    slice_axis: int

    def open(self, case: Case) -> Opened:
        """Return a case with its prediction. UserError if it can't be read."""
        image = case.read_image()
        label = case.read_label() if case.read_label is not None else None
        item = CaseItem(case, image, self.preprocessing)
        ((_, prediction),) = self.predictor.predict([item])
        doubts = {"entropy": prediction.entropy}
        if prediction.of_peers:
            doubts["disagreement"] = prediction.disagreement
        grid = Grid.of(
            image.shape[1:], case.affine, slice_axis=self.slice_axis, spacing=case.spacing
        )
        return opened(
            grid,
            image,
            label,
            prediction.label,
            views=prediction.views,
            doubts=doubts,
            names=dict(enumerate(self.splits.class_names)),
        )


def gallery_of_run(
    run: Run,
    names: Sequence[str] = (),
    *,
    data: Path | str | None = None,
    split: str | None = None,
    checkpoint_name: str | None = None,
    device: str = "auto",
) -> Gallery:
    """Return the cases of a run, the worst first: by Dice, else by doubt where it is known.

    Args:
        run: The run.
        names: Cases of any split to show, in this order. Default: all of the split.
        data: The folder of the data. Default: the folder that the run was trained on.
        split: One of ``SPLITS``. Default: the first that has cases.
        checkpoint_name: "last" or "selected". Default: by the recipe's selection.
        device: "auto", "cpu", "cuda", "cuda:1" ...

    Raises:
        UserError: If a case or the split is unknown or empty, or the run has no weights yet.
    """
    recipe, root = run.recipe, run.data_root(data)
    splits = find_splits(recipe, root)
    cases, shown = _named(splits, names) if names else _of_split(splits, split, run)
    path = run.checkpoint(checkpoint_name)
    if not path.exists():
        fail(
            "the run has no weights yet, so there are no predictions to show",
            path,
            found="no such file",
            expected="a run that has trained for a while",
            fix=f"resume it with {run.command('train', '--resume')}",
        )
    where = find_device(device, "--device")
    set_kernels(deterministic=False)
    method, step = load_method(recipe, path, splits.channels, where)
    waiting = Waiting()
    opener = Opener(
        make_predictor(recipe, method, where, stored_precision(recipe), waiting),
        preprocessing_of(recipe, splits),
        splits,
        0 if len(recipe.data.patch) == 2 else -1,
    )
    listed, order = _ordered(run, cases, opener, shown)
    patients = len({case.patient for case in cases})
    counted = cases_of(len(cases), patients, f"{shown} case" if shown else "case")
    name = method_name(recipe.method.name, run.labelled_stage_only)
    return Gallery(
        title=f"{name} on {recipe.setting or recipe.data.source}",
        about=f"{counted}, {path.stem} weights (step {step:,})",
        order=ORDERS[order],
        cases=listed,
        waiting=waiting,
    )


def _of_split(splits: Splits, split: str | None, run: Run) -> tuple[Sequence[Case], str]:
    """Return the cases of a split and its name. UserError if there are none."""
    if split is not None and split not in SPLITS:
        fail(f"unknown split '{split}'", "--split", expected=", ".join(SPLITS))
    filled = [name for name in SPLITS if getattr(splits, name)]
    chosen = split or filled[0]
    if chosen not in filled:
        fail(
            f"the data set has no {chosen} cases",
            run.path,
            fix=f"show others with --split {' or '.join(filled)}",
        )
    return getattr(splits, chosen), chosen


def _named(splits: Splits, names: Sequence[str]) -> tuple[Sequence[Case], str]:
    """Return cases by name, of any split. UserError with all names that are none."""
    every = {case.id: case for name in (*SPLITS, "unused") for case in getattr(splits, name)}
    raise_all(
        [
            Problem("there is no such case", name, fix=nearest(name, every))
            for name in names
            if name not in every
        ]
    )
    return [every[name] for name in dict.fromkeys(names)], ""


def _ordered(
    run: Run, cases: Sequence[Case], opener: Opener, split: str
) -> tuple[list[Listed], str]:
    """Return the list in its order, and what the order is."""
    scores, doubts = _scores(run), run.doubts
    listed = [_listed(case, opener, scores, doubts) for case in cases]
    if not split:
        return listed, "named"
    if any(case.id in scores for case in cases):
        return sorted(listed, key=lambda each: (each.score is None, each.score or 0)), "scores"
    if any(case.id in doubts for case in cases):
        return sorted(listed, key=lambda each: -(each.score or 0)), "doubt"
    return listed, "none"


def _listed(
    case: Case, opener: Opener, scores: Mapping[str, CaseScores], doubts: Mapping[str, float]
) -> Listed:
    found, doubt = scores.get(case.id), doubts.get(case.id)
    if found is not None:
        dice, facts = found.mean("dice"), f"Dice {percent(found.mean('dice'))} %"
        details = tuple(_details(found, opener.splits))
        return Listed(case.id, lambda: opener.open(case), dice, facts, details)
    facts = "" if doubt is None else f"doubt {doubt:.2f}"
    return Listed(case.id, lambda: opener.open(case), doubt, facts)


def _details(scores: CaseScores, splits: Splits) -> Iterator[tuple[str, str]]:
    """Yield the Dice of each class, if there are several, and the mean of each view."""
    names = dict(enumerate(splits.scored_names))
    if len(scores.classes) > 1:
        for index, of_class in scores.classes.items():
            yield names.get(int(index), f"class {index}"), f"{percent(of_class.get('dice'))} %"
    for view in scores.views:
        yield f"{view} alone", f"{percent(scores.view_dice(view))} %"


def _scores(run: Run) -> dict[str, CaseScores]:
    """Return the scores of all evaluated cases by name."""
    return {
        case.case: case
        for evaluation in read_content(run.path).evaluations
        for case in evaluation.cases
    }
