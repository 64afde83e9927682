"""A model for programs: an array is predicted like its file, and misfits are refused."""

import nibabel as nib
import numpy as np
import pytest
import torch
from tests.helpers.made_folder import make_folder, scan

import crossview
from crossview.core.errors import UserError

SMALL = [
    "method.pretrain_steps=1",
    "method.train_steps=1",
    "method.ready_dice=0.0",
    "network.filters=2",
    "network.levels=2",
    "data.patch=[8,8,8]",
    "data.spacing=[1.0,1.0,1.0]",
    "inference.stride=[4,4,4]",
    "training.device=cpu",
    "training.precision=float32",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two steps on scans of 1 x 1.5 x 2 mm, resampled to 1 mm."""
    here = tmp_path_factory.mktemp("model")
    return crossview.train("folder", make_folder(here / "scans"), here / "run", overrides=SMALL)[0]


def test_an_array_is_predicted_as_its_file_is(run, tmp_path):
    file = run.path.parent / "scans" / "images" / "case04.nii.gz"
    crossview.predict(run, [file], tmp_path, probabilities=True)
    model = crossview.load(run.path / "model.pt")
    prediction = model.predict(scan(4)[0], spacing=(1.0, 1.5, 2.0))
    np.testing.assert_array_equal(
        prediction.label, np.asanyarray(nib.load(tmp_path / "case04.nii.gz").dataobj)
    )
    assert prediction.probability.shape == (3, *prediction.label.shape)
    assert sorted(prediction.views) == ["view1", "view2"]
    assert (model.step, model.channels, model.class_names) == (
        2,
        1,
        ("background", "class 1", "class 2"),
    )
    assert not model.predictor.method.training


def test_a_channel_in_front_changes_nothing_and_neither_does_another_prediction(run):
    model, image = crossview.load(str(run.path)), torch.from_numpy(scan(3)[0])
    first = model.predict(image, (1.0, 1.5, 2.0))
    model.predict(image + 1, (1.0, 1.5, 2.0))
    np.testing.assert_array_equal(
        first.probability, model.predict(image[None], (1.0, 1.5, 2.0)).probability
    )


@pytest.mark.parametrize(
    ("image", "spacing", "told"),
    [
        (np.zeros((2, 8, 8, 8)), (1, 1, 1), "1 channel.s., then 3 axes, or the axes alone"),
        (np.zeros((8, 8)), (1, 1, 1), "unexpected shape"),
        (np.zeros((8, 0, 8)), (1, 1, 1), "unexpected shape"),
        (np.full((8, 8, 8), np.nan), (1, 1, 1), "not numbers"),
        (np.zeros((8, 8, 8)), None, "needs the scan's voxel spacing"),
    ],
)
def test_what_does_not_fit_is_told(run, image, spacing, told):
    with pytest.raises(UserError, match=told):
        crossview.load(run).predict(image, spacing)


def test_a_run_may_be_named_by_a_text(run):
    assert crossview.Run(str(run.path)).recipe == run.recipe
    with pytest.raises(UserError, match="not a run folder"):
        crossview.load(run.path.parent)
