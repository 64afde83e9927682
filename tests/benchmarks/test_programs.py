"""Every program of benchmarks/ on tiny shapes: it runs, and says what is true of them."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from benchmarks.components import by_scikit_image
from benchmarks.evaluate import cut, parts_of
from benchmarks.memory import command, write_scan
from benchmarks.metrics import KINDS, bad, plausible
from benchmarks.startup import process
from tests.helpers.small_shapes import SMALL_2D, SMALL_3D

import crossview
from crossview.core.errors import UserError
from crossview.evaluation.metrics import overlap
from crossview.methods import METHODS
from crossview.recipe.resolve import resolve

QUICK = ("cml", "supervised", "mean_teacher")
"""Methods of two views, of one, and with a teacher: the kinds that the program tells apart."""


@pytest.mark.parametrize(
    "method",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in METHODS],
)
def test_step_of_every_method(program, method):
    sets = (f"method.name={method}", "data.labelled=2", *SMALL_2D)
    found = program(
        "step", "acdc-7", "--steps", 2, "--watched", 1, "--precision", "float32", sets=sets
    )
    step, parts = found["seconds_a_step"], found["parts"]
    assert len(step["values"]) == 2
    samples = 4 if method == "supervised" else 8
    assert found["samples_per_second"] == pytest.approx(samples / step["median"], rel=0.05)
    assert parts["seconds"]["forward"] > 0
    assert parts["seconds"]["backward"] > 0
    assert parts["total"] == pytest.approx(sum(parts["seconds"].values()) + parts["rest"], abs=1e-3)
    assert parts["rest"] > 0
    assert found["share_of_matmul_peak"] == pytest.approx(
        parts["flops_a_step"] / step["median"] / found["matmul_peak"]["flops_per_second"], abs=1e-3
    )
    assert (parts["seconds"]["pseudo-labels"] > 0) == (
        method not in ("supervised", "urpc", "cps")
    ), "passes without gradient"


def test_step_of_volumes_and_of_phantoms(program):
    found = program(
        "step", "la-8", "--steps", 1, "--watched", 1, "--stage", "pretrain", sets=SMALL_3D
    )
    assert found["parts"]["network_passes_a_step"] == 2
    phantoms = (
        "data.size=32",
        "network.filters=1",
        "data.patch=[16,16,16]",
        "inference.stride=[16,16,16]",
    )
    assert program("step", "demo", "--steps", 1, sets=phantoms)["samples_per_second"] > 0


def test_step_with_a_profile(program, tmp_path):
    found = program(
        "step",
        "acdc-7",
        "--steps",
        1,
        "--watched",
        1,
        "--profile",
        tmp_path / "it.txt",
        sets=(*SMALL_2D, "data.labelled=2"),
    )
    assert "convolution" in (tmp_path / "it.txt").read_text()
    assert found["profile"]["milliseconds_a_step_while_profiled"] > 0


def test_step_says_what_does_not_fit(program):
    with pytest.raises(UserError, match="no stage"):
        program("step", "acdc-7", "--stage", "middle", sets=(*SMALL_2D, "data.labelled=2"))
    with pytest.raises(UserError, match="too short"):
        program(
            "step",
            "acdc-7",
            "--steps",
            9,
            sets=(*SMALL_2D, "data.labelled=2", "method.train_steps=5"),
        )


def test_windows_are_counted():
    recipe = resolve("la-8")
    assert parts_of((112, 112, 80), recipe) == 1
    assert parts_of((130, 112, 88), recipe) == 2 * 3
    assert parts_of((100, 131, 88), recipe) == 3 * 3
    assert parts_of((9, 200, 200), resolve("acdc-7")) == 9
    image = np.zeros((1, 200, 150, 88), np.float32)
    assert 4 <= parts_of(cut(image, recipe, 4).shape[1:], recipe) <= 6
    assert cut(image, recipe, 10**6).shape[3] >= 88 - 4


def test_evaluate(program):
    sets = (*SMALL_3D, "inference.stride=[100,100,100]", "inference.stride=[32,32,32]")
    found = program("evaluate", "la-8", "--windows", 2, "--repeats", 2, sets=sets)
    assert found["windows_or_slices"] == 2
    assert found["test_set"]["volumes"] == 20
    rate = found["seconds"]["median"] / 2
    assert found["test_set"]["seconds_extrapolated"] == pytest.approx(
        rate * found["test_set"]["windows_or_slices"], rel=0.01, abs=0.1
    )
    slices = program(
        "evaluate", "acdc-7", "--windows", 3, "--repeats", 1, sets=(*SMALL_2D, "data.labelled=2")
    )
    assert (slices["windows_or_slices"], slices["test_set"]["windows_or_slices"]) == (3, 400)


def test_data(program):
    found = program(
        "data", "acdc-7", "--batches", 3, "--steps", 2, sets=(*SMALL_2D, "data.labelled=2")
    )["acdc-7"]
    assert found["labelled"] == found["unlabelled"] == [4, 1, 32, 32]
    assert len(found["ms_a_batch"]["values"]) == 3
    assert 0 <= found["data_wait_share"] < 1


def test_components(program, tmp_path):
    found = program("components", "--repeats", 1, "--train", 1, sets=SMALL_3D)
    assert set(found) == {"clean", "noisy", "after 1 steps"}
    assert all(kind["equal"] for kind in found.values())
    assert found["clean"]["components"] <= 4 < found["noisy"]["components"]
    labels = np.zeros((1, 1, 4, 4, 4), np.uint8)
    labels[0, 0, 0], labels[0, 0, 3, 0, 0] = 1, 1
    np.savez(tmp_path / "labels.npz", labels=labels)
    from_file = program("components", "--labels", tmp_path / "labels.npz", "--repeats", 1)["file"]
    assert (from_file["components"], from_file["equal"]) == (2, True)


def test_the_reference_keeps_the_largest_of_each_class():
    label = np.zeros((1, 5, 5), np.uint8)
    label[0, 0, :3], label[0, 4, 4], label[0, 2, 0], label[0, 2, 3:] = 1, 1, 2, 2
    kept = by_scikit_image(label, 3)
    assert kept[0, 4, 4] == kept[0, 2, 0] == 0
    assert (kept[0, 0, :3] == 1).all()
    assert (kept[0, 2, 3:] == 2).all()


def test_metrics(program):
    found = program("metrics", "--volumes", 1)
    assert set(found) == {kind.__name__ for kind in KINDS}
    assert all(kind["largest_difference"] < 1e-9 for kind in found.values())
    assert all(kind["ratio"]["median"] > 1 for kind in found.values())


def test_the_predictions_are_what_they_are_called():
    grid = np.mgrid[:60, :60, :60] - 30
    ball = (grid**2).sum(0) < 20**2
    assert 0.8 < overlap(plausible(ball, 0), ball)[0] < 0.98
    assert overlap(bad(ball, 0), ball)[0] < 0.6


def test_startup(program):
    sets = (
        "data.size=16",
        "data.patch=[8,8,8]",
        "inference.stride=[8,8,8]",
        "network.filters=2",
        "network.levels=2",
    )
    found = program("startup", "--repeats", 1, sets=sets)
    times = {name: value["seconds"]["median"] for name, value in found.items()}
    # crossview's own import is a hundredth of torch's; times closer together would change places.
    assert times["import crossview"] < times["import torch"]
    assert "crossview train demo --max-steps 1" in times
    with pytest.raises(UserError, match="failed"):
        process("-c", "raise SystemExit(3)")


@pytest.mark.slow
def test_memory(program, tmp_path):
    for number in range(4):
        scan = write_scan(tmp_path / "many", f"scan{number}", (24, 20, 16), 3, 1.0)
        label = scan.parents[1] / "labels" / scan.name
        for file, folder in ((scan, "imagesTr"), (label, "labelsTr")):
            (tmp_path / folder).mkdir(exist_ok=True)
            nibabel.save(nibabel.load(file), tmp_path / folder / f"{scan.stem}.nii.gz")
    source = Path(crossview.__file__).parents[1]
    words = ["--shape", 24, 20, 16, "--patch", 8, "--classes", 3, "--cases", 5]
    words += ["--many", tmp_path / "imagesTr", "--against", source]
    found = program("memory", *words)
    assert len(found) == 4
    for work, of_work in found.items():
        for version in ("ours", "theirs"):
            # The import of torch alone takes more.
            assert 0.15 < of_work[version]["peak_gb"]["median"] < 3, work
            first = of_work[version].get("first_label_seconds", {"median": 0})["median"]
            assert first <= of_work[version]["seconds"]["median"]
    assert found["4 scans"]["ours"]["first_label_seconds"]["median"] > 0
    with pytest.raises(UserError, match="failed"):
        command(source, "predict", tmp_path, tmp_path)
