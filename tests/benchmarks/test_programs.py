"""Every program of benchmarks/ on tiny shapes: it runs, and says what is true of them."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from benchmarks.components import by_scikit_image
from benchmarks.evaluate import cut, parts_of
from benchmarks.metrics import KINDS, bad, plausible
from benchmarks.startup import process

from benchmarks import recordings
from crossview.errors import UserError
from crossview.evaluation.metrics import overlap
from crossview.methods import METHODS
from crossview.prepare import find_splits
from crossview.resolve import resolve
from crossview.run import train
from small_shapes import SMALL_2D, SMALL_3D


@pytest.mark.parametrize("method", METHODS)
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


def test_passes(program):
    found = program("passes", "acdc-7", "--repeats", 2, "--only", "eager", sets=SMALL_2D)
    (bf16,) = (times for name, times in found.items() if name == "bf16 channels_last eager")
    assert all(
        len(bf16[kind]["values"]) == 2 and bf16[kind]["min"] > 0
        for kind in ("with gradient", "without")
    )
    assert not any("graph" in name or "tf32" in name for name in found), "what only CUDA can do"
    with pytest.raises(UserError, match="only CML"):
        program("passes", "acdc-7", sets=(*SMALL_2D, "method.name=bcp"))


def test_recordings_need_a_gpu(program):
    with pytest.raises(UserError, match="need a GPU"):
        program("recordings")


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_recordings_are_tried_one_after_the_other(cuda):
    """With what stands in for CUDA graphs, whose replays compute nothing: what a replay leaves is not what a plain pass leaves."""
    recipe = resolve("acdc-7", [*SMALL_2D, "network.dropout=0.0"])
    tuned = torch.backends.cudnn.benchmark
    found = recordings.measure(recipe, torch.device("cpu"))
    assert list(found) == [
        f"{variant.name}, {view}" for variant in recordings.VARIANTS for view in ("view1", "view2")
    ]
    assert found["with gradient, view1"]["apart"] > 0.1
    assert all(
        each["replays_equal"] and each["seconds"]["plain"]["median"] > 0 for each in found.values()
    )
    assert len(recordings.rows(found)) == 1 + len(found)
    assert torch.backends.cudnn.benchmark == tuned


@pytest.mark.filterwarnings(
    "ignore:.*CUDA is not available", "ignore:could not clean up after a failed recording"
)
def test_a_recording_that_fails_is_told_whole_and_ends_the_trial(cuda, monkeypatch):
    @contextmanager
    def spoilt(*_, **__):
        try:
            raise RuntimeError("operation not permitted")
        finally:
            yield

    recipe = resolve("acdc-7", SMALL_2D)
    monkeypatch.setattr(torch.cuda, "graph", spoilt)
    ((name, found),) = recordings.measure(recipe, torch.device("cpu")).items()
    assert name == "without gradient, view1"
    assert "operation not permitted" in found["failed"]
    assert found["failed"].rstrip().endswith("in the forward pass")
    assert found["afterwards"]["random numbers"] == "yes"
    assert found["afterwards"]["another recording"] == "operation not permitted"
    assert "another recording: operation not permitted" in str(recordings.rows({name: found}))


def test_plain_and_replayed_passes_are_compared():
    plain = {"output": torch.tensor([2.0, -4.0]), "weight": torch.zeros(2)}
    assert recordings.apart(plain, plain) == (0.0, "output")
    assert recordings.apart(plain, plain | {"output": torch.tensor([2.0, -3.0])}) == (
        0.25,
        "output",
    )


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


def test_more_phantoms(program, tmp_path):
    sets = (
        "data.size=16",
        "data.patch=[8,8,8]",
        "inference.stride=[8,8,8]",
        "network.filters=2",
        "network.levels=2",
        "data.test=2",
    )
    few = (
        "data.unlabelled=4",
        "method.pretrain_steps=1",
        "method.train_steps=1",
        "training.device=cpu",
        "training.precision=float32",
    )
    run, _ = train("demo", None, tmp_path / "run", overrides=[*sets, *few])
    ((name, found),) = program("more_phantoms", run.path, "--phantoms", 3).items()
    assert name == "cml, float32, seed 1"
    assert len(found["cases"]) == 3
    assert found["dice"] == pytest.approx(np.mean(found["cases"]), abs=1e-4)
    own = [case.id for case in find_splits(run.recipe, None).test]
    further = [
        case.id for case in find_splits(resolve(run.recipe.tables(), ["data.test=5"]), None).test
    ]
    assert further[:2] == own, "more test phantoms leave the first ones as they are"


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
    assert (
        times["import crossview"]
        < times["import torch"]
        < times["crossview train demo --max-steps 1"]
    )
    with pytest.raises(UserError, match="failed"):
        process("-c", "raise SystemExit(3)")
