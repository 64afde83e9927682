"""Files of a run folder, read in one place: what is forgiven and what is not."""

import json

import pytest

from crossview.core.errors import UserError
from crossview.core.journal import Journal
from crossview.core.run_folder import EvaluationFolder, RunFolder

RECIPE = '[method]\nname = "{}"\n'


@pytest.fixture
def run(tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE.format("cml"))
    return RunFolder(tmp_path)


def journal(run, *rows):
    writer = Journal(run.path / "journal.jsonl")
    for row in rows:
        writer.append(**row)
    return writer


def test_a_folder_without_a_recipe_is_no_run(tmp_path):
    for path, found in ((tmp_path, "without recipe.toml"), (tmp_path / "no", "no such folder")):
        assert not RunFolder(path).exists
        with pytest.raises(UserError, match=f"not a run folder[\\s\\S]*{found}"):
            RunFolder.require(path)


def test_optional_files_that_are_missing_or_damaged_read_as_empty(run):
    for text in (None, "{", "[1]", "\xff"):
        for name in ("environment.json", "plan.json", "bench.json"):
            if text is not None:
                (run.path / name).write_text(text, encoding="latin-1")
        assert (run.environment, run.plan, run.place) == ({}, {}, {})
        with pytest.raises(UserError, match=r"environment\.json"):
            run.require_environment()
    assert (run.journal.rows, run.finished, run.evaluations) == ((), False, [])


def test_a_damaged_recipe_is_named(run):
    (run.path / "recipe.toml").write_text("[method")
    with pytest.raises(UserError, match=r"recipe\.toml"):
        _ = run.tables
    assert run.command("evaluate") == f"crossview evaluate {run.path}"


def test_the_recipe_is_parsed_once(run):
    assert run.tables is run.tables


def test_a_command_names_the_plugin_of_the_recipe(run):
    (run.path / "recipe.toml").write_text(RECIPE.format("mine:Mine"))
    assert run.command("train", "--resume").endswith(" --resume --plugin mine:Mine")


def test_a_line_that_a_kill_cut_short_is_dropped(run):
    journal(run, {"kind": "step", "total_step": 3, "seconds": 1.5})
    with (run.path / "journal.jsonl").open("a") as file:
        file.write('{"kind": "step", "total_st')
    assert [row["total_step"] for row in run.journal.rows] == [3]
    assert (run.journal.total_step, run.journal.seconds, run.finished) == (3, 1.5, False)


def test_a_run_is_finished_by_the_last_row_of_its_end(run):
    journal(run, {"kind": "finished", "total_step": 4}, {"kind": "finished", "total_step": 6})
    assert run.finished
    assert run.journal.end["total_step"] == 6


@pytest.mark.parametrize("ready", [True, False])
def test_a_run_whose_networks_never_became_ready_waited_in_vain(run, ready):
    journal(run, {"kind": "readiness", "ready": ready})
    assert not run.waited_in_vain
    journal(run, {"kind": "finished", "total_step": 6})
    assert run.waited_in_vain == (not ready)
    assert run.labelled_stage_only == (not ready)


def test_a_recipe_without_a_second_stage_is_the_labelled_stage_only(run):
    assert not run.labelled_stage_only
    (run.path / "recipe.toml").write_text(RECIPE.format("cml") + "train_steps = 0\n")
    assert RunFolder(run.path).labelled_stage_only


def test_a_place_in_a_suite_is_that_of_the_training_in_the_folder(run):
    (run.path / "environment.json").write_text('{"started": "today"}')
    for started, known in (("today", True), ("yesterday", False)):
        (run.path / "bench.json").write_text(json.dumps({"started": started, "suite": "demo"}))
        assert bool(run.place) == known


def test_evaluations_come_test_first_without_half_written_ones(run):
    for split in ("validation", "test", "test.part"):
        (run.path / "evaluation" / split).mkdir(parents=True)
        (run.path / "evaluation" / split / "summary.json").write_text("{}")
    assert [found.split for found in run.evaluations] == ["test", "validation"]


def test_a_missing_evaluation_says_how_to_make_it(run):
    evaluation = run.evaluation("test")
    assert evaluation == EvaluationFolder(run.path / "evaluation" / "test")
    assert evaluation.cases() is None
    with pytest.raises(UserError, match=f"crossview evaluate {run.path} --split test"):
        evaluation.summary()
