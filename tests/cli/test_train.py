"""Tests of ``crossview train``: the length of a run, and where it is stored."""

import tomllib

from tests.helpers.command import SMALL, crossview, sets

TINY = sets(*SMALL)


def stages(run) -> tuple[int, int]:
    method = tomllib.loads((run / "recipe.toml").read_text())["method"]
    return method["pretrain_steps"], method["train_steps"]


def test_steps_shorten_the_whole_schedule(capsys, tmp_path):
    run = tmp_path / "run"
    code, out, err = crossview(capsys, "train", "demo", "--out", run, "--steps", 9, *TINY)
    assert code == 0, err
    assert "finished after 9 steps" in out
    assert stages(run) == (2, 7)  # of 160 and 560
    out = crossview(capsys, "recipe", "demo", "--steps", 9)[1]
    assert "pretrain_steps = 2\ntrain_steps = 7\n" in out


def test_a_run_of_fewer_steps_is_resumed_as_it_was_begun(capsys, tmp_path):
    run = tmp_path / "run"
    arguments = ("train", "demo", "--out", run, "--steps", 9, *TINY)
    code, out, _ = crossview(capsys, *arguments, "--max-steps", 2)
    assert (code, "stopped and saved after 2 steps" in out) == (0, True)
    code, out, _ = crossview(capsys, *arguments, "--resume", "--max-steps", 3)
    assert (code, "stopped and saved after 3 steps" in out) == (0, True)
    code, _, err = crossview(capsys, "train", run, "--resume", "--steps", 20)
    assert code == 2
    assert "differs from the resumed run" in err


def test_steps_given_twice_or_too_few_write_nothing(capsys, tmp_path):
    run = tmp_path / "run"
    for more in (("--steps", 9, "--set", "method.train_steps=3"), ("--steps", 1)):
        code, _, err = crossview(capsys, "train", "demo", "--out", run, *TINY, *more)
        assert code == 2
        assert "--steps" in err
        assert not run.exists()
