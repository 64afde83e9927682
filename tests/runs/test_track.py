"""``crossview track``: what other programs read is what the journal says, however often."""

import json
import shutil

import pytest
from tests.helpers.command import crossview
from tests.helpers.small_run import small

import crossview as package
from crossview.data.io import extras
from crossview.runs.track.points import points


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = small(
        tmp_path_factory.mktemp("track") / "run",
        "training.evaluate_every=3",
        "data.labelled=4",
        "data.validation=2",
        "training.labelled_batch=2",
    )
    package.evaluate(run)
    return run.path


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def read(folder):
    """Return what TensorBoard reads: values by name and step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {
        name: {each.step: each.value for each in found.Scalars(name)}
        for name in found.Tags()["scalars"]
    }


def expected_of(run):
    """Return some of a run's numbers, straight from its files."""
    rows = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["kind"] == "step"]
    validations = [row for row in rows if row["kind"] == "validation"]
    summary = json.loads((run / "evaluation" / "test" / "summary.json").read_text())
    (name,) = (scores["name"] for scores in summary["classes"].values())
    return {
        "training/loss": {row["total_step"]: row["loss"] for row in steps},
        "terms/labelled": {row["total_step"]: row["terms"]["labelled"] for row in steps},
        "training/samples_per_second": {
            row["total_step"]: row["samples_per_second"] for row in steps
        },
        "health/view1 labelled Dice": {
            row["total_step"]: row["health"]["view1 labelled Dice"] for row in steps
        },
        "validation/dice mean": {row["total_step"]: row["mean"] for row in validations},
        f"validation view2/dice {name}": {
            row["total_step"]: row["views"]["view2"]["1"] for row in validations
        },
        f"test scores/dice {name}": {7: summary["classes"]["1"]["dice"]["mean"]},
    }


def test_tensorboard_reads_the_numbers_of_the_journal(capsys, run):
    code, out, err = crossview(capsys, "track", run, "--to", "tensorboard")
    assert code == 0, err
    assert f"tensorboard --logdir {run / 'tensorboard'}" in out
    found = read(run / "tensorboard")
    expected = expected_of(run)
    assert all(len(each) > 1 for each in [*expected.values()][:6])
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-6), name


def test_a_run_that_goes_on_adds_to_the_same_file(capsys, run):
    whole = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    shutil.rmtree(run / "evaluation")
    (run / "journal.jsonl").write_text("".join(whole[:4]))
    code, _, err = crossview(capsys, "track", run, "--to", "tensorboard")
    assert code == 0
    assert "the same command adds what is new" in err
    (file,) = (run / "tensorboard").iterdir()
    early = file.read_bytes()
    (run / "journal.jsonl").write_text("".join(whole))
    for _ in range(2):
        assert "not finished" not in crossview(capsys, "track", run, "--to", "tensorboard")[2]
        assert [*(run / "tensorboard").iterdir()] == [file]
        assert file.read_bytes().startswith(early)
    assert len(file.read_bytes()) > len(early)


def test_runs_of_one_folder_do_not_mix(capsys, run, tmp_path):
    out = tmp_path / "all"
    assert crossview(capsys, "track", run, "--to", "tensorboard", "--out", out)[0] == 0
    about = json.loads((run / "environment.json").read_text())
    about["started"] = "2020-01-01T00:00:00+00:00"
    (run / "environment.json").write_text(json.dumps(about))
    before = sorted(out.rglob("*"))
    code, _, err = crossview(capsys, "track", run, "--to", "tensorboard", "--out", out)
    assert code == 2
    assert "the curves of another run" in err
    assert sorted(out.rglob("*")) == before
    shutil.move(run, tmp_path / "second")
    assert (
        crossview(capsys, "track", tmp_path / "second", "--to", "tensorboard", "--out", out)[0] == 0
    )
    assert {path.name for path in out.iterdir()} == {"run", "second"}


def test_class_names_that_look_alike_stay_apart(run):
    about = json.loads((run / "environment.json").read_text())
    about["class_names"] = ["background", "a/b"]
    (run / "environment.json").write_text(json.dumps(about))
    names = {each.name for each in points(package.Run(run))}
    assert "validation/dice a_b" in names
    about["class_names"] = ["background", "a/b", "a%b"]
    (run / "environment.json").write_text(json.dumps(about))
    assert "validation/dice 1 a_b" in {each.name for each in points(package.Run(run))}


def test_bad_input_is_refused_and_nothing_is_written(capsys, run, monkeypatch):
    before = sorted(run.rglob("*"))
    code, _, err = crossview(capsys, "track", run, "--to", "tensorbord")
    assert (code, "did you mean tensorboard?" in err) == (2, True)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    for name in ("tensorboard", "mlflow"):
        code, _, err = crossview(capsys, "track", run, "--to", name)
        assert (code, f'pip install "crossview[{name}]"' in err) == (2, True)
    monkeypatch.undo()
    (run / "journal.jsonl").write_text("")
    shutil.rmtree(run / "evaluation")
    before = sorted(run.rglob("*"))
    code, _, err = crossview(capsys, "track", run, "--to", "tensorboard")
    assert (code, "no numbers yet" in err) == (2, True)
    assert sorted(run.rglob("*")) == before


@pytest.mark.slow
def test_mlflow_has_the_numbers_once_however_often(capsys, run, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    whole = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    (run / "journal.jsonl").write_text("".join(whole[:4]))
    assert crossview(capsys, "track", run, "--to", "mlflow", "--out", "all")[0] == 0
    (run / "journal.jsonl").write_text("".join(whole))
    for _ in range(2):
        code, _, err = crossview(capsys, "track", run, "--to", "mlflow", "--out", "all")
        assert code == 0, err
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'all' / 'mlflow.db'}")
    (row,) = client.search_runs([client.get_experiment_by_name("crossview").experiment_id])
    assert row.info.status == "FINISHED"
    assert row.data.params["method.name"] == "cml"
    for name, values in expected_of(run).items():
        found = client.get_metric_history(row.info.run_id, name)
        assert {each.step: each.value for each in found} == values
        assert len(found) == len(values)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "all"}
    (tmp_path / "all" / "mlflow.db").write_bytes(b"no database" * 1000)
    code, _, err = crossview(capsys, "track", run, "--to", "mlflow", "--out", "all")
    assert (code, "MLflow can't use its database" in err) == (2, True)
