"""Evaluation of cases: what is scored, lazily and in order, and what is refused."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from crossview.core.errors import Problem, UserError
from crossview.core.run_folder import EvaluationFolder
from crossview.data.case import Case, Splits
from crossview.data.preprocess import Preprocessing
from crossview.data.resampling import resampled_label
from crossview.evaluation.evaluate import evaluate, quick_dice
from crossview.evaluation.metrics import measure
from crossview.evaluation.scores import read_cases, read_summary

HEADER = {
    "split": "test",
    "checkpoint": "last",
    "step": 1,
    "selection": "last",
    "method": "cml",
    "variant": "corrected",
    "setting": "demo",
    "seed": 1,
    "clean_up": "none",
}
SHAPE = (12, 11, 9)


def moved_by(label, shift):
    """A shifted label without a slab, so that distances differ by direction; shift 0: unchanged."""
    moved = np.roll(label, shift, 0)
    if shift:
        moved[:, 2:5] = 0
    return moved


@dataclass
class Answer:
    label: np.ndarray
    views: dict
    other: np.ndarray
    finite: bool = True
    expected: float = 0.9


@dataclass
class MadePredictor:
    """Predicts what an image's channel says: it is the label plus 10 * the shift to be made."""

    ahead: int = 0
    broken: tuple[int, ...] = ()
    read: list = field(default_factory=list)

    def predict(self, items):
        items = enumerate(items)
        held = list(itertools.islice(items, self.ahead))
        for index, item in itertools.chain(held, items):
            image = item.image
            self.read.append(index)
            label = (image[0] % 10).astype(np.uint8)
            moved = moved_by(label, int(image[0].max() // 10))
            yield (
                item,
                Answer(
                    moved,
                    {"view1": moved, "view2": label},
                    np.zeros_like(label),
                    index not in self.broken,
                ),
            )


def label_of(index, classes=3):
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[2:7, 2:8, 2 : 4 + index % 3] = 1
    label[6:9, 3:6, 3:6] = classes - 1
    return label


def case(index, shift=1, label=None, spacing=(1.0, 2.0, 3.0), image=None):
    label = label_of(index) if label is None else label
    image = (label[None] + 10.0 * shift).astype(np.float32) if image is None else image
    return Case(
        f"case{index}",
        f"patient{index // 2}",
        Path(f"case{index}.h5"),
        lambda: image,
        lambda: label,
        spacing,
    )


CASES = [case(index, shift=index % 3) for index in range(6)]


def splits(classes=3, channels=1, unit="voxel"):
    """A data set of these facts; its cases are handed over separately."""
    names = ("background", "one", "two")[:classes]
    return Splits((), (), (), (), classes, names, channels, unit)


def run(predictor=None, cases=CASES, data=None, **more):
    settings = {"out": None, "header": HEADER, **more}
    return evaluate(predictor or MadePredictor(), cases, data or splits(), **settings)


def test_every_prediction_is_scored_in_order(tmp_path):
    out = tmp_path / "test"
    summary = run(out=out)
    assert read_summary(EvaluationFolder(out)) == summary
    assert summary["cases"] == [each.id for each in CASES]
    assert summary["views"]["view2"]["mean"]["dice"]["mean"] == 1
    assert summary["views"]["view1"]["mean"] == summary["mean"]
    assert summary["other_cleanup"]["mean"]["dice"]["mean"] == 0
    rows = read_cases(EvaluationFolder(out))
    assert [row.case for row in rows if row.view == "" and row.label_class == 1] == summary["cases"]
    for row in rows:
        if row.view == "":
            index = int(row.case.removeprefix("case"))
            truth = label_of(index)
            expected = measure(
                moved_by(truth, index % 3) == row.label_class, truth == row.label_class
            )
            assert (row.measures.dice, row.measures.hd95, row.measures.asd) == (
                expected.dice,
                expected.hd95,
                expected.asd,
            )
            assert row.patient == f"patient{index // 2}"


def test_distances_in_mm_use_the_spacing():
    cases = [case(0, shift=2, spacing=(5.0, 1.0, 1.0)), case(2, shift=2, spacing=(5.0, 1.0, 1.0))]
    in_voxels, in_mm = run(cases=cases), run(cases=cases, data=splits(unit="mm"))
    assert in_mm["unit"] == "mm"
    assert in_mm["mean"]["dice"] == in_voxels["mean"]["dice"]
    assert in_mm["mean"]["hd95"]["mean"] > in_voxels["mean"]["hd95"]["mean"]


def test_mm_without_spacing_names_every_case():
    with pytest.raises(UserError, match=r"case1.*mm(?s:.*)case3"):
        run(cases=[case(0), case(1, spacing=None), case(3, spacing=None)], data=splits(unit="mm"))


def test_cases_are_read_as_they_are_needed():
    opened = []

    def noted(each):
        return Case(
            each.id,
            each.patient,
            each.file,
            lambda: opened.append(each.id) or each.read_image(),
            each.read_label,
        )

    predictor = MadePredictor(ahead=2)
    seen = []
    run(
        predictor,
        [noted(each) for each in CASES],
        on_case=lambda each, *_: seen.append((each.id, len(opened))),
    )
    assert [name for name, _ in seen] == [each.id for each in CASES]
    assert [count for _, count in seen] == [2, 2, 3, 4, 5, 6]


def test_callback_and_progress():
    told, seen = [], []

    def on_case(each, image, label, prediction, folder):
        assert folder is None
        assert image.shape == (1, *SHAPE)
        np.testing.assert_array_equal(label, label_of(int(each.id.removeprefix("case"))))
        seen.append(prediction.label.shape)

    run(on_case=on_case, progress=lambda done, total: told.append((done, total)))
    assert told == [(index, 6) for index in range(1, 7)]
    assert seen == [SHAPE] * 6


def test_a_prediction_that_is_not_finite_is_named():
    notes = run(MadePredictor(broken=(1, 3)), header={**HEADER, "notes": ["cropped"]})["notes"]
    assert notes[0] == "cropped"
    assert [note.partition(":")[0] for note in notes[1:]] == ["case1", "case3"]


def bad_cases():
    def unreadable():
        raise UserError(Problem("the file is truncated", where="case4"))

    nan = np.full((1, *SHAPE), np.nan, dtype=np.float32)
    return [
        case(0),
        Case("case1", "p", Path("case1.h5"), CASES[1].read_image),
        case(2, label=np.full(SHAPE, 7, dtype=np.uint8)),
        case(3, image=nan),
        Case("case4", "p", Path("case4.h5"), unreadable, lambda: label_of(4)),
        case(5),
    ]


def test_all_bad_cases_are_named_and_nothing_is_written(tmp_path):
    predictor = MadePredictor()
    with pytest.raises(UserError) as error:
        run(predictor, bad_cases(), out=tmp_path / "evaluation")
    text = str(error.value)
    assert all(f"case{index}" in text for index in (1, 2, 3, 4))
    assert "case0" not in text
    assert "case5" not in text
    assert not (tmp_path / "evaluation").exists()
    assert predictor.read == [0]


def pictured(each, image, label, prediction, folder):
    (folder / "pictures").mkdir(exist_ok=True)
    (folder / "pictures" / f"{each.id}.png").write_text(each.id)


def test_nothing_of_an_earlier_evaluation_stays(tmp_path):
    out = tmp_path / "run" / "test"
    run(out=out, on_case=pictured)
    run(out=out, on_case=pictured, cases=CASES[:2], header={**HEADER, "partial": True})
    assert sorted(path.name for path in out.rglob("*.png")) == ["case0.png", "case1.png"]
    summary = read_summary(EvaluationFolder(out))
    assert (summary["cases"], summary["partial"]) == (["case0", "case1"], True)
    assert summary["notes"] == ["only the first 2 cases were scored"]
    assert [path.name for path in out.parent.iterdir()] == ["test"]


@pytest.mark.parametrize("stop", [OSError, KeyboardInterrupt])
def test_an_evaluation_that_fails_leaves_the_old_one(tmp_path, stop):
    out = tmp_path / "test"
    old = run(out=out, on_case=pictured)

    def failing(each, image, label, prediction, folder):
        if each.id == "case2":
            raise stop
        (folder / "new.png").write_text("new")

    (tmp_path / "test.part").mkdir()
    (tmp_path / "test.part" / "stray.png").write_text("of a kill")
    with pytest.raises(stop):
        run(out=out, on_case=failing)
    assert read_summary(EvaluationFolder(out)) == old
    assert len(list(out.rglob("*.png"))) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["test"]
    (tmp_path / "test.part").mkdir()
    (tmp_path / "test.part" / "stray.png").write_text("of a kill")
    run(out=out)
    assert not list(tmp_path.rglob("*.png"))


def test_channels():
    two = case(1, image=np.zeros((2, *SHAPE), dtype=np.float32))
    for channels, named in ((1, "case1"), (2, "case0")):
        with pytest.raises(UserError, match=named):
            run(cases=[case(0), two], data=splits(channels=channels))


def test_no_cases():
    for function in (lambda: run(cases=[]), lambda: quick_dice(MadePredictor(), [], splits())):
        with pytest.raises(UserError, match="no cases"):
            function()


def test_quick_dice_agrees_with_the_evaluation():
    quick, whole = quick_dice(MadePredictor(), CASES, splits()), run()
    assert quick["mean"] == pytest.approx(whole["mean"]["dice"]["mean"])
    assert quick["classes"] == pytest.approx(
        {key: value["dice"]["mean"] for key, value in whole["classes"].items()}
    )
    assert set(quick["views"]) == {"view1", "view2"}
    assert quick["views"]["view2"] == {"1": 1, "2": 1, "mean": 1}


def test_quick_dice_leaves_out_what_is_empty_on_both_sides():
    without = label_of(0)
    without[without == 2] = 0
    quick = quick_dice(
        MadePredictor(), [case(0, shift=0), case(1, shift=0, label=without)], splits()
    )
    assert quick["classes"] == {"1": 1, "2": 1}
    never = quick_dice(MadePredictor(), [case(1, shift=0, label=without)], splits())
    assert never["mean"] == 1
    assert np.isnan(never["classes"]["2"])


def test_quick_dice_refuses_bad_cases():
    with pytest.raises(UserError, match="case2"):
        quick_dice(MadePredictor(), bad_cases(), splits())


def test_raw_cases_are_prepared_for_the_predictor_and_scored_on_their_own_grid():
    class Doubled:
        """Thresholds what it is given, and answers on the grid that is asked for."""

        def predict(self, items):
            for item in items:
                image = item.image
                assert image.shape == (1, 6, 12, 12)
                coarse = resampled_label((image[0] > 0).astype(np.uint8), item.shape)
                yield item, Answer(coarse, {}, coarse)

    label = np.zeros(SHAPE, np.uint8)
    label[2:8, 2:8, 2:8] = 1
    raw = case(
        0,
        label=label,
        image=(label[None] * 500.0 + 100).astype(np.float32),
        spacing=(1.0, 1.0, 1.0),
    )
    shape = tuple(6 if axis == 0 else 12 for axis in range(3))
    preprocessing = Preprocessing(
        "z_score", spacing=tuple(side / new for side, new in zip(SHAPE, shape, strict=True))
    )
    drawn = []
    summary = run(
        Doubled(),
        [raw],
        splits(classes=2),
        preprocessing=preprocessing,
        on_case=lambda *each: drawn.append(each),
    )
    assert summary["mean"]["dice"]["mean"] > 0.8
    assert drawn[0][1].max() == 600
    assert drawn[0][1].shape[1:] == SHAPE
