"""Tests of ``crossview check``: one pass, every problem, two exit codes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tests.helpers.command import crossview as crossview_command
from tests.helpers.made_folder import make_folder, scan, write_nifti

import crossview


@pytest.fixture
def run(capsys, monkeypatch):
    """Return a function that runs the command 80 columns wide in this process."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments) -> tuple[int, str, str]:
        return crossview_command(capsys, "check", *arguments)

    return call


@pytest.fixture
def sound(tmp_path):
    return make_folder(tmp_path / "scans", labelled=4, unlabelled=3)


@pytest.fixture
def faulty(sound):
    """Return a data set with each fault in another scan; labelled scans 0 and 1 stay whole."""
    image, label = scan(2)
    write_nifti(sound / "labels/case02.nii.gz", label, np.diag([1.0, 1.5, 2.2, 1.0]))
    write_nifti(sound / "labels/case03.nii.gz", scan(3)[1] * 0.5)
    whole = (sound / "images/case04.nii.gz").read_bytes()
    (sound / "images/case04.nii.gz").write_bytes(whole[: len(whole) // 2])
    write_nifti(sound / "images/case05.nii.gz", np.where(image > 0, np.nan, 0).astype(np.float32))
    write_nifti(sound / "images/copy.nii.gz", scan(0)[0])
    write_nifti(sound / "images/[bold]odd.nii.gz", scan(9)[0] * 100)
    (sound / "labels/nobody.nii.gz").touch()
    return sound


def test_a_sound_folder(run, sound):
    code, out, err = run(sound)
    assert (code, err.strip()) == (0, "")
    for part in (
        "scans: source folder, 7 cases, 1 channel",
        "labelled",
        "7 x 6 x 5",
        "1 x 1.5 x 2",
        "2 class 2",
        "No problems found",
    ):
        assert part in out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert not [line for line in out.splitlines() if line.endswith(" ")]


@pytest.mark.parametrize("folder", [".", "images"])
def test_an_empty_folder_has_no_tables(run, tmp_path, folder):
    (tmp_path / "scans" / folder).mkdir(parents=True)
    code, out, _ = run(tmp_path / "scans")
    title, empty, problem, *rest = out.splitlines()
    assert code == 2
    assert (title, empty) == ("scans: source folder, 0 cases, 0 channels", "")
    assert problem.startswith("error: the folder ")
    assert rest[-1] == "1 error, 0 warnings. Fix the errors before training."


def test_every_fault_is_reported_at_once(run, faulty):
    code, out, _ = run(faulty)
    assert code == 2
    told = " ".join(out.split())
    for part in (
        *(
            "are not aligned in space",
            "case02.nii.gz",
            "fractions",
            "0.5",
            "case03.nii.gz",
            "cut off",
            "case04.nii.gz",
        ),
        *(
            "NaN",
            "case05.nii.gz",
            "case00 = copy",
            "nobody",
            "[bold]odd",
            "5 errors, 2 warnings. Fix the errors",
        ),
    ):
        assert part in told, part


def test_json_holds_all_of_it(run, faulty):
    code, out, _ = run(faulty, "--json")
    found = json.loads(out)
    assert code == 2
    assert found["ok"] is False
    assert found["source"] == "folder"
    assert found["cases"]["labelled"] == ["case00", "case01", "case02", "case03"]
    assert sorted(case for error in found["errors"] for case in error["cases"]) == [
        "case02",
        "case03",
        "case04",
        "case05",
    ]
    assert all(
        set(error) == {"what", "where", "found", "expected", "fix", "cases"}
        for error in found["errors"] + found["warnings"]
    )
    assert {"value", "name", "voxels", "share", "cases"} == set(found["classes"][0])
    assert found["ranges"]["shape"]["median"] == [7, 6, 5]


def test_nothing_is_wrong_with_having_no_labels_of_unlabelled_scans(run, sound):
    code, out, _ = run(sound, "--json")
    found = json.loads(out)
    assert (code, found["ok"], found["errors"], found["warnings"]) == (0, True, [], [])
    assert found["cases"]["unlabelled"] == ["case04", "case05", "case06"]


def test_problems_of_one_kind_are_reported_together(run, sound):
    for number in range(20, 40):
        (sound / "images" / f"case{number}.nii.gz").write_bytes(b"x")
    _, out, _ = run(sound)
    assert "(20 times)" in out
    assert "and 10 more; --json lists all" in out
    assert out.count("copy it again") == 1


def test_a_warning_is_no_error(run, sound):
    write_nifti(sound / "labels/case03.nii.gz", np.zeros((7, 6, 5), np.uint8))
    code, out, _ = run(sound)
    assert code == 0
    assert "1 label contains background only" in out
    assert "0 errors, 1 warning. The data set can be trained on." in out


def test_no_folder_no_layout_and_a_wrong_source(run, tmp_path, sound):
    code, _, err = run(tmp_path / "nowhere")
    assert (code, "the data folder does not exist" in err) == (2, True)
    code, out, _ = run(tmp_path)
    assert (code, "the folder layout is unknown" in out) == (2, True)
    code, out, _ = run(sound, "--source", "la")
    assert (code, "train.list" in out) == (2, True)
    code, _, err = run(sound, "--source", "lla")
    assert (code, "did you mean la" in err) == (2, True)


def test_the_verb_is_a_function(sound):
    seen = []
    found = crossview.check(sound, progress=lambda done, total: seen.append((done, total)))
    assert (found.errors, found.warnings) == ((), ())
    assert seen[-1] == (7, 7)
    assert [share.name for share in found.classes()] == ["background", "class 1", "class 2"]


def test_checking_imports_no_torch(sound):
    code = (
        f"import sys, crossview; crossview.check({str(sound)!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
