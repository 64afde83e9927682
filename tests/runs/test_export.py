"""``crossview export``: the file computes what the run computes, or nothing is written."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from tests.helpers.command import crossview, sets
from tests.helpers.made_folder import make_folder
from tests.helpers.small_run import small

import crossview as package
from crossview.data.io import extras
from crossview.methods import METHODS, find
from crossview.methods.method import Method
from crossview.networks.unet import UNet
from crossview.networks.vnet import VNet
from crossview.runs import export as verb
from crossview.runs.onnx_file import Forward, largest_difference, traced
from crossview.runs.weights import trained_method


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small(tmp_path_factory.mktemp("export") / "run").path


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_the_file_gives_the_probabilities_of_predict(capsys, run, tmp_path):
    path = tmp_path / "model.onnx"
    code, out, err = crossview(capsys, "export", run, "--to", path)
    assert code == 0, err
    assert "on 4 windows" in out
    file, model = session(path), package.load(run)
    image = np.random.default_rng(1).normal(size=(2, 1, 8, 8, 8)).astype(np.float32)
    (found,) = file.run(None, {"image": image})
    for window, probability in zip(image, found, strict=True):
        expected = model.predict(window).probability
        assert np.abs(probability - expected).max() < 1e-5
    assert np.ptp(found) > 1e-3  # no constant
    (wide,) = file.run(None, {"image": np.zeros((1, 1, 12, 8, 16), np.float32)})
    assert wide.shape == (1, 2, 12, 8, 16)


def test_the_file_says_what_its_user_must_know(capsys, run, tmp_path):
    path = tmp_path / "model.onnx"
    assert crossview(capsys, "export", run, "--to", path)[0] == 0
    about = session(path).get_modelmeta().custom_metadata_map
    facts = {
        name: text if name in ("normalisation", "sides") else None for name, text in about.items()
    }
    assert facts["sides"] == "multiples of 2"
    assert facts["normalisation"] == "none"
    for name, expected in (
        ("classes", list(package.load(run).class_names)),
        ("class_values", [0, 1]),
        ("channels", 1),
        ("patch", [8, 8, 8]),
        ("spacing_mm", []),
        ("axes", ["batch", "channel", *(f"axis {axis} of the file" for axis in range(3))]),
    ):
        assert json.loads(about[name]) == expected, name
    assert json.loads(about["inference"])["stride"] == list(
        package.Run(run).recipe.inference.stride
    )
    assert about["crossview"] == package.__version__


def test_a_2d_run_of_two_channels(capsys, tmp_path):
    for channel in ("_0000", "_0001"):
        make_folder(tmp_path / "scans", labelled=2, unlabelled=2, channel=channel)
    run, path = tmp_path / "run", tmp_path / "new" / "model.onnx"
    keys = sets(
        "data.patch=[16,16]",
        "inference.stride=[8,8]",
        "network.name=unet",
        "network.filters=2",
        "network.levels=2",
        "method.pretrain_steps=1",
        "method.train_steps=1",
        "training.precision=float32",
    )
    data = tmp_path / "scans"
    code, _, err = crossview(capsys, "train", "folder", "--data", data, "--out", run, *keys)
    assert code == 0, err
    code, _, err = crossview(capsys, "export", run, "--to", path)
    assert code == 0, err
    assert session(path).get_inputs()[0].shape == ["batch", 2, "height", "width"]
    assert json.loads(session(path).get_modelmeta().custom_metadata_map["axes"])[2:] == [
        "row",
        "column",
    ]


def method_of(name, network, upsample):
    """Return a method with networks of 2 filters and 3 levels for images of 2 channels."""
    torch.manual_seed(3)

    def build(scales=0, **keys):
        options = network.Options(
            **{"filters": 2, "levels": 3, "dropout": 0.5, "upsample": upsample} | keys
        )
        return network(options, channels=2, classes=3, scales=scales)

    method = find(name)
    return method(method.Options(name=name), build)


EVERY = [
    *((name, VNet, "transposed") for name in METHODS if ":" not in name),
    ("cml", UNet, "transposed"),
    ("urpc", UNet, "cubic"),
    ("supervised", VNet, "linear"),
    ("supervised", UNet, "nearest"),
]


@pytest.mark.parametrize(("name", "network", "upsample"), EVERY)
def test_every_method_and_upsampling(name, network, upsample):
    forward = Forward(method_of(name, network, upsample)).eval()
    sides = [(8, 12, 8), (4, 8, 16)]
    images = [torch.randn(2, 2, *each[-network.dimensions :]) for each in sides]
    content = traced(forward, images[0], any_size=True)
    assert largest_difference(content, forward, [*images, images[0][:1]]) < 1e-6


class Changed(Method):
    """A trained method whose probabilities change with the image in a way of Python's own."""

    def __init__(self, method, change):
        super().__init__(method.options, None)
        self.method, self.change = method, change

    def views(self, image):
        return {"view": self.change(image, self.method.views(image)["view1"])}


def exported_with(change, run, to, monkeypatch):
    trained = trained_method(run, torch.device("cpu"))
    changed = replace(trained, method=Changed(trained.method, change))
    monkeypatch.setattr(verb, "trained_method", lambda *_: changed)
    return verb.export(run, to)


def test_a_number_that_python_computed_is_found(run, tmp_path, monkeypatch):
    def change(image, logits):
        return logits * float(image.std())

    with pytest.raises(package.UserError, match="other probabilities than the method"):
        exported_with(change, run, tmp_path / "model.onnx", monkeypatch)
    assert list(tmp_path.iterdir()) == []


def test_a_method_of_one_size_is_exported_for_it(run, tmp_path, monkeypatch):
    def change(image, logits):
        return logits + torch.linspace(0, 1, 8)

    made = exported_with(change, run, tmp_path / "model.onnx", monkeypatch)
    assert not made.any_size
    assert session(made.path).get_inputs()[0].shape == ["batch", 1, 8, 8, 8]


def test_an_operation_that_onnx_lacks_is_named(run, tmp_path, monkeypatch):
    def change(image, logits):
        return logits + torch.special.bessel_j0(image.mean())

    with pytest.raises(package.UserError, match="torch can't export this method"):
        exported_with(change, run, tmp_path / "model.onnx", monkeypatch)
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_refused_at_once_and_nothing_is_written(capsys, run, tmp_path, monkeypatch):
    small(tmp_path / "stopped", max_steps=2)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    wrong = tmp_path / "model.pb"
    before = sorted(tmp_path.rglob("*"))
    code, _, err = crossview(capsys, "export", tmp_path / "stopped", "--to", wrong)
    assert code == 2
    assert "the run is not finished" in err
    assert f"crossview train {tmp_path / 'stopped'} --resume" in err
    assert "the format is unknown" in err
    assert 'pip install "crossview[onnx]"' in err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_exists_is_kept_unless_asked(capsys, run, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"mine")
    code, _, err = crossview(capsys, "export", run, "--to", path)
    assert (code, path.read_bytes()) == (2, b"mine")
    assert "--overwrite" in err
    assert crossview(capsys, "export", run, "--to", path, "--overwrite")[0] == 0
    assert session(path).get_outputs()[0].name == "probabilities"
