"""What a run remembers of its training cases, and says when they are scored or have changed."""

import json
import shutil

import numpy as np
import pytest
from tests.helpers.command import crossview as command
from tests.helpers.command import sets
from tests.helpers.made_folder import make_folder, problems_of, scan, write_nifti
from tests.runs.test_predict import SMALL

import crossview
from crossview.core.errors import UserError
from crossview.core.run_folder import TRAINING_CASES


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four labelled and three unlabelled scans, and a finished and a stopped run of them."""
    here = tmp_path_factory.mktemp("trained")
    data = make_folder(here / "scans", labelled=4, unlabelled=3)
    crossview.train("folder", data, here / "run", overrides=SMALL)
    crossview.train("folder", data, here / "stopped", overrides=SMALL, max_steps=1)
    return here


@pytest.fixture
def here(made, tmp_path):
    """A copy in which the runs know the new place of their data."""
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    for run in ("run", "stopped"):
        file = copy / run / "environment.json"
        content = json.loads(file.read_text()) | {"data": str(copy / "scans")}
        file.write_text(json.dumps(content))
    return copy


def split(here, text) -> None:
    (here / "scans/split.toml").write_text(text)


def refused(run, data=None, **more) -> str:
    with pytest.raises(UserError) as error:
        crossview.evaluate(run, data, **more)
    assert not any((run / "evaluation").glob("*"))
    return problems_of(error)


def test_a_run_remembers_names_patients_and_contents(made):
    found = json.loads((made / "run" / TRAINING_CASES).read_text())
    assert [name for name, case in found.items() if case["labelled"]] == [
        *("case00", "case01", "case02", "case03")
    ]
    assert found["case05"]["patient"] == "case05"
    assert len({case["image"] for case in found.values()}) == 7
    assert (found["case05"]["label"], len(found["case00"]["label"])) == ("", 32)


def test_a_labelled_training_case_is_no_test_case(here):
    split(here, 'test = ["case03"]')
    text = refused(here / "run")
    assert "test cases were trained on with labels" in text
    assert "1 of 1: case03" in text


def test_neither_is_another_scan_of_its_patient(here):
    for folder, array in zip(("images", "labels"), scan(9), strict=True):
        write_nifti(here / "scans" / folder / "case09.nii.gz", array)
    split(here, 'test = ["case09"]\n[patient]\ncase09 = "ann"\ncase02 = "ann"\n')
    assert "1 of 1: case09" in refused(here / "run")
    split(here, 'test = ["case09"]\n')
    assert crossview.evaluate(here / "run")["notes"] == []


def test_a_copy_under_another_name_is_no_test_case(here):
    for folder in ("images", "labels"):
        shutil.copy(
            here / "scans" / folder / "case01.nii.gz", here / "scans" / folder / "new.nii.gz"
        )
    split(here, 'test = ["new"]')
    text = refused(here / "run")
    assert "the test case is a copy of a labelled training case" in text
    assert "case01" in text


def as_bytes(image):
    """Return an image of 8 bits and in another type: a monotone change, so the scan is the same."""
    return (image / image.max() * 255).round().astype(np.float32)


@pytest.mark.parametrize("change", [np.float64, as_bytes, lambda image: np.pad(image, 3)])
def test_a_copy_of_a_labelled_scan_is_found_however_it_was_saved(here, change):
    image, label = (change(array) for array in scan(1))
    write_nifti(here / "scans/images/new.nii.gz", image)
    write_nifti(here / "scans/labels/new.nii.gz", (label > 0).astype(np.uint8))
    split(here, 'test = ["new"]')
    text = refused(here / "run")
    assert "the test case is a copy of a labelled training case" in text
    assert "the scan of case01" in text


@pytest.mark.parametrize("change", [np.float64, as_bytes, lambda image: np.pad(image, 3)])
def test_a_copy_of_an_unlabelled_scan_is_noted_in_summary_and_report(here, change):
    """As `check` does, which names the pair."""
    image, label = (change(array) for array in scan(5))
    write_nifti(here / "scans/images/new.nii.gz", image)
    write_nifti(here / "scans/labels/new.nii.gz", (label > 0).astype(np.uint8))
    for folder, array in zip(("images", "labels"), scan(9), strict=True):
        write_nifti(here / "scans" / folder / "other.nii.gz", array)
    split(here, 'test = ["new", "other"]')
    (leak,) = (
        finding.problem
        for finding in crossview.check(here / "scans").errors
        if "across training, validation and test" in finding.problem.what
    )
    assert leak.found == "case05 = new"
    (note,) = crossview.evaluate(here / "run")["notes"]
    assert note.startswith("Copies of scans that were trained on without labels: 1 of 2 test cases")
    assert "new (the scan of case05)" in note
    assert note in (here / "run/report.html").read_text()


def test_runs_of_earlier_versions_know_the_very_same_image_only(here):
    file = here / "run" / TRAINING_CASES
    cases = {
        name: {key: value for key, value in case.items() if key != "likeness"}
        for name, case in json.loads(file.read_text()).items()
    }
    file.write_text(json.dumps(cases))
    for name, change in (("same", np.float64), ("again", as_bytes)):
        image, label = scan(5)
        write_nifti(here / f"scans/images/{name}.nii.gz", change(image))
        write_nifti(here / f"scans/labels/{name}.nii.gz", label)
    split(here, 'test = ["same", "again"]')
    (note,) = crossview.evaluate(here / "run")["notes"]
    assert "1 of 2 test cases, same (the scan of case05)" in note


def test_scans_seen_without_labels_are_noted_in_summary_and_report(here):
    write_nifti(here / "scans/labels/case05.nii.gz", scan(5)[1])
    split(here, 'test = ["case05"]')
    (note,) = crossview.evaluate(here / "run")["notes"]
    assert "Trained on without labels" in note
    assert "1 of 1 test cases, case05" in note
    assert note in (here / "run/report.html").read_text()


def test_cases_that_selected_the_checkpoint_are_noted(here, tmp_path):
    split(here, 'validation = ["case03"]')
    out = tmp_path / "selected"
    selects = [*SMALL, "training.selection=validation", "training.evaluate_every=1"]
    crossview.train("folder", here / "scans", out, overrides=selects)
    split(here, 'test = ["case03"]')
    (note,) = crossview.evaluate(out)["notes"]
    assert note == "Used to select the checkpoint: 1 of 1 test cases, case03."


def test_names_in_another_data_set_are_other_cases(here):
    other = here / "other"
    for number in range(4):
        for folder, array in zip(("images", "labels"), scan(number + 20), strict=True):
            write_nifti(other / folder / f"case{number:02d}.nii.gz", array)
    (other / "split.toml").write_text('test = ["case03"]')
    assert crossview.evaluate(here / "run", other)["notes"] == []
    # The same data in another place are known by their content.
    shutil.move(here / "scans", here / "moved")
    (here / "moved/split.toml").write_text('test = ["case03"]')
    shutil.rmtree(here / "run/evaluation")
    assert "1 of 1: case03" in refused(here / "run", here / "moved")


def test_a_run_of_an_earlier_version_knows_its_labelled_cases(here):
    (here / "run" / TRAINING_CASES).unlink()
    split(here, 'test = ["case03"]')
    assert "1 of 1: case03" in refused(here / "run")


def resumed(here) -> list[str]:
    run, _ = crossview.train("folder", None, here / "stopped", resume=True)
    assert run.finished
    return [row["text"] for row in run.journal.of("warning") if "training data" in row["text"]]


def test_a_resume_on_the_same_data_says_nothing(here):
    assert resumed(here) == []


@pytest.mark.parametrize(("folder", "kind"), [("images", "image"), ("labels", "label")])
def test_a_resume_on_changed_data_says_what_changed(here, folder, kind):
    array = scan(1)[folder == "labels"].copy()
    array[0, 0, 0] = 2
    write_nifti(here / "scans" / folder / "case01.nii.gz", array)
    (text,) = resumed(here)
    assert f"training data changed since the run began: the {kind} of case01;" in text
    assert text in (here / "stopped/report.html").read_text()
    for name in ("images", "labels"):
        write_nifti(here / "scans" / name / "case09.nii.gz", scan(9)[name == "labels"])
    split(here, 'test = ["case09"]')
    assert text in crossview.evaluate(here / "stopped")["notes"]


def test_a_run_of_an_earlier_version_resumes_and_remembers_from_then_on(here):
    (here / "stopped" / TRAINING_CASES).unlink()
    write_nifti(here / "scans/images/case01.nii.gz", np.full((7, 6, 5), 3, np.int16) + scan(1)[1])
    assert resumed(here) == []
    assert len(json.loads((here / "stopped" / TRAINING_CASES).read_text())) == 7


def test_a_run_folder_with_the_name_of_a_setting_resumes_its_own_recipe(here, monkeypatch):
    monkeypatch.chdir(here)
    (here / "stopped").rename("demo")
    run, outcome = crossview.train("demo", None, "demo", resume=True)
    assert (run.recipe.setting, outcome.how) == ("folder", "finished")


def test_the_command_says_why_a_score_may_mislead(capsys, here):
    write_nifti(here / "scans/labels/case05.nii.gz", scan(5)[1])
    split(here, 'test = ["case05"]')
    _, _, told = command(capsys, "evaluate", here / "run")
    assert "remark: Trained on without labels" in told


def test_training_says_that_a_number_of_cases_divides_a_patient(capsys, here, tmp_path):
    for number, name in enumerate(("q1_s1", "q1_s2", "q2_s1", "q2_s2")):
        for kind in ("images", "labels"):
            file = here / "scans" / kind / f"case{number:02d}.nii.gz"
            file.rename(file.with_name(f"{name}.nii.gz"))
    steps = (*sets(*SMALL), "--set", "data.validation=1", "--max-steps", 1)
    to_train = ("train", "folder", "--data", here / "scans", "--out", tmp_path / "new", *steps)
    code, _, told = command(capsys, *to_train)
    assert code == 0, told
    assert "q2 (training: q2_s1; validation: q2_s2)" in " ".join(told.split())
