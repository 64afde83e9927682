"""Tests of the command: its output, its exit codes, and the files it leaves."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from tests.helpers.command import SMALL, crossview, sets
from tests.helpers.made_folder import write_nifti

from crossview import cli
from crossview.networks import NETWORKS
from crossview.training import checkpoint

TINY = sets(*SMALL, "method.pretrain_steps=1", "method.train_steps=2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a finished tiny run, made by the command."""
    out = tmp_path_factory.mktemp("cli") / "run"
    subprocess.run(
        [sys.executable, "-m", "crossview", "train", "demo", "--out", out, *TINY],
        check=True,
        capture_output=True,
    )
    return out


def la(root: Path, cases: int = 6, size=(20, 20, 12)) -> Path:
    """Write a data set in LA's layout: ``cases`` to train on, two to test."""
    random = np.random.default_rng(0)
    names = [f"CASE{number:02d}" for number in range(cases + 2)]
    root.mkdir(parents=True)
    (root / "train.list").write_text("\n".join(names[:cases]) + "\n")
    (root / "test.list").write_text("\n".join(names[cases:]) + "\n")
    for name in names:
        folder = root / "2018LA_Seg_Training Set" / name
        folder.mkdir(parents=True)
        label = np.zeros(size, np.uint8)
        label[5:12, 6:14, 3:9] = 1
        with h5py.File(folder / "mri_norm2.h5", "w") as file:
            file["image"] = (random.normal(size=size) + 2 * label).astype(np.float32)
            file["label"] = label
    return root


LA_TINY = sets(
    "data.labelled=4",
    "data.patch=[16,16,8]",
    "network.filters=2",
    "network.levels=2",
    "method.pretrain_steps=1",
    "method.train_steps=1",
    "training.precision=float32",
    "inference.stride=[8,8,4]",
)


def test_help_is_quick_and_imports_no_torch():
    code = "import sys; sys.argv[1:] = ['--help']\nfrom crossview import cli\ntry: cli.main()\n"
    code += "finally: print('loaded:', *{'torch', 'numpy', 'pydantic', 'h5py'} & set(sys.modules))"
    seconds = []
    for _ in range(3):
        before = children_seconds()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        seconds.append(children_seconds() - before)
        assert done.stdout.splitlines()[-1] == "loaded:", done.stderr
    assert min(seconds) < 0.5
    for verb in cli.VERBS:
        assert f" {verb.__name__.rstrip('_')} " in done.stdout


def children_seconds() -> float:
    """Return the processor time of ended child processes: wall time depends on what else runs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_from_disk_to_report(capsys, tmp_path):
    """LA's layout: train, evaluate, predict, report, compare."""
    data = la(tmp_path / "LA")
    run = tmp_path / "run"
    code, out, err = crossview(capsys, "train", "la-8", "--data", data, "--out", run, *LA_TINY)
    assert (code, "finished after 2 steps" in out) == (0, True), err
    code, out, _ = crossview(capsys, "evaluate", run)
    assert code == 0
    assert "left atrium" in out
    summary = json.loads((run / "evaluation" / "test" / "summary.json").read_text())
    assert summary["cases"] == ["CASE06", "CASE07"]
    assert summary["selection"] == "last"
    assert not summary["optimistic"]
    assert (run / "evaluation" / "test" / "pictures" / "CASE06.png").exists()
    scan = data / "2018LA_Seg_Training Set" / "CASE06" / "mri_norm2.h5"
    code, out, err = crossview(capsys, "predict", run, scan, "--out", tmp_path / "predictions")
    assert code == 0, err
    with h5py.File(tmp_path / "predictions" / "CASE06.h5") as file:
        assert file["label"].shape == (20, 20, 12)
    assert crossview(capsys, "report", run)[0] == 0
    assert "left atrium" in (run / "report.html").read_text()
    table = tmp_path / "table.csv"
    code, out, err = crossview(capsys, "compare", run, "--out", table)
    assert code == 0, err
    header, row, *_ = table.read_text().splitlines()
    assert header.startswith(
        "method,setting,seed,steps,dice,jaccard,hd95,asd,ci_low,ci_high,selection,"
    )
    assert row.startswith("cml,la-8,1337,2,")


def test_train_on_acdc_layout(capsys, tmp_path):
    random = np.random.default_rng(0)
    root = tmp_path / "ACDC"
    (root / "data" / "slices").mkdir(parents=True)
    slices = [f"patient{number:03d}_frame01_slice_{k}" for number in range(1, 9) for k in (1, 2)]
    volumes = ["patient101_frame01", "patient102_frame01"]
    for name in slices:
        with h5py.File(root / "data" / "slices" / f"{name}.h5", "w") as file:
            file["image"], file["label"] = (
                random.random((30, 34), np.float32),
                random.integers(0, 4, (30, 34), np.uint8),
            )
    for name in volumes:
        with h5py.File(root / "data" / f"{name}.h5", "w") as file:
            file["image"], file["label"] = (
                random.random((3, 30, 34), np.float32),
                random.integers(0, 4, (3, 30, 34), np.uint8),
            )
    (root / "train_slices.list").write_text("\n".join(slices))
    (root / "val.list").write_text(volumes[0])
    (root / "test.list").write_text(volumes[1])
    tiny = sets(
        "data.labelled=3",
        "data.patch=[32,32]",
        "network.filters=2",
        "network.levels=2",
        "network.dropout=[0.1,0.2]",
        "method.pretrain_steps=1",
        "method.train_steps=1",
        "training.labelled_batch=4",
        "training.unlabelled_batch=4",
        "training.precision=float32",
    )
    run = tmp_path / "run"
    code, _, err = crossview(capsys, "train", "acdc-7", "--data", root, "--out", run, *tiny)
    assert code == 0, err
    assert "validation Dice" in err
    code, out, err = crossview(capsys, "evaluate", run)
    assert code == 0, err
    assert all(name in out for name in ("right ventricle", "myocardium", "left ventricle"))


def test_an_existing_run_is_left_alone(capsys, trained):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()}
    code, _, err = crossview(capsys, "train", "demo", "--out", trained, *TINY)
    assert code == 2
    assert "--resume" in err
    assert "--overwrite" in err
    assert before == {
        path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()
    }


def test_somebody_elses_folder_is_left_alone(capsys, tmp_path):
    (tmp_path / "thesis.txt").write_text("three years of work")
    code, _, err = crossview(capsys, "train", "demo", "--out", tmp_path, "--overwrite", *TINY)
    assert code == 2
    assert "is not a crossview run" in err
    assert (tmp_path / "thesis.txt").exists()


def test_overwrite_starts_anew_only_after_the_checks(capsys, tmp_path):
    run = tmp_path / "run"
    assert crossview(capsys, "train", "demo", "--out", run, *TINY)[0] == 0
    code, _, err = crossview(
        capsys,
        "train",
        "demo",
        "--out",
        run,
        "--overwrite",
        *TINY,
        *sets("training.labelled_batch=20"),
    )
    assert (code, "20" in err) == (2, True)
    assert (run / "model.pt").exists()
    assert (
        crossview(
            capsys, "train", "demo", "--out", run, "--overwrite", *TINY, *sets("training.seed=2")
        )[0]
        == 0
    )
    assert "seed = 2" in (run / "recipe.toml").read_text()


def test_resume_with_another_recipe_is_refused(capsys, trained):
    code, _, err = crossview(
        capsys,
        "train",
        "demo",
        "--out",
        trained,
        "--resume",
        *TINY,
        *sets("training.seed=2", "method.box=0.5"),
    )
    assert code == 2
    assert "[training] seed" in err
    assert "[method] box" in err
    code, _, err = crossview(
        capsys,
        "train",
        "demo",
        "--out",
        trained,
        "--resume",
        *TINY,
        *sets("training.evaluate_every=7"),
    )
    assert code == 0, err
    code, _, err = crossview(
        capsys, "train", "demo", "--out", trained / "nothing", "--resume", *TINY
    )
    assert (code, "not a run folder" in err) == (2, True)


def test_resume_with_other_cases_is_refused(capsys, tmp_path):
    root, run = la(tmp_path / "LA"), tmp_path / "run"
    assert (
        crossview(
            capsys, "train", "la-8", "--data", root, "--out", run, *LA_TINY, "--max-steps", 1
        )[0]
        == 0
    )
    names = (root / "train.list").read_text().split()
    (root / "train.list").write_text("\n".join([*names[:4], names[5], names[4]]))
    code, _, err = crossview(
        capsys, "train", "la-8", "--data", root, "--out", run, *LA_TINY, "--resume"
    )
    assert (code, "differ from those that the run began with" in err) == (2, True), err
    (root / "train.list").write_text("\n".join(names))
    assert (
        crossview(capsys, "train", "la-8", "--data", root, "--out", run, *LA_TINY, "--resume")[0]
        == 0
    )


def test_checkpoints_of_another_recipe_or_format(capsys, trained, tmp_path):
    other = tmp_path / "other"
    assert (
        crossview(capsys, "train", "demo", "--out", other, *TINY, *sets("network.filters=3"))[0]
        == 0
    )
    last = other / "checkpoints" / "last.pt"
    for content, told in (
        ((trained / "checkpoints" / "last.pt").read_bytes(), "a different recipe"),
        (last.read_bytes()[:1000], "cannot read"),
        (b"", "cannot read"),
    ):
        last.write_bytes(content)
        code, _, err = crossview(capsys, "evaluate", other)
        assert (code, told in err, str(last) in err) == (2, True, True), err
    checkpoint.write(last, {"format": 99})
    code, _, err = crossview(capsys, "evaluate", other)
    assert (code, "format 99" in err) == (2, True)
    last.unlink()
    code, _, err = crossview(capsys, "evaluate", other)
    assert (code, "the checkpoint does not exist" in err) == (2, True)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda root: (root / "train.list").unlink(), ["train.list"]),
        (lambda root: (root / "train.list").write_text(""), ["train.list", "empty"]),
        (
            lambda root: (root / "train.list").write_text("CASE00\n../../etc/passwd\n"),
            ["../../etc/passwd"],
        ),
        (
            lambda root: (root / "train.list").write_text("CASE00\nABSENT1\nABSENT2\nCASE01\n"),
            ["ABSENT1", "ABSENT2"],
        ),
        (lambda root: (root / "train.list").write_text("CASE00\nCASE01\nCASE02\n"), ["4", "3"]),
        (lambda root: truncate(case(root, 1)), ["CASE01", "mri_norm2.h5"]),
        (lambda root: rekey(case(root, 1), "label", "mask"), ["CASE01", "label", "mask"]),
        (
            lambda root: rewrite(case(root, 2), "label", np.zeros((20, 20, 11), np.uint8)),
            ["CASE02", "20, 20, 11"],
        ),
        (
            lambda root: rewrite(case(root, 2), "label", np.full((20, 20, 12), 7, np.uint8)),
            ["CASE02", "7"],
        ),
        (
            lambda root: rewrite(case(root, 2), "image", np.full((20, 20, 12), np.nan, np.float32)),
            ["CASE02", "NaN"],
        ),
        (
            lambda root: [
                truncate(case(root, 0)),
                rewrite(case(root, 3), "label", np.full((20, 20, 12), 9, np.uint8)),
            ],
            ["CASE00", "CASE03"],
        ),
    ],
)
def test_bad_data_is_named_and_nothing_is_written(capsys, tmp_path, spoil, told):
    root = la(tmp_path / "LA")
    spoil(root)
    run = tmp_path / "run"
    code, _, err = crossview(capsys, "train", "la-8", "--data", root, "--out", run, *LA_TINY)
    assert code == 2, err
    for text in told:
        assert text in err
    assert not run.exists()
    assert "Traceback" not in err


def case(root, number):
    return root / "2018LA_Seg_Training Set" / f"CASE{number:02d}" / "mri_norm2.h5"


def truncate(path):
    path.write_bytes(path.read_bytes()[:900])


def rekey(path, old, new):
    with h5py.File(path, "a") as file:
        file.move(old, new)


def rewrite(path, key, value):
    with h5py.File(path, "a") as file:
        del file[key]
        file[key] = value


BCP = ["train", "demo", "--out", "RUN", *sets("method.name=bcp"), "--set"]
CPS = ["train", "demo", "--out", "RUN", *sets("method.name=cps"), "--set"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "la-9", "--out", "RUN"], "did you mean la-8"),
        (["train", "demo", "--out", "RUN", *sets("training.device=tpu")], "unknown device 'tpu'"),
        (
            ["train", "demo", "--out", "RUN", *sets("training.device=cuda:7")],
            "unknown device 'cuda:7'",
        ),
        (
            ["train", "demo", "--out", "RUN", *sets("training.selection=validation")],
            "no validation cases",
        ),
        (["train", "demo", "--out", "RUN", "--resume", "--overwrite"], "cannot be combined"),
        (["train", "la-8", "--out", "RUN"], "--data"),
        (["train", "la-8", "--data", "nowhere", "--out", "RUN"], "nowhere"),
        (["train", "demo", "--data", ".", "--out", "RUN"], "phantoms need no data"),
        (["evaluate", "RUN"], "not a run folder"),
        (["predict", "RUN", "scan.nii.gz", "--out", "OUT"], "not a run folder"),
        (["train", "demo", "--out", "RUN", *sets("method.name=cml2")], "did you mean cml?"),
        (
            ["train", "demo", "--out", "RUN", *sets("method.variant=official")],
            "'corrected' or 'released'",
        ),
        (
            ["train", "demo", "--out", "RUN", *sets("method.ema_decay=0.9")],
            "it is a key of mean_teacher, ua_mt, bcp",
        ),
        (["train", "demo", "--out", "RUN", *sets("training.labelled_batch=3")], "an even number"),
        ([*BCP, "training.unlabelled_batch=5"], "an even number"),
        ([*CPS, "training.unlabelled_batch=3", *sets("method.cutmix=true")], "an even number"),
        (["train", "demo", "--out", "RUN", *sets("data.patch=[12,12,9]")], "multiples of 4"),
        (["bench", "phantm", "--out", "RUN"], "did you mean phantom"),
        (["compare", "RUN"], "not a run folder"),
        (["list", "things"], "no list of 'things'"),
        (["recipe", "la-88"], "did you mean la-8"),
    ],
)
def test_mistakes_exit_with_2_and_a_way_out(capsys, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    code, _, err = crossview(capsys, *arguments)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "found"), [("cmp", "no suffix"), ("cmp.pdf", "suffix '.pdf'")])
def test_compare_refuses_an_unknown_format_before_it_reads_runs(tmp_path, name, found):
    """And before torch is loaded, which takes seconds."""
    code = f"import sys; sys.argv[1:] = ['compare', 'nowhere', '--out', {str(tmp_path / name)!r}]\n"
    code += "from crossview import cli\ntry: cli.main()\n"
    code += "finally: print('loaded:', *{'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "loaded:\n")
    assert "nowhere" not in done.stderr
    for told in (found, "the format of the table is unknown", ".md, .csv, .html or .svg"):
        assert told in done.stderr


def test_compare_refuses_what_is_no_finished_run(capsys, trained, tmp_path):
    foreign, unfinished = tmp_path / "foreign", tmp_path / "unfinished"
    other = shutil.copytree(
        trained, tmp_path / "other", ignore=shutil.ignore_patterns("evaluation")
    )
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("three years of work")
    assert crossview(capsys, "train", "demo", "--out", unfinished, *TINY, "--max-steps", 1)[0] == 0
    before = sorted(path.name for path in tmp_path.rglob("*"))
    code, out, err = crossview(
        capsys,
        "compare",
        foreign,
        unfinished,
        other,
        foreign / "thesis.txt",
        other / "model.pt",
        "--out",
        tmp_path / "t.csv",
    )
    assert (code, out) == (2, "")
    for told in (
        "without recipe.toml",
        "stopped after 1 steps",
        f"crossview train {unfinished} --resume",
        "thesis.txt: this is not a record of a run",
    ):
        assert told in err
    assert "model.pt: this is not a record of a run" in err
    assert f"{other / 'evaluation'}" in err, "what was not evaluated is told too"
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_evaluate_says_what_it_does_not_know(capsys, trained):
    code, _, err = crossview(capsys, "evaluate", trained, "--split", "train")
    assert (code, "unknown split 'train'" in err) == (2, True)
    code, _, err = crossview(capsys, "evaluate", trained, "--checkpoint", "best")
    assert (code, "no checkpoint 'best'" in err) == (2, True)
    code, _, err = crossview(capsys, "evaluate", trained, "--checkpoint", "selected")
    assert (code, "selected.pt" in err) == (2, True)


def test_too_little_disk_space_is_told_before_training(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "crossview.runs.run.shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})()
    )
    code, _, err = crossview(capsys, "train", "demo", "--out", tmp_path / "run", *TINY)
    assert (code, "disk space" in err) == (2, True)
    assert not (tmp_path / "run").exists()


def test_lists_and_recipes_are_for_programs_too(capsys):
    recipes = [
        "acdc-3",
        "acdc-7",
        "brats-25",
        "brats-50",
        "demo",
        "folder",
        "la-4",
        "la-8",
        "la-16",
    ]
    methods = ["bcp", "cml", "cps", "mean_teacher", "ss_net", "supervised", "ua_mt", "urpc"]
    assert json.loads(crossview(capsys, "list", "recipes", "--json")[1]) == recipes
    assert json.loads(crossview(capsys, "list", "methods", "--json")[1]) == methods
    assert json.loads(crossview(capsys, "list", "sources", "--json")[1]) == [
        "acdc",
        "brats",
        "folder",
        "la",
        "phantom",
    ]
    assert json.loads(crossview(capsys, "list", "networks", "--json")[1]) == sorted(NETWORKS)
    shown = crossview(capsys, "list", "methods")[1].splitlines()
    assert [line.split()[0] for line in shown] == methods
    assert all(len(line.split()) > 4 for line in shown), "a method without a word on what it is"
    code, out, _ = crossview(capsys, "recipe", "la-8", *sets("method.name=supervised"))
    assert code == 0
    assert 'name = "supervised"' in out


def test_doctor_tells_what_is_here(capsys):
    code, out, _ = crossview(capsys, "doctor")
    assert code == 0
    for word in ("torch:", "device:", "threads:", "precision:", "disk free:"):
        assert word in out


def test_demo_makes_report_and_table(capsys, tmp_path):
    out = tmp_path / "demo"
    code, _, err = crossview(capsys, "demo", "--out", out, "--steps", 2)
    assert code == 0, err
    rows = (out / "compare.csv").read_text().splitlines()
    assert [row.split(",")[:4] for row in rows[1:]] == [
        [label, "demo", "1", "2"] for label in ("supervised", "cml labelled only", "cml")
    ]
    report = (out / "report.html").read_text()
    assert "<svg" in report
    assert "The comparison at the top of this page shows whether" in report
    assert "This run alone cannot show" not in report
    stamp = (out / "cml-seed1-2steps" / "model.pt").stat().st_mtime_ns
    assert crossview(capsys, "demo", "--out", out, "--steps", 2)[0] == 0
    assert (out / "cml-seed1-2steps" / "model.pt").stat().st_mtime_ns == stamp


def test_python_functions_are_the_verbs(trained):
    import crossview as package

    summary = package.evaluate(trained)
    assert summary["split"] == "test"
    assert package.Run.open(trained).finished
    assert Path(package.report(trained)).exists()
    with pytest.raises(AttributeError):
        package.nothing  # noqa: B018


def test_a_model_file_alone_predicts(capsys, trained, tmp_path):
    random = np.random.default_rng(0)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["image"] = random.normal(size=(16, 16, 16)).astype(np.float32)
    alone = tmp_path / "model.pt"
    alone.write_bytes((trained / "model.pt").read_bytes())
    for model, out in ((alone, "a"), (trained, "b")):
        code, _, err = crossview(
            capsys, "predict", model, tmp_path / "scan.h5", "--out", tmp_path / out
        )
        assert code == 0, err
    with (
        h5py.File(tmp_path / "a" / "scan.h5") as one,
        h5py.File(tmp_path / "b" / "scan.h5") as other,
    ):
        assert np.array_equal(one["label"][()], other["label"][()])


def test_a_prediction_of_nothing_but_background_is_no_error_and_told(capsys, trained, tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["image"] = np.ones((16, 16, 16), np.float32)
    state = torch.load(trained / "model.pt", weights_only=True)
    for weight in state["weights"].values():
        weight.zero_()  # all classes are then alike, and background wins
    torch.save(state, tmp_path / "blind.pt")
    code, out, err = crossview(
        capsys, "predict", tmp_path / "blind.pt", tmp_path / "scan.h5", "--out", tmp_path / "out"
    )
    assert (code, out) == (0, f"{tmp_path / 'out' / 'scan.h5'}\n")
    assert err == f"remark: {tmp_path / 'out' / 'scan.h5'} is all background\n"


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["inference.stride=[64,64,64]"], "gaps"),
        (["inference.stride=[0,1,1]"], "gaps"),
        (["data.unlabelled=0"], "cml needs unlabelled cases"),
        (["data.patch=[2,2,2]"], "too small"),
    ],
)
def test_overwrite_spares_the_old_run_whatever_is_wrong(capsys, trained, texts, told):
    more = sets(*texts)
    code, _, err = crossview(capsys, "train", "demo", "--out", trained, "--overwrite", *TINY, *more)
    assert (code, told in err) == (2, True), err
    assert (trained / "model.pt").exists()


def test_overwrite_deletes_only_what_crossview_wrote(capsys, tmp_path):
    run = tmp_path / "run"
    assert crossview(capsys, "train", "demo", "--out", run, *TINY)[0] == 0
    (run / "notes.txt").write_text("mine")
    assert crossview(capsys, "train", "demo", "--out", run, "--overwrite", *TINY)[0] == 0
    assert (run / "notes.txt").read_text() == "mine"


def test_a_lone_recipe_is_no_run(capsys, tmp_path):
    (tmp_path / "recipe.toml").write_text('setting = "demo"\n')
    code, _, err = crossview(
        capsys, "train", tmp_path / "recipe.toml", "--out", tmp_path, "--overwrite", *TINY
    )
    assert (code, "is not a crossview run" in err) == (2, True)
    assert (tmp_path / "recipe.toml").exists()


def test_the_current_folder_a_link_and_a_half_made_folder_can_become_runs(
    capsys, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, _, err = crossview(capsys, "train", "demo", "--out", ".", *TINY)
    assert code == 0, err
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert crossview(capsys, "train", "demo", "--out", tmp_path / "link", *TINY)[0] == 0
    assert (tmp_path / "real" / "recipe.toml").exists()
    (tmp_path / "half" / "checkpoints").mkdir(parents=True)
    (tmp_path / "half" / "environment.json").write_text("{}")
    assert crossview(capsys, "train", "demo", "--out", tmp_path / "half", *TINY)[0] == 0


def test_an_out_that_is_a_file_is_told(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        code, _, err = crossview(capsys, "train", "demo", "--out", out, *TINY)
        assert (code, "file" in err, "Traceback" in err) == (2, True, False)


def test_resume_from_a_checkpoint_of_another_recipe(capsys, tmp_path):
    runs = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    for run, changed in zip(
        runs, ([], [*sets("method.box=0.5")], [*sets("network.filters=3")]), strict=True
    ):
        assert (
            crossview(capsys, "train", "demo", "--out", run, *TINY, *changed, "--max-steps", 1)[0]
            == 0
        )
    for other in runs[1:]:
        (runs[0] / "checkpoints" / "last.pt").write_bytes(
            (other / "checkpoints" / "last.pt").read_bytes()
        )
        code, _, err = crossview(capsys, "train", "demo", "--out", runs[0], "--resume", *TINY)
        assert (code, "a different recipe" in err) == (2, True), err


def test_a_lost_checkpoint_is_told_on_resume(capsys, tmp_path):
    run = tmp_path / "run"
    assert crossview(capsys, "train", "demo", "--out", run, *TINY, "--max-steps", 2)[0] == 0
    (run / "checkpoints" / "last.pt").unlink()
    code, _, err = crossview(capsys, "train", "demo", "--out", run, "--resume", *TINY)
    assert (code, "checkpoint is missing" in err) == (2, True), err


@pytest.mark.parametrize("content", [None, "{", "[1"])
def test_a_damaged_environment_is_told(capsys, tmp_path, content):
    run = tmp_path / "run"
    assert crossview(capsys, "train", "demo", "--out", run, *TINY)[0] == 0
    (run / "environment.json").unlink() if content is None else (
        run / "environment.json"
    ).write_text(content)
    code, _, err = crossview(capsys, "evaluate", run)
    assert (code, "environment.json" in err, "Traceback" in err) == (2, True, False)


def test_cases_to_be_scored_are_checked_before_training(capsys, tmp_path):
    root = la(tmp_path / "LA")
    rewrite(case(root, 6), "image", np.full((20, 20, 12), np.nan, np.float32))
    run = tmp_path / "run"
    code, _, err = crossview(
        capsys,
        "train",
        "la-8",
        "--data",
        root,
        "--out",
        run,
        *LA_TINY,
        *sets("training.selection=test"),
    )
    assert (code, "CASE06" in err, run.exists()) == (2, True, False), err
    assert crossview(capsys, "train", "la-8", "--data", root, "--out", run, *LA_TINY)[0] == 0


def test_a_supervised_run_counts_no_unlabelled_cases(capsys, tmp_path):
    run = tmp_path / "run"
    supervised = sets(*SMALL, "method.name=supervised", "method.steps=1")
    code, _, err = crossview(capsys, "train", "demo", "--out", run, *supervised)
    assert code == 0, err
    assert json.loads((run / "environment.json").read_text())["unlabelled"] == 0


def test_verbs_stay_functions():
    verbs = "demo, train, evaluate, predict, report, compare"
    code = f"from crossview import {verbs}\nimport crossview\nassert all(map(callable, ({verbs})))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_predictions_that_came_off_are_told_beside_the_errors(capsys, trained, tmp_path):
    write_nifti(tmp_path / "good.nii.gz", np.zeros((16, 16, 16), np.int16))
    (tmp_path / "bad.nii.gz").write_bytes(b"no scan")
    code, out, err = crossview(
        capsys,
        "predict",
        trained,
        tmp_path / "bad.nii.gz",
        tmp_path / "good.nii.gz",
        "--out",
        tmp_path / "out",
    )
    assert (code, out.split()) == (2, [str(tmp_path / "out" / "good.nii.gz")])
    assert "bad.nii.gz" in err
    code, out, err = crossview(
        capsys, "predict", trained, tmp_path / "good.nii.gz", "--out", tmp_path / "out", "--resume"
    )
    assert (code, out, "all predictions exist already" in err) == (0, "", True)


def test_another_models_predictions_are_not_mixed_in(capsys, trained, tmp_path):
    for name in ("a", "b"):
        write_nifti(
            tmp_path / "scans" / f"{name}.nii.gz",
            np.arange(16**3, dtype=np.int16).reshape(16, 16, 16),
        )
    state, out = torch.load(trained / "model.pt", weights_only=True), tmp_path / "out"
    next(iter(state["weights"].values())).add_(1)
    torch.save(state, tmp_path / "other.pt")
    assert (
        crossview(capsys, "predict", trained, tmp_path / "scans" / "a.nii.gz", "--out", out)[0] == 0
    )
    before = (out / "a.nii.gz").read_bytes()
    for more in ((), ("--resume",)):
        code, _, err = crossview(
            capsys,
            "predict",
            tmp_path / "other.pt",
            tmp_path / "scans" / "b.nii.gz",
            "--out",
            out,
            *more,
        )
        assert (
            code,
            "this folder already contains predictions of a different model" in err,
            "choose another --out" in err,
        ) == (2, True, True)
    assert sorted(file.name for file in out.iterdir()) == ["a.nii.gz", "predicted-by.json"]
    assert (
        crossview(capsys, "predict", trained, tmp_path / "scans", "--out", out, "--resume")[0] == 0
    )
    assert (out / "a.nii.gz").read_bytes() == before
    assert (
        crossview(
            capsys,
            "predict",
            tmp_path / "other.pt",
            tmp_path / "scans",
            "--out",
            out,
            "--overwrite",
        )[0]
        == 0
    )
    assert (
        crossview(capsys, "predict", trained, tmp_path / "scans", "--out", out, "--resume")[0] == 2
    )


def test_many_predictions_that_are_there_are_one_problem(capsys, trained, tmp_path):
    for name in ("a", "b", "c"):
        write_nifti(tmp_path / "scans" / f"{name}.nii.gz", np.zeros((16, 16, 16), np.int16))
    predict = ("predict", trained, tmp_path / "scans", "--out", tmp_path / "out", "--entropy")
    assert crossview(capsys, *predict)[0] == 0
    code, _, err = crossview(capsys, *predict)
    assert (code, err.count("error:"), "6 files of these predictions already exist" in err) == (
        2,
        1,
        True,
    ), err


def test_disagreement_of_one_network_is_said_to_be_the_entropy(capsys, tmp_path):
    write_nifti(tmp_path / "scan.nii.gz", np.zeros((16, 16, 16), np.int16))
    run = tmp_path / "run"
    supervised = sets(*SMALL, "method.name=supervised", "method.steps=2")
    assert crossview(capsys, "train", "demo", "--out", run, *supervised)[0] == 0
    code, _, err = crossview(
        capsys,
        "predict",
        run,
        tmp_path / "scan.nii.gz",
        "--out",
        tmp_path / "out",
        "--disagreement",
    )
    assert (code, "its disagreement maps contain the prediction's entropy" in err) == (0, True), err


def test_sigterm_ends_a_verb_as_ctrl_c_does(capsys, trained, tmp_path, monkeypatch):
    def stop(*_, done, **__):
        done(tmp_path / "out" / "a.nii.gz")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr("crossview.runs.predict.predict", stop)
    before = signal.getsignal(signal.SIGTERM)
    try:
        code, out, err = crossview(capsys, "predict", trained, tmp_path, "--out", tmp_path / "out")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (code, out.split(), "finished predictions are kept" in err) == (
        143,
        [str(tmp_path / "out" / "a.nii.gz")],
        True,
    )


@pytest.mark.parametrize("verb", [("train", "--resume"), ("suggest",)])
def test_an_environment_that_is_no_object_is_told(capsys, trained, tmp_path, verb):
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "environment.json").write_text("[1]")
    code, _, err = crossview(capsys, verb[0], run, *verb[1:])
    assert (
        code,
        "the run's environment can't be read" in err,
        "a list instead of an object" in err,
    ) == (2, True, True), err


def test_a_damaged_recipe_is_told_with_its_file(capsys, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    text = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(text.replace("filters = 2", 'filters = "two"'))
    code, _, err = crossview(capsys, "evaluate", run)
    assert (
        code,
        f"{run / 'recipe.toml'}: [network]" in err,
        "expected: a whole number" in err,
    ) == (2, True, True), err


def test_a_predict_stopped_before_its_first_file_says_that_nothing_was_written(
    capsys, trained, tmp_path, monkeypatch
):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("crossview.runs.predict.predict", stop)
    code, _, err = crossview(capsys, "predict", trained, tmp_path, "--out", tmp_path / "out")
    assert (code, "nothing was written" in err) == (130, True)


def test_a_stopped_predict_says_how_to_go_on(capsys, trained, tmp_path, monkeypatch):
    def stop(*_, done, **__):
        done(tmp_path / "out" / "a.nii.gz")
        raise KeyboardInterrupt

    monkeypatch.setattr("crossview.runs.predict.predict", stop)
    code, out, err = crossview(capsys, "predict", trained, tmp_path, "--out", tmp_path / "out")
    assert (code, out.split()) == (130, [str(tmp_path / "out" / "a.nii.gz")])
    assert (
        "stopped\nfinished predictions are kept; run the same command with --resume for the rest"
        in err
    )


def test_an_unfinished_run_is_called_so_when_it_is_scored(capsys, tmp_path):
    run = tmp_path / "run"
    assert crossview(capsys, "train", "demo", "--out", run, *TINY, "--max-steps", 1)[0] == 0
    code, _, err = crossview(capsys, "evaluate", run)
    assert (
        code,
        f"the run is unfinished; resume it with crossview train {run} --resume" in err,
    ) == (0, True)
