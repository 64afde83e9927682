"""Another program's predictions are scored by crossview's metrics, and the table pairs both."""

import sys

import pytest
from benchmarks.beside import against, command, largest, score, table


def test_score_with_and_without_largest_components(tmp_path, labels, save):
    truth, predicted = labels
    save(tmp_path / "data" / "labels", truth)
    save(tmp_path / "predictions", predicted)
    found = score(tmp_path / "data", tmp_path / "predictions", ["a", "b"], lambda label: label)
    voxels = int((truth[0] == 1).sum())
    assert found["dice"]["cases"] == {
        "a": [1.0, 1.0],
        "b": [pytest.approx(2 * voxels / (2 * voxels + 1)), 1.0],
    }
    cleaned = score(tmp_path / "data", tmp_path / "predictions", ["a", "b"], largest)
    assert cleaned["dice"]["mean"] == 1
    assert cleaned["hd95"]["mean"] == 0


def test_rows_are_paired_with_ours(tmp_path, labels, save):
    truth, predicted = labels
    save(tmp_path / "data" / "labels", truth)
    save(tmp_path / "predictions", predicted)
    theirs = {"seconds": 4.0, "iterations": 7} | score(
        tmp_path / "data", tmp_path / "predictions", ["a", "b"], lambda label: label
    )
    ours = {"seconds": 4.0} | score(
        tmp_path / "data", tmp_path / "predictions", ["a", "b"], largest
    )
    difference = against(ours, theirs)
    assert difference["crossview_minus_this"]["mean"] == pytest.approx(1 - theirs["dice"]["mean"])
    assert against(ours, ours) == {}
    shown = table({"rows": {"crossview": ours, "nnU-Net": theirs | difference}})
    assert "| crossview | 4 |  | 100.00 [100.00, 100.00] | 0.00 |  |" in shown
    assert "| nnU-Net | 4 | 7 |" in shown


@pytest.mark.parametrize("python", [sys.executable, "no-such-python"])
def test_an_absent_program_is_an_error_before_anything_is_done(
    tmp_path, monkeypatch, capsys, python
):
    given = ["x", str(tmp_path), str(tmp_path / "out"), "--someprogram", python]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit) as ended:
        command("", "Some-Program", "no_such_package", lambda *_: pytest.fail("began"))
    assert ended.value.code == 2
    assert f"{python}: Some-Program is not there" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
