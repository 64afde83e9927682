"""Tests of the viewer's layers: their values, names and colours."""

import gzip
import io
import json

import nibabel as nib
import numpy as np
import pytest

from crossview.reporting.pictures.panels import LABEL, PREDICTION, window
from crossview.reporting.viewer.grid import Grid
from crossview.reporting.viewer.layers import opened

SHAPE = (2, 3, 2)


@pytest.fixture(autouse=True)
def whole_voxels(monkeypatch):
    monkeypatch.setattr("crossview.reporting.viewer.grid.SMALL", 0)


def values(layer):
    volume = nib.Nifti1Image.from_stream(io.BytesIO(gzip.decompress(layer.volume)))
    return np.asarray(volume.dataobj)


def by_name(case):
    return {layer.name: layer for layer in case.layers}


def made(label=True, **more):
    truth = np.array([0, 0, 1, 1, 2, 2, 0, 0, 0, 0, 0, 0], np.uint8).reshape(SHAPE)
    found = np.array([0, 1, 1, 0, 2, 1, 0, 0, 0, 0, 0, 0], np.uint8).reshape(SHAPE)
    image = np.arange(12, dtype=np.float32).reshape(1, *SHAPE)
    names = {1: "anterior", 2: "posterior"}
    grid = Grid.of(SHAPE, np.eye(4))
    return opened(grid, image, truth if label else None, found, names=names, **more)


def test_errors_are_missed_extra_and_wrong_class():
    errors = by_name(made())["errors"]
    assert [name for _, name, _ in errors.keys] == ["missed", "extra", "wrong class"]
    assert list(values(errors).ravel()) == [0, 2, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0]


def test_classes_have_the_names_and_colours_of_the_report():
    layers = by_name(made())
    for name, family in (("label", LABEL), ("prediction", PREDICTION)):
        colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in family[:2]]
        assert layers[name].keys == ((1, "anterior", colours[0]), (2, "posterior", colours[1]))


def test_a_scan_is_stored_small_and_drawn_as_in_the_report():
    scan = by_name(made())["scan"]
    assert values(scan).dtype == np.int16
    assert scan.limits == window(np.arange(12))
    image = np.full((1, *SHAPE), 0.5, np.float32)
    label = np.zeros(SHAPE, np.uint8)
    half = opened(Grid.of(SHAPE, np.eye(4)), image, None, label).layers[0]
    assert values(half).dtype == np.float32
    assert (values(half) == 0.5).all()


def test_without_a_label_there_are_no_errors():
    assert [layer.name for layer in made(label=False).layers] == ["scan", "prediction"]


def test_doubt_and_views_are_there_but_off():
    views = {name: np.ones(SHAPE, np.uint8) for name in ("view1", "view2")}
    doubts = {"entropy": np.full(SHAPE, 0.4, np.float32)}
    layers = by_name(made(views=views, doubts=doubts))
    assert [name for name, layer in layers.items() if layer.shown] == [
        "scan",
        "label",
        "prediction",
    ]
    assert (values(layers["entropy"]) == 102).all()
    assert (values(layers["view1"]) == 1).all()
    assert set(layers) == {"scan", "label", "prediction", "errors", "view1", "view2", "entropy"}


def test_channels_of_a_volume_and_colours_of_an_image():
    volume = np.zeros((3, *SHAPE), np.float32)
    label = np.zeros(SHAPE, np.uint8)
    names = [layer.name for layer in opened(Grid.of(SHAPE), volume, None, label).layers]
    assert names == ["channel 1", "channel 2", "channel 3", "prediction"]
    picture = np.stack([np.full((4, 5), value, np.float32) for value in (10, 20, 255)])
    image, _ = opened(Grid.of((4, 5)), picture, None, np.zeros((4, 5), np.uint8)).layers
    assert image.name == "image"
    assert tuple(values(image)[0, 0, 0]) == (10, 20, 255)


def test_what_the_page_is_told_is_json():
    facts = json.loads(json.dumps(made().facts()))
    assert facts["oriented"] is True
    assert facts["flat"] is False
    assert "volume" not in facts["layers"][0]
