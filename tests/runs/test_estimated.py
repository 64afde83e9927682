"""The estimated Dice from ``evaluate`` to ``predict`` and ``suggest``."""

import json

import numpy as np
import pytest
from tests.helpers.command import crossview
from tests.helpers.made_folder import make_folder

import crossview as package
from crossview.evaluation.metrics import overlap
from crossview.training import checkpoint


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("estimated")
    make_folder(root / "scans", labelled=13, unlabelled=2)
    tests = [f"case{number:02}" for number in range(2, 13)]
    (root / "scans" / "split.toml").write_text(f"test = {json.dumps(tests)}\n")
    keys = (
        "data.patch=[16,16,16]",
        "network.filters=2",
        "method.pretrain_steps=1",
        "method.train_steps=1",
        "method.ready_dice=0",
        "training.precision=float32",
    )
    run, _ = package.train("folder", root / "scans", root / "run", overrides=keys)
    find_something(run)
    package.evaluate(run)
    return root


@pytest.fixture
def home(made):
    """The folder of the run. What a test makes of its held-out scores is undone."""
    scores = made / "run/evaluation/test/expected.json"
    before = scores.read_bytes()
    yield made
    scores.write_bytes(before)


def find_something(run):
    """Make the weights of a run say foreground here and there: two steps teach it nothing."""
    for path in (run.checkpoint(), run.path / "model.pt"):
        state = checkpoint.read(path)
        for name in ("view1", "view2"):
            state["weights"][f"{name}.last.weight"] *= 20
            state["weights"][f"{name}.last.bias"] *= 0
        checkpoint.write(path, state)


def promised(model, home, case):
    """Return the promised Dice of a case from its probabilities, and the true one."""
    import nibabel

    scans = home / "scans"
    file = nibabel.load(scans / "images" / f"{case}.nii.gz")
    image = file.get_fdata(dtype=np.float32)
    spacing = tuple(map(float, file.header.get_zooms()[:3]))
    prediction = model.predict(image, spacing=spacing)
    truth = np.asarray(nibabel.load(scans / "labels" / f"{case}.nii.gz").dataobj)
    raw = prediction.probability.argmax(0)
    expected = [
        2 * p[raw == k].sum(dtype=float) / (p.sum(dtype=float) + (raw == k).sum())
        for k, p in enumerate(prediction.probability)
        if k and (raw == k).any()
    ]
    dice = [overlap(prediction.label == k, truth == k)[0] for k in range(1, truth.max() + 1)]
    return np.mean(expected) if expected else None, np.mean(dice)


def test_evaluate_keeps_what_the_probabilities_promise(home):
    content = json.loads((home / "run/evaluation/test/expected.json").read_text())
    step = json.loads((home / "run/evaluation/test/summary.json").read_text())["step"]
    assert content["step"] == step
    assert len(content["cases"]) == 11
    model = package.load(home / "run")
    for case in ("case02", "case07"):
        found = content["cases"][case]
        assert found["patient"] == case
        expected, dice = promised(model, home, case)
        assert found["expected"] == pytest.approx(expected, abs=1e-5)
        assert found["dice"] == pytest.approx(dice, abs=1e-9)


def rewrite(home, change):
    """Replace the true Dice of the held-out scans by a function of the promised one."""
    path = home / "run/evaluation/test/expected.json"
    content = json.loads(path.read_text())
    for number, row in enumerate(content["cases"].values()):
        row["dice"] = change(row["expected"], number)
    # One scan below and one above, so that every scan is in their range.
    low, high = list(content["cases"].values())[:2]
    low |= {"expected": 0.01, "dice": change(0.01, 0)}
    high |= {"expected": 0.99, "dice": change(0.99, 1)}
    path.write_text(json.dumps(content))


def test_predict_and_suggest_show_the_estimate(capsys, home):
    rewrite(home, lambda expected, _: 0.5 * expected + 0.1)
    run, out = home / "run", home / "out"
    scan = home / "scans/images/case13.nii.gz"
    code, _, err = crossview(capsys, "predict", run, scan, "--out", out)
    assert code == 0, err
    assert "off by 0.00 points on average on 11 held-out scans" in err
    (value,) = json.loads((out / "estimated-dice.json").read_text())["scans"].values()
    code, text, err = crossview(capsys, "suggest", run, "-n", 2)
    assert code == 0, err
    assert "estimated Dice %" in text
    stored = json.loads((run / "suggest/suggest.json").read_text())
    assert stored["estimated_dice"]["case13"] == pytest.approx(value, abs=1e-5)
    assert "11 held-out scans" in stored["estimate"]
    other = home / "scans/images/case14.nii.gz"
    assert crossview(capsys, "predict", run, other, "--out", out)[0] == 0
    scans = json.loads((out / "estimated-dice.json").read_text())["scans"]
    assert list(scans) == ["case13.nii.gz", "case14.nii.gz"]


def test_predictions_made_in_another_way_than_the_held_out_ones_get_no_estimate(
    capsys, home, tmp_path
):
    rewrite(home, lambda expected, _: 0.5 * expected + 0.1)
    scan = home / "scans/images/case13.nii.gz"
    code, _, err = crossview(
        capsys, "predict", home / "run", scan, "--minimum-volume", "3", "--out", tmp_path
    )
    assert code == 0, err
    assert "held-out" not in err
    assert not (tmp_path / "estimated-dice.json").exists()


def test_an_estimate_that_is_no_better_than_the_mean_is_not_shown(capsys, home):
    rewrite(home, lambda _, number: 0.8 + 0.05 * (-1) ** number)
    scan, out = home / "scans/images/case13.nii.gz", home / "none"
    code, _, err = crossview(capsys, "predict", home / "run", scan, "--out", out)
    assert code == 0, err
    assert "No Dice is estimated" in err
    assert not (out / "estimated-dice.json").exists()
    code, text, err = crossview(capsys, "suggest", home / "run", "-n", 2)
    assert "No Dice is estimated" in err
    assert "estimated Dice %" not in text
