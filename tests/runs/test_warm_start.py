"""A run that starts from another run's weights: what is taken, what is new, what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from tests.helpers.command import crossview as command
from tests.helpers.made_folder import make_folder, problems_of, write_nifti, write_picture
from tests.helpers.small_run import assert_bit_equal, small, weights

import crossview
from crossview.core.errors import UserError
from crossview.core.run_folder import TRAINING_CASES
from crossview.methods import METHODS
from crossview.recipe.resolve import resolve
from crossview.runs.warm_start import Start
from crossview.runs.weights import TrainedMethod

NAMES = ("background", "atrium")

FOLDER = (
    "network.filters=2",
    "network.levels=2",
    "data.patch=[8,8,8]",
    "method.name=supervised",
    "method.steps=1",
    "training.precision=float32",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return small(tmp_path_factory.mktemp("source") / "one")


def from_(source, out, **options):
    return small(out, "method.train_steps=2", "training.seed=5", start=source, **options)


def test_all_weights_are_taken_and_recorded(source, tmp_path):
    said = []
    run = from_(source, tmp_path / "two", max_steps=0, remark=said.append)
    assert run.environment["from"] == {
        "run": str(source.path),
        "started": source.environment["started"],
        "method": "cml",
        "step": 7,
        "weights": run.environment["from"]["weights"],
        "taken": ["view1", "view2"],
        "new": [],
    }
    begun, old = weights(run), weights(source)
    different = [name for name in begun if not torch.equal(begun[name], old[name])]
    assert all(name.startswith("momentum") for name in different)
    text = "starts from the weights of one (cml, step 7): taken view1 and view2."
    assert text in said[0]
    # The report's copies without names show this note.
    (note,) = [each for each in run.environment["notes"] if "starts from" in each]
    assert note == said[0].replace("of one (", "of another run (")
    assert note in (run.path / "report.html").read_text()


def test_a_warm_start_is_repeated_and_resumed_bit_for_bit(source, tmp_path):
    whole = from_(source, tmp_path / "whole")
    assert_bit_equal(whole, from_(str(source.path / "model.pt"), tmp_path / "again"))
    paused = from_(source, tmp_path / "paused", max_steps=2)
    assert_bit_equal(whole, crossview.train(paused.path, None, paused.path, resume=True)[0])
    killed = from_(source, tmp_path / "killed", max_steps=0)
    (killed.path / "checkpoints/last.pt").unlink()
    (killed.path / "journal.jsonl").unlink()
    assert_bit_equal(whole, crossview.train(killed.path, None, killed.path, resume=True)[0])


def test_a_run_killed_early_is_not_resumed_from_other_weights(source, tmp_path):
    shutil.copytree(source.path, tmp_path / "one")
    killed = from_(tmp_path / "one", tmp_path / "killed", max_steps=0)
    (killed.path / "checkpoints/last.pt").unlink()
    (killed.path / "journal.jsonl").unlink()
    state = torch.load(tmp_path / "one/model.pt", weights_only=True)
    state["weights"]["view1.last.bias"] += 1
    torch.save(state, tmp_path / "one/model.pt")
    with pytest.raises(UserError) as error:
        crossview.train(killed.path, None, killed.path, resume=True)
    assert "the weights that the run started from have changed" in problems_of(error)


TAKEN = {
    ("supervised", "cml"): {"view1": "network"},
    ("supervised", "cps"): {"network1": "network"},
    ("supervised", "mean_teacher"): {"student": "network", "teacher": "network"},
    ("supervised", "urpc"): {"network": "network"},
    ("supervised", "ss_net"): {"network": "network"},
    ("cml", "cml"): {"view1": "view1", "view2": "view2"},
    ("cml", "cps"): {"network1": "view1"},
    ("cml", "bcp"): {"student": "view1", "teacher": "view1"},
    ("cps", "cps"): {"network1": "network1", "network2": "network2"},
    ("mean_teacher", "supervised"): {"network": "student"},
    ("mean_teacher", "ua_mt"): {"student": "student", "teacher": "student"},
    ("bcp", "bcp"): {"student": "student", "teacher": "teacher"},
    ("ss_net", "supervised"): {"network": "network"},
    ("ss_net", "ss_net"): dict.fromkeys(
        ("network", "projection", "prediction", "selectors", "memory_selectors", "memory")
    ),
}


def method_of(name, seed, classes=2):
    recipe = resolve("la-8", ["network.filters=2", "network.levels=2", f"method.name={name}"])
    recipe = replace(recipe, data=recipe.data.model_copy(update={"classes": classes}))
    torch.manual_seed(seed)
    method = recipe.build_method(1)
    for network in method.children():  # an averaged teacher differs from its student
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor += torch.rand_like(tensor)
    return recipe, method


def start_of(name, classes=2):
    recipe, method = method_of(name, 1, classes)
    names = ["background", "atrium", "ventricle"][:classes]
    state = {"weights": method.state_dict(), "class_names": names}
    return Start(Path("one"), TrainedMethod(recipe, method, 1, False, 9, state), {})


@pytest.mark.parametrize(("before", "after"), TAKEN)
def test_each_network_goes_to_its_place(before, after):
    start = start_of(before)
    recipe, method = method_of(after, 2)
    first = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    taken = start.begin(method, recipe, NAMES)
    expected = TAKEN[before, after]
    assert sorted(taken.parts) == sorted(expected)
    assert not {*taken.parts} & {*taken.new}
    old, new = start.found.method.state_dict(), method.state_dict()
    for name, tensor in new.items():
        part, _, rest = name.partition(".")
        if part not in expected or name.startswith("network.heads"):
            assert torch.equal(tensor, first[name])
        else:
            assert torch.equal(tensor, old[f"{expected[part] or part}.{rest}"])


@pytest.mark.parametrize("name", METHODS)
def test_added_classes_get_new_heads_in_every_method(name):
    start = start_of(name)
    recipe, method = method_of(name, 2, classes=3)
    first = {key: tensor.clone() for key, tensor in method.state_dict().items()}
    taken = start.begin(method, recipe, (*NAMES, "ventricle"))
    assert "new heads, because the classes were atrium and are atrium and ventricle" in taken.text()
    old = start.found.method.state_dict()
    for key, tensor in method.state_dict().items():
        same = key in old and old[key].shape == tensor.shape
        assert torch.equal(tensor, old[key] if same else first[key]), key
    assert taken.as_json()["new"][-1] == "heads"


@pytest.mark.parametrize(
    ("names", "same"),
    [(NAMES, True), (("background", "class 1"), True), (("background", "ventricle"), False)],
)
def test_another_class_of_the_same_number_is_a_new_class(names, same):
    start = start_of("supervised")
    recipe, method = method_of("supervised", 2)
    taken = start.begin(method, recipe, names)
    new, old = (each.state_dict()["network.last.weight"] for each in (method, start.found.method))
    assert (torch.equal(new, old), not taken.classes) == (same, same)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three labelled scans, and a run of them."""
    here = tmp_path_factory.mktemp("folder")
    make_folder(here / "scans")
    crossview.train("folder", here / "scans", here / "one", overrides=FOLDER)
    return here


def refused(capsys, *arguments, out) -> str:
    code, _, err = command(capsys, "train", *arguments, "--out", out)
    assert code == 2, err
    assert not out.exists()
    return err


def test_misfits_are_refused_at_once_and_nothing_is_written(capsys, folder, tmp_path):
    sets = [part for text in FOLDER for part in ("--set", text)]
    more = ("--set", "network.filters=4", "--set", "data.spacing=[1,1,1]")
    run, two = folder / "one", make_folder(tmp_path / "two")
    for file in list((two / "images").iterdir()):
        image = nib.load(file)
        stacked = np.stack([np.asanyarray(image.dataobj)] * 2, -1)
        write_nifti(file, stacked, image.affine)
    out = tmp_path / "out"
    err = refused(capsys, "folder", "--data", two, "--from", run, *sets, *more, out=out)
    assert "another network.filters\n  found:    4\n  expected: 2, as in the run" in err
    assert "another data.spacing\n  found:    [1.0, 1.0, 1.0]\n  expected: [1.0, 1.5, 2.0]" in err
    assert "another number of channels\n  found:    2\n  expected: 1, as in the run" in err
    assert "3 problems" in err


def test_images_and_volumes_do_not_start_from_each_other(capsys, folder, tmp_path):
    pictures, random = tmp_path / "pictures", np.random.default_rng(0)
    for number in range(4):
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 6 + number : 18 + number] = 1
        image = (random.normal(80, 10, mask.shape) + 90 * mask).clip(0, 255).astype(np.uint8)
        write_picture(pictures / "images" / f"{number}.png", image)
        write_picture(pictures / "labels" / f"{number}.png", mask)
    flat, out = tmp_path / "flat", tmp_path / "out"
    tiny = ("network.filters=2", "training.precision=float32", "method.name=supervised")
    crossview.train("folder", pictures, flat, overrides=tiny, steps=2)
    for data, run in ((pictures, folder / "one"), (folder / "scans", flat)):
        capsys.readouterr()
        words = ("folder", "--data", data, "--from", run, "--set", "method.name=supervised")
        err = refused(capsys, *words, out=out)
        assert err.startswith(f"error: --from {run}: the run to start from was trained on other")
        assert "2D images" in err
        assert "volumes" in err
        assert "problems" not in err


def test_odd_starts_are_refused(capsys, folder, tmp_path):
    out = tmp_path / "out"
    err = refused(capsys, "folder", "--data", folder / "scans", "--from", tmp_path, out=out)
    assert "this is not a run folder" in err
    untrained = tmp_path / "none"
    crossview.train("folder", folder / "scans", untrained, overrides=FOLDER, max_steps=0)
    err = refused(capsys, "folder", "--from", untrained, out=out)
    assert "the run to start from has no trained step" in err
    code, _, err = command(capsys, "train", untrained, "--resume", "--from", folder / "one")
    assert (code, "--from and --resume cannot be combined" in err) == (2, True)
    again = ("--out", folder / "one", "--overwrite", "--from", folder / "one")
    code, _, err = command(capsys, "train", "folder", *again)
    assert (code, "cannot start from the run that it replaces" in err) == (2, True)
    assert (folder / "one/model.pt").exists()


def test_a_plan_takes_grid_and_network_from_the_run(capsys, folder, tmp_path):
    scans = tmp_path / "scans"
    shutil.copytree(folder / "scans", scans)
    for number in range(10, 18):  # a plan of its own would choose these scans' spacing
        write_nifti(
            scans / f"images/case{number}.nii.gz", np.ones((8, 8, 8)), np.diag([3, 3, 3, 1])
        )
    run, out = folder / "one", tmp_path / "two"
    sets = ("--set", "method.name=supervised", "--steps", 1)
    code, printed, err = command(
        capsys, "train", "folder", "--data", scans, "--from", run, "--out", out, *sets
    )
    assert code == 0, err
    assert "data.spacing = [1.0, 1.5, 2.0]\n      as in the run that this one starts" in printed
    assert "remark: Training starts from the weights of one (supervised, step 1)" in err
    assert json.loads((out / "plan.json").read_text())["choices"][0]["key"] == "data.spacing"


def test_cases_that_the_weights_have_seen_are_no_test_cases(folder, tmp_path):
    scans = tmp_path / "scans"
    shutil.copytree(folder / "scans", scans)
    crossview.train("folder", scans, tmp_path / "one", overrides=FOLDER)
    (scans / "split.toml").write_text('labelled = ["case00", "case01"]\ntest = ["case02"]\n')
    run, _ = crossview.train("folder", None, tmp_path / "two", start=tmp_path / "one", steps=2)
    assert json.loads((run.path / TRAINING_CASES).read_text())["case02"]["labelled"]
    with pytest.raises(UserError) as error:
        crossview.evaluate(run)
    assert "test cases were trained on with labels" in problems_of(error)
    model = tmp_path / "one/model.pt"
    run, _ = crossview.train("folder", scans, tmp_path / "three", start=model, steps=2)
    assert any("are not known" in note for note in run.environment["notes"])


def test_warm_and_cold_runs_are_two_rows_of_a_comparison(source, tmp_path):
    cold = small(tmp_path / "cold", "method.train_steps=2", "training.seed=5")
    one, two = cold, from_(source, tmp_path / "warm")
    for run in (one, two):
        crossview.evaluate(run)
    labels = [row.method for row in crossview.compare([one.path, two.path]).rows]
    assert len(set(labels)) == 2
    assert any("from=cml step 7" in label for label in labels)
