"""The calibration of the map of disagreement, on counts that can be checked by hand and on a run from end to end."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
import crossview
from benchmarks import calibration
from crossview.folder import Run
from made_folder import make_folder


def random_case(bends, voxels=200_000):
    """Voxels whose share of wrong ones is ``bends(value)``."""
    random = np.random.default_rng(0)
    value = random.random(voxels).astype(np.float32)
    return calibration.counts(value, random.random(voxels) < bends(value))


def test_a_map_that_tells_the_share_of_wrong_voxels_has_no_error():
    found = random_case(lambda value: value)
    assert calibration.calibration_error(found) < 0.01
    assert calibration.auroc(found) == pytest.approx(
        5 / 6, abs=0.01
    )  # of densities 2x and 2(1 - x)
    assert all(
        row["wrong"] == pytest.approx(row["mean_value"], abs=0.02)
        for row in calibration.table(found)
    )


def test_a_map_that_tells_nothing():
    found = random_case(lambda value: 0.2)
    assert calibration.auroc(found) == pytest.approx(0.5, abs=0.01)
    assert calibration.calibration_error(found) == pytest.approx(
        np.mean(np.abs(np.linspace(0, 1, 1001) - 0.2)), abs=0.02
    )


def test_auroc_is_the_share_of_pairs_in_order_with_ties_counted_half():
    value, wrong = (
        np.array([0.1, 0.1, 0.5, 0.9, 1.0], np.float32),
        np.array([False, True, False, True, True]),
    )
    pairs = [(high > low) + (high == low) / 2 for high in value[wrong] for low in value[~wrong]]
    found = calibration.counts(value, wrong)
    assert calibration.auroc(found) == pytest.approx(np.mean(pairs))
    assert np.isnan(calibration.auroc(calibration.counts(value, np.zeros(5, bool))))
    rows = calibration.table(found)
    assert sum(row["voxels"] for row in rows) == 5
    assert sum(row["of_all_wrong"] for row in rows) == pytest.approx(1)


@pytest.mark.parametrize("method", ["cml", "supervised"])
def test_a_run_from_end_to_end(tmp_path, monkeypatch, capsys, method):
    root = make_folder(tmp_path / "scans", labelled=5)
    (root / "split.toml").write_text('test = ["case03", "case04"]\n')
    steps = (
        ["method.pretrain_steps=1", "method.train_steps=1"]
        if method == "cml"
        else ["method.steps=2"]
    )
    keys = [
        f"method.name={method}",
        *steps,
        "data.patch=[8,8,8]",
        "network.filters=2",
        "training.precision=float32",
    ]
    run, _ = crossview.train("folder", root, tmp_path / "mine" / "run", overrides=keys)
    monkeypatch.setattr(calibration, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["calibration", str(run.path)])
    calibration.main()
    found = json.loads((tmp_path / "calibration-mine-run.json").read_text())
    assert (found["cases"], found["step"]) == (2, 2)
    assert found["map"] == ("disagreement" if method == "cml" else "entropy")
    assert ("disagreement" in found) is (method == "cml")
    for name in {found["map"], "entropy"}:
        assert found[name]["all_voxels"]["voxels"] == 2 * 7 * 6 * 5
        assert 0 < found[name]["predicted_or_true_class"]["wrong"] <= 1
    assert Run.open(run.path).recipe.method.name == method


def test_a_run_without_such_cases(tmp_path, monkeypatch):
    root = make_folder(tmp_path / "scans")
    keys = [
        "method.name=supervised",
        "method.steps=1",
        "data.patch=[8,8,8]",
        "network.filters=2",
        "training.precision=float32",
    ]
    run, _ = crossview.train("folder", root, tmp_path / "run", overrides=keys)
    monkeypatch.setattr(sys, "argv", ["calibration", str(run.path)])
    with pytest.raises(SystemExit, match="there are no test cases"):
        calibration.main()
