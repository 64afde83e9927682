"""Predictions recorded as CUDA graphs: for which runs, and equal to plain ones."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from tests.helpers.predicting import predictions

from crossview.recipe.resolve import resolve
from crossview.runs import run as runs
from crossview.runs.run import make_predictor
from crossview.training.device import set_kernels
from crossview.training.graphs import Recorder

GRAPHS = [
    "training.compile=graphs",
    "data.patch=[16,16,16]",
    "inference.stride=[4,4,4]",
    "inference.batch=2",
    "network.filters=4",
    "network.levels=3",
]


@pytest.mark.parametrize(
    ("compiled", "device", "many", "recorded"),
    [
        ("graphs", "cuda", True, True),
        ("graphs", "cuda", False, False),
        ("graphs", "cpu", True, False),
        ("false", "cuda", True, False),
    ],
)
def test_whole_sets_on_a_gpu_are_recorded_where_the_recipe_records(
    monkeypatch, compiled, device, many, recorded
):
    settings = {}
    monkeypatch.setattr(runs, "Predictor", lambda *_, **named: settings.update(named))
    recipe = resolve("demo", [*GRAPHS, f"training.compile={compiled}"])
    method = recipe.build_method(1)
    make_predictor(recipe, method, torch.device(device), "float32", many=many)
    assert (settings["passes"] is not nullcontext) == recorded
    assert all(isinstance(view.forward, Recorder) == recorded for view in method.children())


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_recorded_predictions_are_the_plain_ones(precision):
    set_kernels(deterministic=False)  # true float32, as in every run
    recipe = resolve("demo", GRAPHS)
    method, device = recipe.build_method(1), torch.device("cuda")
    for view in method.children():
        view.train()(torch.randn(4, 1, 16, 16, 16))  # statistics that are not those of new networks
    images = [
        np.random.default_rng(number).normal(size=(1, 33, 30, 28)).astype(np.float32)
        for number in range(3)
    ]
    plain = list(predictions(make_predictor(recipe, method, device, precision), images))
    predictor = make_predictor(recipe, method, device, precision, many=True)
    recorded = list(predictions(predictor, images))
    recorders = predictor.passes.__self__.recorders
    assert [len(seen.recordings) for each in recorders for seen in each.kinds.values()] == [1, 1]
    for one, other in zip(plain, recorded, strict=True):
        np.testing.assert_allclose(
            one.probability, other.probability, atol=2e-5 if precision == "float32" else 2e-2
        )
        assert np.mean(one.label != other.label) < 0.02
