"""A practitioner's way by the command: from a folder of raw scans to a model and predictions."""

import json
import tomllib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from tests.helpers.command import crossview
from tests.helpers.made_folder import make_folder, scan, write_nifti

from crossview.core.errors import UserError
from crossview.recipe.layers import layers
from crossview.recipe.planned import asked_on_resume, open_keys, resolve_planned
from crossview.recipe.reasons import OURS
from crossview.recipe.resolve import resolve
from crossview.runs.prepare import find_splits, scored_cases
from crossview.runs.run import Run

OBLIQUE = np.array(
    [[0.6, -0.35, 0.1, -31.5], [0.3, 0.65, -0.2, 12.25], [0.02, 0.2, 1.6, 7.0], [0, 0, 0, 1]]
)
TURNS = (
    np.eye(4),
    np.diag([-1, -1, 1, 1]),
    np.eye(4)[[2, 0, 1, 3]],
    np.eye(4)[[1, 2, 0, 3]] * [1, -1, 1, 1],
)
SMALL = ("network.filters=2", "training.precision=float32", "data.patch=[16,16,16]")
TINY = (*SMALL, "method.pretrain_steps=1", "method.train_steps=2")
TINY_IMAGES = (
    "network.filters=2",
    "method.pretrain_steps=1",
    "method.train_steps=1",
    "training.precision=float32",
)


def sets(*texts) -> list[str]:
    return [part for text in texts for part in ("--set", text)]


def raw_scans(root: Path) -> Path:
    """Return a folder with four labelled, two unlabelled and two test scans.

    They are int16 with a scale, oblique and differently turned, with mixed sizes and spacings.
    """
    for number in range(8):
        random = np.random.default_rng(number)
        shape = (16 + number % 3, 18, 20 + number % 2)
        label = np.zeros(shape, np.uint8)
        label[4:9, 5:13, 4:14], label[9:13, 5:13, 4:14] = 1, 2
        stored = (random.normal(100, 10, shape) + 60 * label).astype(np.int16)
        affine = (OBLIQUE * [1, 1, 1 + 0.1 * number, 1]) @ TURNS[number % 4]
        image = nibabel.Nifti1Image(stored, affine)
        image.header.set_slope_inter(0.5, -20)
        path = root / "images" / f"scan {number}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.to_file_map({key: nibabel.FileHolder(path) for key in ("header", "image")})
        if number not in (4, 5):
            write_nifti(root / "labels" / path.name, label, affine)
    (root / "split.toml").write_text('test = ["scan 6", "scan 7"]\n')
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return raw_scans(tmp_path_factory.mktemp("raw") / "my scans")


def test_from_raw_scans_to_predictions_in_their_own_grid(capsys, tmp_path, data):
    run = tmp_path / "run"
    code, out, err = crossview(
        capsys, "train", "folder", "--data", data, "--out", run, *sets(*TINY)
    )
    assert (code, "finished after 3 steps" in out, f"next: crossview evaluate {run}" in out) == (
        0,
        True,
        True,
    ), err
    assert "planned from 4 labelled and 2 unlabelled scans, for a CPU" in out
    assert "data.spacing = " in out
    assert "data.patch" not in out

    recipe, plan = Run.open(run).recipe, json.loads((run / "plan.json").read_text())
    assert recipe.data.patch == (16, 16, 16)
    assert recipe.data.classes == 3
    assert {choice["key"] for choice in plan["choices"]} >= {
        "data.spacing",
        "data.normalisation",
        "inference.stride",
    }
    assert all(choice["reason"] for choice in plan["choices"])
    assert [row["case"] for row in plan["fingerprint"]["cases"]] == [
        f"scan {number}" for number in range(6)
    ]

    code, out, err = crossview(capsys, "evaluate", run)
    assert code == 0, err
    summary = json.loads((run / "evaluation" / "test" / "summary.json").read_text())
    assert (summary["unit"], summary["cases"]) == ("mm", ["scan 6", "scan 7"])

    code, out, err = crossview(
        capsys,
        "predict",
        run,
        data / "images",
        "--out",
        tmp_path / "out",
        "--probabilities",
        "--entropy",
    )
    assert code == 0, err
    for path in sorted((data / "images").iterdir()):
        scan, label = nibabel.load(path), nibabel.load(tmp_path / "out" / path.name)
        assert (label.shape, label.get_data_dtype()) == (scan.shape, np.uint8)
        np.testing.assert_array_equal(label.affine, scan.affine)
        assert set(np.unique(label.dataobj)) <= {0, 1, 2}
        probability = nibabel.load(tmp_path / "out" / "probability" / path.name)
        np.testing.assert_allclose(probability.get_fdata().sum(-1), 1, atol=1e-5)
        entropy = nibabel.load(tmp_path / "out" / "entropy" / path.name)
        assert entropy.shape == scan.shape
        np.testing.assert_array_equal(entropy.affine, scan.affine)


def test_a_run_that_learns_finds_the_structures_in_every_orientation(capsys, tmp_path, data):
    """Scans that are turned, resampled and scored match: one voxel of shift would cost Dice."""
    run = tmp_path / "run"
    keys = (
        "method.name=supervised",
        "method.steps=50",
        "network.filters=4",
        "network.levels=2",
        "data.patch=[16,16,8]",
    )
    code, _, err = crossview(
        capsys,
        "train",
        "folder",
        "--data",
        data,
        "--out",
        run,
        *sets(*keys, "training.precision=float32"),
    )
    assert code == 0, err
    assert crossview(capsys, "evaluate", run)[0] == 0
    summary = json.loads((run / "evaluation" / "test" / "summary.json").read_text())
    assert summary["mean"]["dice"]["mean"] > 0.85
    assert crossview(capsys, "predict", run, data / "images", "--out", tmp_path / "out")[0] == 0
    for name in ("scan 6.nii.gz", "scan 7.nii.gz"):
        found, truth = (
            np.asarray(nibabel.load(folder / name).dataobj)
            for folder in (tmp_path / "out", data / "labels")
        )
        for value in (1, 2):
            assert (
                2
                * np.sum((found == value) & (truth == value))
                / (np.sum(found == value) + np.sum(truth == value))
                > 0.85
            )


def test_a_planned_recipe_is_printed_to_edit_and_then_nothing_is_planned(capsys, tmp_path, data):
    code, out, err = crossview(capsys, "recipe", "folder", "--data", data, *sets(*TINY))
    assert code == 0, err
    assert out.startswith("# planned from 4 labelled and 2 unlabelled scans")
    mine = tmp_path / "my.toml"
    mine.write_text(out)
    assert not open_keys(layers(mine))
    planned, plan = resolve_planned("folder", TINY, data)
    assert resolve_planned(mine, data=tmp_path / "nowhere") == (planned, None)
    assert plan is not None
    assert resolve(tomllib.loads(planned.toml())) == planned
    code, out, err = crossview(
        capsys, "train", mine, "--data", data, "--out", tmp_path / "run", "--max-steps", "1"
    )
    assert code == 0, err
    assert "planned from" not in out
    assert not (tmp_path / "run" / "plan.json").exists()


@pytest.mark.parametrize(
    ("method", "keys"),
    [
        ("cml", ["training.learning_rate", "method.discrepancy_weight"]),
        ("supervised", ["training.learning_rate"]),
    ],
)
def test_shipped_numbers_that_are_not_published_have_reasons(capsys, data, method, keys):
    code, out, err = crossview(
        capsys, "recipe", "folder", "--data", data, *sets(f"method.name={method}", *SMALL)
    )
    assert code == 0, err
    recipe, plan = resolve_planned("folder", [f"method.name={method}", *SMALL], data)
    assert plan is not None
    told = {choice.key: choice for choice in plan.choices}
    assert [key for key in OURS if key in told] == keys
    assert (told["training.learning_rate"].value, recipe.training.learning_rate) == (0.1, 0.1)
    assert "#   training.learning_rate = 0.1\n#       ten times the published 0.01" in out


def test_on_resume_the_stored_recipe_rules(capsys, tmp_path, data):
    run = tmp_path / "run"
    command = ("train", "folder", "--data", data, "--out", run, *sets(*TINY))
    assert crossview(capsys, *command, "--max-steps", "1")[0] == 0
    before = (run / "recipe.toml").read_text()
    code, out, err = crossview(capsys, *command, "--resume")
    assert (code, "finished after 3 steps" in out, "planned from" in out) == (0, True, False), err
    assert (run / "recipe.toml").read_text() == before
    stored = Run.open(run).recipe
    assert asked_on_resume(stored, "folder") == stored
    for texts, told in (
        (["network.filters=3"], "network"),
        (["method.name=supervised"], "another method"),
    ):
        code, _, err = crossview(
            capsys, "train", "folder", "--data", data, "--out", run, "--resume", *sets(*texts)
        )
        assert (code, told in err) == (2, True), err


def test_a_run_folder_is_all_that_resume_needs(capsys, tmp_path, data):
    """Its recipe, its data and where it lies: as the command that stopped says."""
    run = tmp_path / "Läufe" / "erster Lauf"
    code, out, err = crossview(
        capsys, "train", "folder", "--data", data, "--out", run, *sets(*TINY), "--max-steps", "1"
    )
    assert (code, f"to resume: crossview train '{run}' --resume" in out) == (0, True), err
    code, out, err = crossview(capsys, "train", run, "--resume")
    assert (code, f"next: crossview evaluate '{run}'" in out) == (0, True), err
    for arguments, fix in (
        (("train", run), "add --resume to resume this run"),
        (("train", "folder", "--resume"), "add --out runs/NAME"),
    ):
        code, _, err = crossview(capsys, *arguments)
        assert (code, "no run folder is given" in err, fix in err) == (2, True, True), err
    code, out, err = crossview(capsys, "train", run, "--resume")
    assert (code, "already finished after" in out) == (0, True), err


def test_data_that_have_moved_are_told_on_resume(capsys, tmp_path):
    root, run = make_folder(tmp_path / "scans"), tmp_path / "run"
    assert (
        crossview(
            capsys,
            "train",
            "folder",
            "--data",
            root,
            "--out",
            run,
            *sets(*TINY),
            "--max-steps",
            "1",
        )[0]
        == 0
    )
    moved = root.rename(tmp_path / "moved")
    code, _, err = crossview(capsys, "train", run, "--resume")
    assert (code, "the run was trained on no longer exists" in err, "--data DATA" in err) == (
        2,
        True,
        True,
    ), err
    assert crossview(capsys, "train", run, "--resume", "--data", moved)[0] == 0


def test_without_unlabelled_scans_no_plan_is_told(capsys, tmp_path):
    root = make_folder(tmp_path / "scans", labelled=3, unlabelled=0)
    code, out, err = crossview(capsys, "check", root)
    assert (code, "train on all of them with method.name=supervised" in " ".join(out.split())) == (
        0,
        True,
    ), err
    code, out, err = crossview(
        capsys, "train", "folder", "--data", root, "--out", tmp_path / "run", *sets(*TINY)
    )
    assert (code, "cml needs unlabelled cases" in err, "planned" in out) == (2, True, False), err
    keys = ("method.name=supervised", "method.steps=1", *SMALL)
    assert (
        crossview(
            capsys, "train", "folder", "--data", root, "--out", tmp_path / "run", *sets(*keys)
        )[0]
        == 0
    )


def test_flips_are_for_models_that_were_trained_with_them(capsys, tmp_path, data):
    scan = data / "images" / "scan 6.nii.gz"
    for augmentation, expected in (("mild", 2), ("rot90_flip", 0)):
        run = tmp_path / augmentation
        keys = (
            *SMALL,
            "method.name=supervised",
            "method.steps=1",
            f"data.augmentation={augmentation}",
        )
        assert (
            crossview(capsys, "train", "folder", "--data", data, "--out", run, *sets(*keys))[0] == 0
        )
        code, _, err = crossview(capsys, "predict", run, scan, "--out", tmp_path / "out", "--flips")
        assert (code, "never sees mirror images" in err) == (expected, expected == 2), err


def test_an_overwritten_run_keeps_no_old_plan(capsys, tmp_path, data):
    run = tmp_path / "run"
    assert (
        crossview(
            capsys,
            "train",
            "folder",
            "--data",
            data,
            "--out",
            run,
            *sets(*TINY),
            "--max-steps",
            "1",
        )[0]
        == 0
    )
    mine = tmp_path / "my.toml"
    mine.write_text((run / "recipe.toml").read_text())
    assert (
        crossview(
            capsys, "train", mine, "--data", data, "--out", run, "--overwrite", "--max-steps", "1"
        )[0]
        == 0
    )
    assert not (run / "plan.json").exists()


def test_another_method_plans_its_own_batch_and_steps(tmp_path, data):
    mine = tmp_path / "my.toml"
    mine.write_text(resolve_planned("folder", (), data)[0].toml())
    recipe, plan = resolve_planned(mine, ["method.name=supervised"], data)
    assert (
        recipe.method.steps,
        recipe.training.labelled_batch,
        recipe.training.unlabelled_batch,
    ) == (1500, 4, 0)
    assert {choice.key for choice in plan.choices} == {
        "training.labelled_batch",
        "training.unlabelled_batch",
        "training.learning_rate",
        "method.steps",
    }


@pytest.mark.parametrize(
    ("texts", "waits"),
    [
        ((), True),
        (("method.name=bcp",), True),
        (("method.train_steps=0",), False),
        (("method.name=cps",), False),
    ],
)
def test_only_a_labelled_stage_before_another_waits_for_its_networks(data, texts, waits):
    _, plan = resolve_planned("folder", texts, data)
    assert ("method.ready_dice" in {choice.key for choice in plan.choices}) == waits


@pytest.mark.parametrize(
    ("texts", "scored"),
    [
        (["data.validation=1"], 0),
        (["data.validation=2"], 2),
        (["data.validation=1", "training.selection=validation"], 1),
    ],
)
def test_a_single_validation_case_is_scored_only_if_it_selects(data, texts, scored):
    recipe, _ = resolve_planned("folder", [*TINY, *texts], data)
    assert len(scored_cases(recipe, find_splits(recipe, data))) == scored


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["data.pach=[8,8,8]"], "did you mean patch"),
        (["data.patch=large"], "'patch'"),
        (["data.patch=[10,8,8]", "network.levels=3"], r"use \[8, 8, 8\] or \[12, 8, 8\]"),
        (["training.labelled_batch=3"], "even"),
        (["network.name=unet", "data.patch=[8,8,8]"], "2D network"),
    ],
)
def test_mistakes_in_keys_are_told_before_scans_are_read(tmp_path, texts, told):
    with pytest.raises(UserError, match=told):
        resolve_planned("folder", texts, tmp_path / "nowhere")


@pytest.mark.parametrize(
    "texts",
    [
        ["inference.stride=[24, 24, 24]"],
        ["inference.stride=[24, 24]"],
        ["network.levels=5", "data.classes=4"],
        ["data.spacing=[2, 2, 2]", "data.normalisation=foreground"],
        ["data.patch=[24, 24, 24]", "network.levels=3"],
    ],
)
def test_keys_that_fit_are_no_mistake(tmp_path, texts):
    with pytest.raises(UserError) as caught:
        resolve_planned("folder", texts, tmp_path / "nowhere")
    assert [problem.what for problem in caught.value.problems] == ["the data folder does not exist"]


def test_without_data_there_is_no_plan(capsys):
    code, _, err = crossview(capsys, "recipe", "folder")
    assert (code, "--data" in err) == (2, True)


def test_one_labelled_scan_is_too_few(capsys, tmp_path):
    code, _, err = crossview(
        capsys,
        "train",
        "folder",
        "--data",
        make_folder(tmp_path, labelled=1),
        "--out",
        tmp_path / "run",
    )
    assert (code, "too few labelled" in err) == (2, True)
    assert not (tmp_path / "run").exists()


def test_thick_slices_are_trained_and_predicted_one_by_one(capsys, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    for number in range(4):
        random = np.random.default_rng(number)
        label = np.zeros((24, 5, 20), np.uint8)
        label[6:16, 1:4, 5:14] = 1
        affine = np.diag([0.8, 6, 0.8, 1])
        write_nifti(
            data / "images" / f"scan{number}.nii.gz",
            random.normal(0, 0.3, label.shape) + label,
            affine,
        )
        if number < 3:
            write_nifti(data / "labels" / f"scan{number}.nii.gz", label, affine)
    (data / "split.toml").write_text('test = ["scan2"]\n')
    keys = (
        "network.filters=4",
        "method.name=supervised",
        "method.steps=40",
        "training.precision=float32",
    )
    code, _, err = crossview(capsys, "train", "folder", "--data", data, "--out", run, *sets(*keys))
    assert code == 0, err
    recipe = Run.open(run).recipe
    assert (recipe.network.name, recipe.data.patch, recipe.data.nifti_axes) == (
        "unet",
        (24, 20),
        (1, 0, 2),
    )
    assert recipe.data.spacing == (0, 0.8, 0.8)
    assert crossview(capsys, "evaluate", run)[0] == 0
    assert (
        json.loads((run / "evaluation" / "test" / "summary.json").read_text())["mean"]["dice"][
            "mean"
        ]
        > 0.8
    )
    assert (
        crossview(
            capsys, "predict", run, data / "images" / "scan3.nii.gz", "--out", tmp_path / "out"
        )[0]
        == 0
    )
    assert nibabel.load(tmp_path / "out" / "scan3.nii.gz").shape == (24, 5, 20)


def test_images_come_back_as_masks_of_their_format(capsys, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    for folder in ("images", "labels"):
        (data / folder).mkdir(parents=True)
    for number in range(4):
        random = np.random.default_rng(number)
        mask = np.zeros((20, 22 + number), np.uint8)
        mask[5:12, 6:15] = 255
        Image.fromarray((60 + mask // 3 + random.normal(0, 5, mask.shape)).astype(np.uint8)).save(
            data / "images" / f"{number}.png"
        )
        if number < 3:
            Image.fromarray(mask).save(data / "labels" / f"{number}.png")
    code, _, err = crossview(
        capsys, "train", "folder", "--data", data, "--out", run, *sets(*TINY_IMAGES)
    )
    assert code == 0, err
    assert Run.open(run).recipe.data.spacing == ()
    code, _, err = crossview(capsys, "predict", run, data / "images", "--out", tmp_path / "out")
    assert code == 0, err
    with Image.open(tmp_path / "out" / "3.png") as mask:
        assert mask.size == (25, 20)
        assert set(np.unique(np.asarray(mask))) <= {0, 1}


def test_grey_images_saved_in_colour_train_and_predict_as_one_channel(capsys, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    for folder in ("images", "labels"):
        (data / folder).mkdir(parents=True)
    for number in range(4):
        mask = np.zeros((20, 22), np.uint8)
        mask[5:12, 6 + number : 15] = 255
        noise = np.random.default_rng(number).normal(0, 5, mask.shape)
        image = Image.fromarray((60 + mask // 3 + noise).astype(np.uint8))
        image.convert("RGB" if number else "L").save(data / "images" / f"{number}.png")
        if number < 3:
            Image.fromarray(mask).save(data / "labels" / f"{number}.png")
    code, _, err = crossview(
        capsys, "train", "folder", "--data", data, "--out", run, *sets(*TINY_IMAGES)
    )
    assert code == 0, err
    planned = json.loads((run / "plan.json").read_text())
    assert planned["fingerprint"]["channels"] == 1
    (choice,) = [each for each in planned["choices"] if each["key"] == "data.colour"]
    assert (choice["value"], Run.open(run).recipe.data.colour) == ("grey", "grey")
    with Image.open(data / "images" / "3.png") as image:
        image.convert("L").save(data / "grey.png")
    outputs = []
    for file in (data / "images" / "3.png", data / "grey.png"):
        code, _, err = crossview(capsys, "predict", run, file, "--out", tmp_path / "out")
        assert code == 0, err
        with Image.open(tmp_path / "out" / file.name) as mask:
            outputs.append(np.asarray(mask))
    np.testing.assert_array_equal(*outputs)


def test_without_test_cases_the_next_step_is_to_predict(capsys, tmp_path):
    data, run = make_folder(tmp_path / "scans"), tmp_path / "run"
    keys = (
        "method.name=supervised",
        "method.steps=1",
        "data.patch=[8,8,8]",
        "network.filters=2",
        "training.precision=float32",
    )
    code, out, err = crossview(
        capsys, "train", "folder", "--data", data, "--out", run, *sets(*keys)
    )
    assert (code, f"next: crossview predict {run} SCANS" in out) == (0, True), err
    page = (run / "report.html").read_text()
    assert "The data set has no test cases, so there are no scores" in page
    assert "crossview evaluate run" not in page
    code, _, err = crossview(capsys, "evaluate", run)
    assert (code, "crossview predict" in err, "split.toml" in err) == (2, True, True)


def test_what_check_calls_an_error_is_one_for_training_too(capsys, tmp_path):
    root = make_folder(tmp_path / "scans")
    for label in (root / "labels").iterdir():
        image = nibabel.load(label)
        nibabel.save(
            nibabel.Nifti1Image(
                255 * (np.asarray(image.dataobj) > 0).astype(np.uint8), image.affine
            ),
            label,
        )
    code, _, err = crossview(capsys, "train", "folder", "--data", root, "--out", tmp_path / "run")
    assert (code, "the label values are not consecutive class numbers" in err) == (2, True), err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("empty labels", "every label contains background only"),
        ("a channel more", "the scan has an unexpected shape"),
    ],
)
def test_each_fault_of_a_set_is_told_once(tmp_path, change, told):
    root = make_folder(tmp_path)
    image, label = scan(3)
    if change == "empty labels":
        for file in (root / "labels").iterdir():
            write_nifti(file, np.zeros_like(label))
    else:
        write_nifti(root / "images/case03.nii.gz", np.stack([image, image + 1], axis=-1))
    with pytest.raises(UserError) as caught:
        resolve_planned("folder", ["method.name=supervised"], root)
    assert [problem.what for problem in caught.value.problems] == [told]
