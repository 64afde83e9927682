"""Records of runs: scores as columns and back, and files that are no record."""

import json
import math

import pytest

from crossview.core.errors import UserError
from crossview.evaluation.metrics import METRICS, Measures
from crossview.evaluation.record import Record, as_columns, from_columns
from crossview.evaluation.scores import Score
from crossview.evaluation.summary import summarise

NAN = math.nan
HEADER = {
    **{
        "split": "test",
        "checkpoint": "last",
        "step": 4,
        "selection": "last",
        "method": "cml",
        "variant": "corrected",
    },
    **{"setting": "tiny", "seed": 1, "clean_up": "none"},
}


def scores():
    """Three cases of two patients, two classes, two views; one empty mask of each kind."""
    dice = {"a": 1 / 3, "b": 2 / 3, "c": 0.987654321}
    empty = {("a", "", 1): "missed", ("b", "", 2): "both_empty", ("c", "view1", 1): "spurious"}

    def measured(value, kind):
        if kind == "both_empty":
            return Measures(NAN, NAN, NAN, NAN, NAN, NAN, kind)
        if kind:
            return Measures(0, 0, NAN, NAN, NAN, NAN, kind)
        return Measures(
            value, value / (2 - value), 100 * math.pi * value, value / 7, value / 9, NAN
        )

    return [
        Score(
            case,
            "p" if case != "c" else "q",
            view,
            k,
            measured(dice[case] / k, empty.get((case, view, k), "")),
        )
        for case in dice
        for view in ("", "view1")
        for k in (1, 2)
    ]


def means(of_scores):
    summary = summarise(
        of_scores, class_names=["background", "ring", "core"], unit="mm", header=HEADER, seconds=0.0
    )
    groups = {"": summary, **summary["views"]}
    found = {
        (view, metric): group["mean"][metric]["mean"]
        for view, group in groups.items()
        for metric in METRICS
    }
    return found, summary["empty"]


def test_columns_give_the_scores_and_the_means_back():
    before = scores()
    columns = json.loads(json.dumps(as_columns(before), allow_nan=False))
    after = {(score.case, score.view, score.label_class): score for score in from_columns(columns)}
    assert len(after) == len(before) == 12
    for score in before:
        again = after[score.case, score.view, score.label_class]
        assert (again.patient, again.measures.empty) == (score.patient, score.measures.empty)
        for name in METRICS:
            assert getattr(again.measures, name) == pytest.approx(
                getattr(score.measures, name), abs=5.1e-7, nan_ok=True
            )
    found, empty = means(list(after.values()))
    expected, expected_empty = means(before)
    assert found == pytest.approx(expected, abs=1e-6)
    assert sorted(map(str, empty)) == sorted(map(str, expected_empty))


def test_numbers_are_short():
    lengths = [
        len(str(value))
        for line in as_columns(scores())["scores"]
        for name in METRICS
        for value in line[name]
    ]
    assert max(lengths) <= len("314.159265")


def test_a_table_with_a_hole_is_refused():
    for broken in (scores()[:-1], [*scores(), scores()[0]]):
        with pytest.raises(UserError, match="not the same for every view and class"):
            as_columns(broken)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not a record of a run"),
        (b"\x80\x02PK", "not a record of a run"),
        ("[1]", "not a record of a run"),
        ('{"unrelated": 1}', "not a record of a run"),
        ('{"recipe": {}, "summary": {}, "format": 1}', "no cases, environment"),
        ('{"recipe": {}, "summary": {}, "cases": {}, "format": 9}', "another format"),
        (
            '{"recipe": {}, "summary": {}, "cases": {}, "format": 1}',
            "no environment, total_steps, training_seconds",
        ),
    ],
)
def test_what_is_no_record(tmp_path, content, told):
    file = tmp_path / "run.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=told) as error:
        _ = Record(file).content
    assert str(file) in str(error.value)
