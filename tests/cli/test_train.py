"""Tests of ``crossview train``: the length of a run, and where it is stored."""

import tomllib

import pytest
from tests.helpers import own_method
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
    assert "remark: 9 steps in all are few: this recipe has 720." in err
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
    assert "--steps 20: a run keeps its number of steps" in err
    assert f"--from {run}" in err
    assert "1 problem" not in err


def test_steps_given_twice_or_too_few_write_nothing(capsys, tmp_path):
    run = tmp_path / "run"
    for more in (("--steps", 9, "--set", "method.train_steps=3"), ("--steps", 1)):
        code, _, err = crossview(capsys, "train", "demo", "--out", run, *TINY, *more)
        assert code == 2
        assert "--steps" in err
        assert not run.exists()


def test_an_unknown_recipe_is_told_with_the_missing_out(capsys):
    code, _, err = crossview(capsys, "train", "nosuch")
    assert code == 2
    assert "there is no recipe 'nosuch'" in err
    assert "no run folder is given" in err
    assert "no recipe" not in crossview(capsys, "train", "demo")[2]


def test_a_folder_without_a_run_is_named(capsys, tmp_path):
    for place in (tmp_path, tmp_path / "none"):
        code, _, err = crossview(capsys, "train", place, "--resume")
        assert (code, err.splitlines()[0]) == (2, f"error: {place}: there is no run to resume")
    code, _, err = crossview(capsys, "train", tmp_path, "--out", tmp_path / "run")
    assert code == 2
    assert f"crossview train folder --data {tmp_path}" in err


def test_lists_of_a_published_set_that_are_missing_name_the_way_for_own_scans(capsys, tmp_path):
    words = ("train", "la-8", "--data", tmp_path, "--out", tmp_path / "run")
    code, _, err = crossview(capsys, *words)
    assert code == 2
    assert "for scans of your own: crossview train folder --data FOLDER" in err


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("learning_rate=0.1", "did you mean training.learning_rate?"),
        ("seed=1", "training.seed?"),
        ("training.steps=9", "--steps sets the length of a run"),
        ("training.epochs=9", "--steps sets the length of a run"),
        ("training.lerning_rate=1", "did you mean learning_rate?"),
    ],
)
def test_keys_that_people_guess_are_answered(capsys, tmp_path, key, fix):
    code, _, err = crossview(capsys, "train", "demo", "--out", tmp_path / "run", "--set", key)
    assert code == 2
    assert fix in err


def test_a_folder_named_like_a_setting_is_a_run_only_to_resume(capsys, tmp_path, monkeypatch):
    with own_method.within(tmp_path, monkeypatch):
        plugin = ("--plugin", own_method.NAME)
        shipped = crossview(capsys, "recipe", "demo", *plugin)[1]
        assert f'name = "{own_method.NAME}"' in shipped
        made = crossview(capsys, "train", "demo", "--out", "demo", "--steps", 2, *TINY)
        assert made[0] == 0
        assert crossview(capsys, "recipe", "demo", *plugin)[1] == shipped
        _, _, err = crossview(capsys, "train", "demo")
        assert "--out runs/NAME to train the shipped setting demo, or --resume" in err
        assert "already finished after 2 steps" in crossview(capsys, "train", "demo", "--resume")[1]


def test_a_changed_key_is_named_once(capsys, tmp_path):
    run = tmp_path / "run"
    crossview(capsys, "train", "demo", "--out", run, *TINY, "--max-steps", 1)
    _, _, err = crossview(capsys, "train", run, "--resume", *sets("training.learning_rate=0.3"))
    assert err.startswith("error: [training] learning_rate: the value differs from the resumed")
    assert err.count("learning_rate") == 1


def test_an_out_that_is_a_file_is_told_in_the_same_words(capsys, tmp_path):
    run, file = tmp_path / "run", tmp_path / "file"
    train = ("train", "demo", "--out")
    assert crossview(capsys, *train, run, *TINY, "--steps", 2)[0] == 0
    file.touch()
    commands = (
        (*train, file, *TINY),
        ("predict", run, tmp_path, "--out", file),
        ("suggest", run, "--out", file),
        ("bench", "demo", "--out", file),
        ("demo", "--out", file),
    )
    for command in commands:
        code, _, err = crossview(capsys, *command)
        assert (code, "the output folder can't be created" in err) == (2, True), (command, err)
        assert f"{file} is a file" in err
        assert "permission" not in err


def test_a_fix_names_the_option_that_was_given(capsys, tmp_path):
    run = tmp_path / "run"
    changed = sets("data.augmentation=none", "inference.largest_component=false")
    assert crossview(capsys, "train", "demo", "--out", run, *TINY, *changed, "--steps", 2)[0] == 0
    err = crossview(capsys, "predict", run, tmp_path, "--out", tmp_path / "p", "--flips")[2]
    assert "--flips: the model never sees mirror images" in err
    assert "leave out --flips" in err
    assert "inference.flips" not in err
    for verb in ("evaluate", "suggest"):
        err = crossview(capsys, verb, run, "--device", "cuda:7")[2]
        assert "--device: unknown device 'cuda:7'" in err
