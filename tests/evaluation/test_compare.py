"""Comparing run folders: rows, intervals, differences, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import math
from copy import deepcopy

import numpy as np
import pytest
import tomli_w

from crossview.core.errors import UserError
from crossview.core.run_folder import RunFolder
from crossview.evaluation import bootstrap
from crossview.evaluation.compare import compare
from crossview.evaluation.metrics import Measures
from crossview.evaluation.record import WAITED_IN_VAIN, make_record
from crossview.evaluation.scores import Score, write
from crossview.evaluation.summary import summarise
from crossview.training.options import MEASURED

NAN = math.nan
RECIPE = {
    "setting": "la-8",
    "data": {"source": "la", "labelled": 8, "patch": [112, 112, 80]},
    "network": {"name": "vnet", "filters": 16},
    "method": {"name": "cml", "variant": "corrected", "train_steps": 15000, "box": 0.6667},
    "training": {
        "seed": 1,
        "selection": "last",
        "labelled_batch": 4,
        "precision": "float32",
        "device": "cpu",
    },
    "inference": {"stride": [18, 18, 4], "batch": 4},
}
SUPERVISED = {"name": "supervised", "variant": "corrected", "steps": 17000}
CASES = 12
BASE = np.random.default_rng(0).uniform(0.7, 0.9, (CASES, 2))


def measured(dice, empty=""):
    if empty == "both_empty":
        return Measures(NAN, NAN, NAN, NAN, NAN, 50.0, empty)
    if empty:
        return Measures(0, 0, NAN, NAN, NAN, 50.0, empty)
    return Measures(dice, dice / (2 - dice), 10 * (1 - dice), 4 * (1 - dice), 3 * (1 - dice), 50.0)


def made_run(
    path,
    dice=None,
    *,
    method=None,
    seed=1,
    setting=None,
    finished=True,
    empty=None,
    steps=17000,
    case_name="case{:02d}",
    header=None,
    unit="voxel",
    environment=None,
    member=None,
    ready=None,
    **changes,
):
    """A run folder as training and evaluation leave it.

    dice: (cases, 2). changes: {table: {key: value}} of the recipe. environment, member: the content
    of environment.json and bench.json, if any. ready: how the labelled stage ended, if it waited.
    """
    recipe = deepcopy(RECIPE)
    recipe["setting"] = setting or recipe["setting"]
    if method is not None:
        recipe["method"] = dict(method)
    for table, keys in changes.items():
        recipe[table] |= keys
    recipe["training"]["seed"] = seed
    path.mkdir(parents=True)
    (path / "recipe.toml").write_text(tomli_w.dumps(recipe))
    rows = [
        {"kind": "train" if ready is None else "readiness", "total_step": 20, "ready": ready},
        {"kind": "finished", "total_step": steps, "seconds": 3600.0 + 60 * seed},
    ]
    (path / "journal.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows[: 2 if finished else 1])
    )
    if environment is not None:
        (path / "environment.json").write_text(json.dumps(environment))
    if member is not None:
        (path / "bench.json").write_text(json.dumps({"started": environment["started"], **member}))
    dice = BASE if dice is None else dice
    scores = [
        Score(
            case_name.format(case),
            f"patient{case // 2}",
            "",
            k + 1,
            measured(dice[case, k], (empty or {}).get((case, k), "")),
        )
        for case in range(len(dice))
        for k in range(2)
    ]
    selection = recipe["training"]["selection"]
    header = {
        "split": "test",
        "checkpoint": "last" if selection == "last" else "selected",
        "step": steps,
        "selection": selection,
        "method": recipe["method"]["name"],
        "variant": recipe["method"]["variant"],
        "setting": recipe["setting"],
        "seed": seed,
        "clean_up": "none",
        "notes": ["Test volumes were cropped around the ground truth."],
        **(header or {}),
    }
    summary = summarise(
        scores, class_names=["background", "ring", "core"], unit=unit, header=header, seconds=1.0
    )
    write(path / "evaluation" / "test", summary, scores)
    return path


def made_runs(path, dice=BASE, seeds=(1, 2), size=0.0, **more):
    """A run a seed, each with noise of its own where a size is given."""
    return [
        made_run(
            path / str(seed),
            dice + noise(seed + len(str(path)), size)[: len(dice)],
            seed=seed,
            **more,
        )
        for seed in seeds
    ]


def noise(seed, size=0.01):
    return np.random.default_rng(seed).normal(0, size, BASE.shape)


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)


@pytest.fixture
def runs(tmp_path):
    """CML on three seeds, two points above labelled-only training on the same seeds."""
    cml = [
        made_run(tmp_path / f"cml{seed}", BASE + 0.02 + noise(seed), seed=seed)
        for seed in (1, 2, 3)
    ]
    return cml + [
        made_run(tmp_path / f"sup{seed}", BASE + noise(10 + seed), seed=seed, method=SUPERVISED)
        for seed in (1, 2, 3)
    ]


def test_a_row_is_a_method_over_its_seeds(runs):
    comparison = compare(runs)
    cml = comparison.rows[0]
    assert [(row.method, row.setting, row.seeds, row.steps) for row in comparison.rows] == [
        ("cml", "la-8", (1, 2, 3), 17000),
        ("supervised", "la-8", (1, 2, 3), 17000),
    ]
    seeds = [(BASE + 0.02 + noise(seed)).mean() for seed in (1, 2, 3)]
    dice = cml.metrics["dice"]
    assert (dice.mean, dice.sd) == pytest.approx((np.mean(seeds), np.std(seeds, ddof=1)))
    assert dice.seeds == pytest.approx(seeds)
    averaged = np.mean([BASE + 0.02 + noise(seed) for seed in (1, 2, 3)], axis=0)
    patients = [f"patient{case // 2}" for case in range(CASES)]
    assert dice.ci95 == pytest.approx(bootstrap.interval(averaged, patients))
    assert cml.classes["ring"]["dice"].mean == pytest.approx(averaged[:, 0].mean())
    assert cml.seconds == pytest.approx(3720)
    assert (cml.cases, cml.predictions, cml.empty) == (CASES, 72, {})


def test_a_run_of_a_version_without_a_key_has_its_default(tmp_path):
    """As when its recipe is read; so records of any version can be in a table of new runs."""
    old = made_run(tmp_path / "old", seed=1)
    keys = {"orientation": "stored", "normalisation": "none"}
    waits = {**RECIPE["method"], "ready_dice": 0.0}
    new = made_run(tmp_path / "new", seed=2, data=keys, method=waits)
    (row,) = compare([old, new]).rows
    assert (row.method, row.seeds) == ("cml", (1, 2))
    other = made_run(tmp_path / "other", seed=3, method={**waits, "ready_dice": 0.5})
    labels = [row.method for row in compare([old, new, other]).rows]
    assert labels == ["cml ready_dice=0.0", "cml ready_dice=0.5"]
    scaled = made_run(tmp_path / "scaled", seed=3, data={**keys, "normalisation": "z_score"})
    with pytest.raises(UserError, match=r"differ in their data"):
        compare([old, new, scaled])


def test_differences_are_paired_with_the_baseline(runs):
    comparison = compare(runs)
    cml, supervised = comparison.rows
    assert comparison.baseline == "supervised"
    assert supervised.is_baseline
    assert supervised.differences == {}
    ours = np.mean([BASE + 0.02 + noise(seed) for seed in (1, 2, 3)], axis=0)
    theirs = np.mean([BASE + noise(10 + seed) for seed in (1, 2, 3)], axis=0)
    found = cml.differences["dice"]
    assert found.mean == pytest.approx((ours - theirs).mean())
    assert 0 < found.low < found.mean < found.high < 0.05
    assert cml.verdict == "better"
    other_way = compare(runs, baseline="cml")
    assert other_way.rows[1].differences["dice"].mean == pytest.approx(-found.mean)
    assert other_way.rows[1].verdict == "worse"


def test_no_difference_is_called_none(tmp_path):
    one, other = (
        made_runs(tmp_path / "one", size=0.01),
        made_runs(tmp_path / "other", size=0.01, method=SUPERVISED),
    )
    assert compare([*one, *other]).rows[0].verdict == "no difference shown"


def test_of_one_seed_nothing_is_claimed(tmp_path):
    """Whatever the patients say: another seed of the same method may be as far away."""
    one = made_run(tmp_path / "one", BASE + 0.02)
    comparison = compare([one, *made_runs(tmp_path / "other", method=SUPERVISED)])
    cml = comparison.rows[0]
    assert cml.differences["dice"].low > 0
    assert (cml.p, cml.verdict) == (None, "one seed")
    assert any(
        note.startswith("No verdict where a side has one seed (cml):") for note in comparison.notes
    )
    assert "one seed |" in comparison.markdown()
    assert comparison.csv().splitlines()[1].endswith(",,one seed")


def test_a_method_whose_seeds_differ_is_no_better(tmp_path):
    """Each seed is far from the baseline on every patient, on one side or the other."""
    ours = [
        made_run(tmp_path / f"a{seed}", BASE + shift, seed=seed)
        for seed, shift in ((1, 0.15), (2, -0.05), (3, 0.1))
    ]
    cml = compare([*ours, *made_runs(tmp_path / "b", seeds=(1, 2, 3), method=SUPERVISED)]).rows[0]
    assert cml.differences["dice"].mean == pytest.approx(0.2 / 3, abs=0.01)
    assert cml.differences["dice"].low < -0.05
    assert cml.verdict == "no difference shown"


def test_nothing_is_better_after_a_correction_that_takes_it_away(runs, monkeypatch):
    monkeypatch.setattr(bootstrap, "holm", lambda p_values: [0.06] * len(p_values))
    comparison = compare(runs)
    row = comparison.rows[0]
    assert row.differences["dice"].low > 0
    assert (row.p, row.verdict) == (0.06, "no difference shown")
    [note] = [note for note in comparison.notes if "excludes 0" in note]
    assert "Holm's correction for the 1 comparison in this table raises p to 0.060" in note


def test_few_patients_show_nothing(tmp_path):
    paths = [
        *made_runs(tmp_path / "one", BASE[:10] + 0.02),
        *made_runs(tmp_path / "two", BASE[:10], method=SUPERVISED),
    ]
    comparison = compare(paths)
    assert comparison.rows[0].differences["dice"].low > 0
    assert comparison.rows[0].verdict == "no difference shown"
    assert comparison.rows[0].p == 2 / 2**5, "the chance that all have one sign"
    assert any(
        "differences of 5 patients all have the same sign with a probability of 0.062" in note
        for note in comparison.notes
    )


def test_holm_over_the_rows(tmp_path):
    paths = made_runs(tmp_path / "sup", method=SUPERVISED)
    for index in range(3):
        method = {"name": f"method{index}", "variant": "corrected"}
        paths += made_runs(
            tmp_path / f"run{index}", BASE + 0.002 * (index + 1), size=0.01, method=method
        )
    rows = compare(paths).rows[1:]
    assert [row.p for row in rows] == bootstrap.holm([row.differences["dice"].p for row in rows])
    assert any(row.p > row.differences["dice"].p for row in rows)


def test_labelled_only_cml_and_variants_have_their_own_rows(tmp_path):
    methods = [
        {"name": "cml", "variant": "corrected", "train_steps": 15000},
        {"name": "cml", "variant": "corrected", "train_steps": 0},
        {"name": "cml", "variant": "released", "train_steps": 15000},
    ]
    made = [
        (made_run(tmp_path / str(index), method=method), method)
        for index, method in enumerate(methods)
    ]
    comparison = compare([path for path, _ in made])
    assert [row.method for row in comparison.rows] == ["cml", "cml labelled only", "cml (released)"]
    assert comparison.baseline == "cml labelled only"


IN_VAIN = {"notes": [WAITED_IN_VAIN]}


def test_runs_whose_second_stage_never_began_have_a_row_of_their_own(tmp_path):
    """They used no unlabelled scan, so they are no seeds of the method that others are."""
    paths = [
        made_run(tmp_path / "sup", method=SUPERVISED),
        made_run(tmp_path / "whole", BASE + 0.02, seed=1, ready=True),
        made_run(tmp_path / "half", BASE + 0.01, seed=2, ready=False, header=IN_VAIN),
    ]
    comparison = compare(paths)
    assert [(row.method, row.seeds) for row in comparison.rows] == [
        ("supervised", (1,)),
        ("cml", (1,)),
        ("cml (labelled stage only)", (2,)),
    ]
    assert f"cml (labelled stage only), seed 2: {WAITED_IN_VAIN}" in comparison.notes
    assert "| cml (labelled stage only) |" in comparison.markdown()
    assert "\ncml (labelled stage only),la-8,2," in comparison.csv()
    for place, (path, told) in enumerate(((paths[1], False), (paths[2], True))):
        record = make_record(RunFolder(path))
        assert record["waited_in_vain"] == told
        for keys in (record.keys(), record.keys() - {"waited_in_vain"}):
            file = tmp_path / f"{place}.json"
            file.write_text(json.dumps({key: record[key] for key in keys}))
            (row,) = compare([file]).rows
            assert row.method == ("cml (labelled stage only)" if told else "cml")


def test_a_student_is_compared_with_its_teacher(tmp_path):
    student = {"predicted": True, "augmentation": "strong"}
    made_run(tmp_path / "teacher")
    made_run(tmp_path / "student", BASE + 0.01, method=SUPERVISED, data=student)
    made_run(tmp_path / "other", method=SUPERVISED, data={"augmentation": "strong"})
    comparison = compare([tmp_path / "teacher", tmp_path / "student"], baseline="cml")
    assert [row.method for row in comparison.rows] == ["cml", "student (supervised)"]
    assert comparison.rows[1].differences["dice"].mean == pytest.approx(0.01)
    with pytest.raises(UserError, match=r"differ in their data"):
        compare([tmp_path / "teacher", tmp_path / "other"])


def test_recipes_that_differ_are_no_seeds_of_one_method(tmp_path):
    paths = [
        made_run(tmp_path / f"{box}", method={**RECIPE["method"], "box": box})
        for box in (0.5, 0.6667)
    ]
    paths.append(
        made_run(
            tmp_path / "third",
            method={**RECIPE["method"], "box": 0.5},
            seed=2,
            training={"device": "cuda"},
            inference={"batch": 8},
        )
    )
    assert [(row.method, row.seeds) for row in compare(paths).rows] == [
        ("cml box=0.5", (1, 2)),
        ("cml box=0.6667", (1,)),
    ]


def test_empty_predictions_are_counted(tmp_path):
    empty = {(0, 0): "missed", (1, 0): "missed", (2, 1): "both_empty"}
    comparison = compare(
        [
            made_run(tmp_path / "run", empty=empty),
            made_run(tmp_path / "two", seed=2, empty={(0, 0): "missed"}),
        ]
    )
    assert comparison.rows[0].empty == {"both_empty": 1, "missed": 3}
    text = comparison.markdown()
    assert "missed 3 of 48" in text
    assert comparison.rows[0].metrics["hd95"].left_out == 4
    assert comparison.rows[0].metrics["dice"].left_out == 1, "both empty"
    assert comparison.rows[0].classes["ring"]["asd"].left_out == 3
    assert text.splitlines()[2].count("4 left out") == 2, "HD95 and ASD"
    assert "because they or the truth are empty" in text
    assert "left out" not in compare([made_run(tmp_path / "whole")]).markdown()


def test_seeds_that_only_one_side_has(tmp_path):
    ours = [made_run(tmp_path / f"a{seed}", BASE + 0.1 * seed / 10, seed=seed) for seed in (1, 2)]
    theirs = made_run(tmp_path / "b", BASE, seed=2, method=SUPERVISED)
    comparison = compare([*ours, theirs])
    assert comparison.rows[0].differences["dice"].mean == pytest.approx(0.02)
    assert any("seeds that both have (2)" in note for note in comparison.notes)
    theirs = made_run(tmp_path / "c", BASE, seed=5, method=SUPERVISED)
    comparison = compare([*ours, theirs])
    assert comparison.rows[0].differences["dice"].mean == pytest.approx(0.015)
    assert any("no seed in common" in note for note in comparison.notes)


def test_notes_of_some_runs_name_them(tmp_path):
    paths = [
        made_run(tmp_path / "one"),
        made_run(tmp_path / "two", method=SUPERVISED, training={"selection": "test"}),
    ]
    notes = compare(paths, mixed=True).notes
    assert "supervised, seed 1: selected on test, optimistic" in notes
    assert "Test volumes were cropped around the ground truth." in notes


def test_cautions_of_the_data_come_before_what_differs(runs, tmp_path):
    """So they are among the notes that a terminal shows."""
    paths = [*runs, made_run(tmp_path / "more", training={"labelled_batch": 2})]
    notes = compare(paths, mixed=True).notes
    (caution,) = (place for place, note in enumerate(notes) if "cropped around" in note)
    assert all("differ in" not in note for note in notes[:caution])


def test_notes_say_what_else_differs(runs, tmp_path):
    more = made_run(
        tmp_path / "bcp",
        method={"name": "bcp", "variant": "corrected"},
        training={"labelled_batch": 2, "precision": "bf16"},
    )
    notes = "\n".join(compare([*runs, more]).notes)
    assert "la-8 differ in training.labelled_batch: cml 4, supervised 4, bcp 2" in notes
    others = [
        made_run(tmp_path / name, method={"name": name, "variant": "corrected"})
        for name in ("urpc", "cps")
    ]
    assert "la-8 differ in training.labelled_batch: bcp 2, all others 4." in "\n".join(
        compare([*runs, more, *others]).notes
    )
    assert "bf16, float32" in notes
    assert "Fewer than 3 seeds, so the spread over seeds is uncertain: bcp." in notes
    assert "Intervals over only 6 patients" in notes
    assert notes.count("cropped around the ground truth") == 1


LABELLED = {"started": "now", "unlabelled": 4, "training_cases": "f00", "labelled": [*"abcdefgh"]}
MIXTURES = {
    "data": {"data": {"augmentation": "strong"}},
    "selection policy": {"training": {"selection": "test"}},
    "cases": {"dice": BASE[:6]},
    "cases ": {"case_name": "other{:02d}"},
    "labelled cases": {"environment": LABELLED | {"labelled": [*"abcdefgi"]}},
    "training cases": {"environment": LABELLED | {"training_cases": "f01"}},
    "protocol": {"member": {"protocol": "published"}},
}


def test_all_labels_and_their_number_are_the_same_data(tmp_path):
    """A recipe asks for all labelled scans (0), another for the 8 that there are."""
    paths = [
        made_run(tmp_path / "all", environment=LABELLED, data={"labelled": 0}),
        made_run(tmp_path / "eight", seed=2, environment=LABELLED),
        made_run(tmp_path / "other", method=SUPERVISED, environment=LABELLED),
    ]
    comparison = compare(paths)
    assert [(row.method, row.seeds) for row in comparison.rows] == [
        ("cml", (1, 2)),
        ("supervised", (1,)),
    ]


@pytest.mark.parametrize(
    ("what", "change"), MIXTURES.items(), ids=[repr(change)[:40] for change in MIXTURES.values()]
)
def test_mixtures_are_refused_unless_they_are_meant(tmp_path, what, change):
    member = {"protocol": "equal", "setting": "la-8", "suite": "suite"}
    rest = {
        "environment": LABELLED,
        **change,
        "member": {"label": "supervised"} | member | change.get("member", {}),
    }
    paths = [
        made_run(tmp_path / "one", environment=LABELLED, member={"label": "cml"} | member),
        made_run(tmp_path / "other", method=SUPERVISED, **rest),
    ]
    with pytest.raises(UserError, match=f"differ in their {what.strip()}") as error:
        compare(paths)
    assert all(str(path) in str(error.value) for path in paths)
    comparison = compare(paths, mixed=True)
    assert len(comparison.rows) == 2
    assert all(row.differences == {} and row.verdict == "" for row in comparison.rows)
    assert any(
        f"as requested: the runs{of} differ in their {what.strip()}" in note
        for note in comparison.notes
        for of in ("", " of la-8")
    )


@pytest.fixture
def rounds(tmp_path):
    """Two rounds of labelling: the second has two labels more, and starts from the first."""
    names = [f"scan{number}" for number in range(12)]
    paths = []
    for place, labelled in enumerate((8, 10)):
        start = {"from": {"method": "cml", "step": 17000}} if place else {}
        environment = {
            "labelled": names[:labelled],
            "unlabelled": 12 - labelled,
            "training_cases": f"{place}abcdef012345678",
        }
        paths.append(
            made_run(
                tmp_path / f"round{place + 1}",
                BASE + 0.02 * place,
                environment=environment | start,
                data={"labelled": 0},
            )
        )
    return paths


FIRST, SECOND = "cml data.labelled=8 from scratch", "cml data.labelled=10 from cml step 17000"


def test_other_labelled_cases_are_one_problem_in_plain_words(rounds):
    """Their number and the unlabelled cases differ because of them."""
    with pytest.raises(UserError) as error:
        compare(rounds)
    (problem,) = error.value.problems
    assert problem.found == (
        f"8 labelled cases: {rounds[0]}; "
        f"10 labelled cases (not in all runs: scan8, scan9): {rounds[1]}"
    )
    assert "abcdef" not in str(error.value)
    assert "--mixed, which shows the scores of these side by side" in problem.fix


def test_rounds_of_labelling_stand_side_by_side_without_a_difference(rounds):
    comparison = compare(rounds, mixed=True)
    assert [row.method for row in comparison.rows] == [FIRST, SECOND]
    notes = "\n".join(comparison.notes)
    assert notes.count("as requested") == 1
    assert f"10 labelled cases (not in all runs: scan8, scan9) ({SECOND})" in notes
    assert (
        f"No difference to {FIRST} is given for {SECOND}: they differ in their labelled cases."
    ) in notes
    assert "differ in data.labelled" not in notes, "the labels say it"
    text = comparison.markdown()
    assert text.splitlines()[2].count("| baseline |") == 1
    assert text.splitlines()[3].count("| not given |") == 1
    assert "paired bootstrap" not in text
    assert "Holm" not in text
    assert [line.rpartition(",")[2] for line in comparison.csv().splitlines()[1:]] == [
        "",
        "not given",
    ]


def test_a_baseline_is_known_by_the_begin_of_its_label(rounds, tmp_path):
    supervised = made_run(
        tmp_path / "sup",
        method=SUPERVISED,
        environment=json.loads((rounds[0] / "environment.json").read_text()),
    )
    for asked in ("cml data.labelled=8", FIRST):
        comparison = compare([*rounds, supervised], mixed=True, baseline=asked)
        assert comparison.baseline == FIRST
        assert [bool(row.difference) for row in comparison.rows] == [False, False, True]
        assert "paired bootstrap" in comparison.markdown()
    assert compare([rounds[0], supervised], baseline="cml").baseline == "cml"
    with pytest.raises(UserError, match="several rows begin with 'cml'") as error:
        compare(rounds, mixed=True, baseline="cml")
    assert f"{FIRST}; {SECOND}" in str(error.value)
    with pytest.raises(UserError, match="is none of the rows"):
        compare(rounds, mixed=True, baseline="cm")


@pytest.mark.parametrize("named", [True, False])
def test_other_unlabelled_cases_are_named_where_they_are_known(tmp_path, named):
    paths = []
    for place, (folder, unlabelled) in enumerate((("one", "xyz"), ("two", "xyw"))):
        environment = LABELLED | {"unlabelled": 3, "training_cases": f"f0{place}"}
        path = made_run(tmp_path / folder, seed=place + 1, environment=environment)
        cases = {case: {"labelled": case in "abcdefgh"} for case in ("a", *unlabelled)}
        if named:
            (path / "training-cases.json").write_text(json.dumps(cases))
        paths.append(path)
    with pytest.raises(UserError, match="differ in their training cases") as error:
        compare(paths)
    (problem,) = error.value.problems
    first, second = (" (not in all runs: z)", " (not in all runs: w)")
    if not named:
        first, second = ", kind 1", ", kind 2"
    assert f"3 unlabelled cases{first}: {paths[0]}; " in problem.found
    assert f"3 unlabelled cases{second}: {paths[1]}" in problem.found
    assert "f00" not in str(error.value)


def test_a_setting_without_the_baseline_says_so(tmp_path):
    paths = [
        made_run(tmp_path / "one", BASE + 0.02),
        made_run(tmp_path / "two", method=SUPERVISED),
        made_run(tmp_path / "three", setting="la-4"),
    ]
    assert (
        "No difference to supervised is given for cml: the setting la-4 has no row of that name. "
        "The scores stand side by side."
    ) in compare(paths).notes


def test_settings_have_their_own_cases_and_baselines(tmp_path):
    """Different settings are no mixture: each has its baseline, its data and its cases."""
    small = {"setting": "la-4", "data": {"labelled": 4}, "dice": BASE[:6]}
    paths = [made_run(tmp_path / "one", BASE + 0.02), made_run(tmp_path / "two", method=SUPERVISED)]
    paths += [
        made_run(tmp_path / "three", **small | {"dice": BASE[:6] + 0.04}),
        made_run(tmp_path / "four", method=SUPERVISED, **small),
    ]
    rows = compare(paths).rows
    assert [(row.setting, row.is_baseline) for row in rows] == [
        ("la-8", False),
        ("la-8", True),
        ("la-4", False),
        ("la-4", True),
    ]
    assert [round(row.differences["dice"].mean, 6) for row in rows if not row.is_baseline] == [
        0.02,
        0.04,
    ]


def test_units_are_not_mixed(tmp_path):
    paths = [made_run(tmp_path / "one"), made_run(tmp_path / "two", setting="own", unit="mm")]
    with pytest.raises(UserError, match="differ in their unit of distances"):
        compare(paths)
    assert len(compare(paths, mixed=True).rows) == 2


def test_what_a_run_does_not_say_is_no_difference(tmp_path):
    """Runs outside a suite, and those without environment.json, compare with those of a suite.

    A note names the missing protocol.
    """
    member = {"label": "supervised", "protocol": "equal", "setting": "la-8"}
    paths = [
        made_run(tmp_path / "one", BASE + 0.02),
        made_run(tmp_path / "two", method=SUPERVISED, environment=LABELLED, member=member),
    ]
    comparison = compare(paths)
    assert comparison.rows[0].differences["dice"].mean == pytest.approx(0.02)
    assert [row.protocol for row in comparison.rows] == ["", "equal"]
    assert any("No protocol is recorded" in note and "cml" in note for note in comparison.notes)


def test_the_suite_names_the_row(tmp_path):
    member = {"label": "our cml", "protocol": "equal", "setting": "atrium"}
    path = made_run(tmp_path / "one", environment=LABELLED, member=member)
    row = compare([path]).rows[0]
    assert (row.method, row.setting, row.protocol) == ("our cml", "atrium", "equal")
    (path / "environment.json").write_text(json.dumps(LABELLED | {"started": "later"}))
    row = compare([path]).rows[0]
    assert (row.method, row.setting, row.protocol) == ("cml", "la-8", ""), (
        "it was trained anew by hand"
    )


def test_a_reference_is_no_competitor(tmp_path):
    member = {"protocol": "equal", "setting": "la-8"}
    paths = [
        *made_runs(
            tmp_path / "base",
            method=SUPERVISED,
            environment=LABELLED,
            member=member | {"label": "supervised"},
        ),
        *made_runs(
            tmp_path / "cml", BASE + 0.02, environment=LABELLED, member=member | {"label": "cml"}
        ),
        made_run(
            tmp_path / "all",
            BASE + 0.05,
            method=SUPERVISED,
            data={"labelled": 80},
            environment=LABELLED | {"labelled": [*map(str, range(80))], "unlabelled": 0},
            member=member | {"label": "all labels", "reference": True},
        ),
    ]
    comparison = compare(paths)
    _, cml, reference = comparison.rows
    assert reference.differences["dice"].mean == pytest.approx(0.05)
    assert (reference.p, reference.verdict) == (None, "reference")
    assert cml.p == cml.differences["dice"].p, "one comparison, so nothing to correct"
    assert "differ in data.labelled: supervised 8, cml 8, all labels 80" in " ".join(
        comparison.notes
    )
    assert any(
        "do not compete" in note and note.endswith("all labels.") for note in comparison.notes
    )
    assert "+5.00 [+5.00, +5.00] reference |" in comparison.markdown()


def test_seeds_of_one_row_on_other_cases_are_never_averaged(tmp_path):
    paths = [made_run(tmp_path / "one"), made_run(tmp_path / "other", seed=2, dice=BASE[:6])]
    with pytest.raises(UserError, match="differ in their cases"):
        compare(paths, mixed=True)


def test_a_run_given_twice(tmp_path):
    path = made_run(tmp_path / "one")
    with pytest.raises(UserError, match="more than once"):
        compare([path, path])


def test_scores_that_no_masks_can_have(tmp_path):
    path = made_run(tmp_path / "one")
    file = path / "evaluation" / "test" / "cases.csv"
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    for row in rows:
        row["jaccard"] = str(float(row["jaccard"]) - 0.05)
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(UserError, match="no masks can have these scores"):
        compare([path])


def test_what_is_no_finished_run_is_told_all_at_once(tmp_path):
    (tmp_path / "empty").mkdir()
    unfinished = made_run(tmp_path / "unfinished", finished=False)
    unscored = made_run(tmp_path / "unscored")
    (unscored / "evaluation" / "test" / "summary.json").unlink()
    broken = made_run(tmp_path / "broken")
    (broken / "recipe.toml").write_text("[data")
    lacking = made_run(tmp_path / "lacking")
    summary = json.loads((lacking / "evaluation" / "test" / "summary.json").read_text())
    del summary["unit"]
    (lacking / "evaluation" / "test" / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(UserError) as error:
        compare(
            [
                tmp_path / "nowhere",
                tmp_path / "empty",
                unfinished,
                unscored,
                broken,
                lacking,
                made_run(tmp_path / "fine"),
            ]
        )
    text = str(error.value)
    assert len(error.value.problems) == 6
    for words in (
        "no such folder",
        "without recipe.toml",
        "stopped after 20 steps",
        "no evaluation",
        "can't be read",
        "'unit'",
    ):
        assert words in text


def test_another_split_must_have_been_evaluated(tmp_path):
    with pytest.raises(UserError, match="no evaluation"):
        compare([made_run(tmp_path / "one")], split="validation")


def test_tables_that_do_not_fit_together(tmp_path):
    path = made_run(tmp_path / "one")
    file = path / "evaluation" / "test" / "cases.csv"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(UserError, match="don't fit together"):
        compare([path])


@pytest.mark.parametrize("key", MEASURED)
def test_seeds_share_a_row_whatever_was_measured_for_each(tmp_path, key):
    runs = [
        made_run(tmp_path / str(seed), seed=seed, training={key: chosen})
        for seed, chosen in ((1, "one"), (2, "other"))
    ]
    [row] = compare(runs, mixed=True).rows
    assert row.seeds == (1, 2)


@pytest.mark.parametrize(
    ("keys", "value", "told"),
    [
        (("cases", "scores", 0, "class"), math.inf, "infinity"),
        (("cases", "scores", 0, "empty"), {"case00": 1}, "empty 1"),
        (("total_steps",), math.inf, "infinity"),
        (("recipe", "training", "seed"), math.inf, "infinity"),
        (("recipe", "data", "fold"), ["1", 2], "data.fold"),
        (("recipe", "data", "fold"), [1], "data.fold"),
    ],
)
def test_records_with_values_of_another_kind(tmp_path, keys, value, told):
    record = json.loads(json.dumps(make_record(RunFolder(made_run(tmp_path / "one")))))
    place = record
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    file = tmp_path / "one.json"
    file.write_text(json.dumps(record))
    with pytest.raises(UserError, match=rf"don't fit together(?s:.*){told}"):
        compare([file])


@pytest.mark.parametrize(
    "header", [{"step": 9000}, {"step": 18000}, {"checkpoint": "selected", "step": 18000}]
)
def test_an_evaluation_of_another_step_than_the_run_ended_at(tmp_path, header):
    path = made_run(tmp_path / "one", header=header)
    for mixed in (False, True):
        with pytest.raises(
            UserError,
            match=rf"of step {header['step']:,}(?s:.*)17,000(?s:.*)crossview evaluate .*one",
        ):
            compare([path], mixed=mixed)
    assert (
        compare([made_run(tmp_path / "best", header={"checkpoint": "selected", "step": 9000})])
        .rows[0]
        .steps
        == 17000
    )


def test_a_partial_evaluation_is_refused_unless_it_is_meant(tmp_path):
    path, whole = (
        made_run(tmp_path / "one", header={"partial": True}),
        made_run(tmp_path / "two", header={"partial": False}, seed=2),
    )
    with pytest.raises(
        UserError, match=r"only the first 12 cases were scored(?s:.*)crossview evaluate .*one"
    ) as error:
        compare([path, whole])
    assert str(path) in str(error.value)
    assert str(whole) not in str(error.value)
    assert (
        "cml, seed 1: only the first 12 cases were scored"
        in compare([path, whole], mixed=True).notes
    )


def test_no_runs_and_an_unknown_baseline(tmp_path):
    with pytest.raises(UserError, match="no runs"):
        compare([])
    with pytest.raises(UserError, match="did you mean cml"):
        compare([made_run(tmp_path / "one")], baseline="clm")


def test_csv_has_one_row_a_run(runs):
    rows = list(csv.reader(io.StringIO(compare(runs).csv())))
    assert rows[0] == [
        *(
            "method",
            "setting",
            "seed",
            "steps",
            "dice",
            "jaccard",
            "hd95",
            "asd",
            "ci_low",
            "ci_high",
            "selection",
        ),
        *("protocol", "seconds", "predictions", "missed", "spurious", "both_empty"),
        *("baseline", "difference", "difference_low", "difference_high", "p", "verdict"),
    ]
    assert [row[:4] for row in rows[1:]] == [
        [name, "la-8", seed, "17000"] for name in ("cml", "supervised") for seed in "123"
    ]
    first = dict(zip(rows[0], rows[1], strict=True))
    assert float(first["dice"]) == pytest.approx((BASE + 0.02 + noise(1)).mean(), abs=1e-6)
    assert float(first["ci_low"]) < float(first["dice"]) < float(first["ci_high"])
    assert (first["selection"], first["protocol"], first["seconds"], first["predictions"]) == (
        "last",
        "",
        "3660.0",
        "24",
    )
    difference = compare(runs).rows[0].differences["dice"]
    for row in rows[1:4]:
        row = dict(zip(rows[0], row, strict=True))
        assert (row["baseline"], row["verdict"]) == ("supervised", "better")
        assert float(row["difference"]) == pytest.approx(difference.mean, abs=1e-6)
        assert float(row["difference_low"]) == pytest.approx(difference.low, abs=1e-6)
    assert rows[4][-6:] == [""] * 6, "the baseline itself"


def test_csv_of_a_run_without_distances(tmp_path):
    empty = {(case, k): "missed" for case in range(CASES) for k in range(2)}
    row = compare([made_run(tmp_path / "one", empty=empty)]).csv().splitlines()[1]
    assert (
        row == "cml,la-8,1,17000,0.000000,0.000000,,,0.000000,0.000000,last,,3660.0,24,24,0,0,,,,,,"
    )


def test_markdown(runs):
    text = compare(runs).markdown()
    lines = text.splitlines()
    assert lines[0].startswith(
        "| Method | Setting | Seeds | Steps | Dice (%) | Jaccard (%) | HD95 (voxel) | ASD (voxel) |"
    )
    assert lines[2].startswith("| cml | la-8 | 3 | 17,000 | ")
    assert "better" in lines[2]
    assert "baseline" in lines[3]
    assert lines[2].endswith("| none | last | 1 h 2 min |")
    assert "| cml | la-8 | ring | " in text
    assert "Distances in voxel" in text


def test_markup_in_names_stays_text(tmp_path):
    method = {"name": "a|b [red]", "variant": "corrected"}
    comparison = compare([made_run(tmp_path / "one", method=method)])
    assert "a\\|b [red]" in comparison.markdown()
