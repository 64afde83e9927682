"""Names and channels of predictions, from a folder of scans to the files of ``predict``."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.helpers.command import crossview, sets
from tests.helpers.made_folder import AFFINE, make_folder, scan, write_nifti, write_picture

SMALL = sets(
    "method.pretrain_steps=1",
    "method.train_steps=2",
    "method.ready_dice=0.0",
    "network.filters=2",
    "network.levels=2",
    "training.precision=float32",
)


def trained(capsys, root: Path, *more: str) -> Path:
    patch = "[8,8]" if list(root.rglob("*.png")) else "[8,8,8]"
    out = root / "run"
    arguments = ("train", "folder", "--data", root, "--out", out, *SMALL, *more)
    stride = patch.replace("8", "4")
    code, _, err = crossview(
        capsys, *arguments, *sets(f"data.patch={patch}", f"inference.stride={stride}")
    )
    assert code == 0, err
    return out


def predicted(capsys, run: Path, *inputs: Path) -> tuple[list[str], str]:
    out = run.parent / "predictions"
    code, text, err = crossview(capsys, "predict", run, *inputs, "--out", out, "--overwrite")
    assert code == 0, err
    assert all(Path(name).parent == out and Path(name).is_file() for name in text.split())
    return sorted(Path(name).name for name in text.split()), err


def two_channels(root: Path) -> Path:
    """Write scans of two channels on a fourth axis, named as nnU-Net names single channels."""
    for number in range(5):
        image, label = scan(number)
        name = f"amos{number}_0000.nii.gz"
        write_nifti(root / "images" / name, np.stack([image, -image], -1))
        if number < 3:
            write_nifti(root / "labels" / name, label)
    return root


@pytest.mark.parametrize("recorded", [True, False])
def test_a_stopped_run_of_two_channels_predicts_what_it_was_trained_on(capsys, tmp_path, recorded):
    run = trained(capsys, two_channels(tmp_path), "--max-steps", "1")
    assert not (run / "model.pt").exists()
    environment = json.loads((run / "environment.json").read_text())
    assert (environment["channels"], environment["numbered"]) == (2, False)
    if not recorded:  # a run folder of an earlier version: the weights tell
        del environment["channels"], environment["numbered"]
        (run / "environment.json").write_text(json.dumps(environment))
    names, _ = predicted(capsys, run, tmp_path / "images")
    assert names == [f"amos{number}_0000.nii.gz" for number in range(5)]
    apart = tmp_path / "apart"
    for channel in range(2):
        write_nifti(apart / f"b_000{channel}.nii.gz", scan(1)[0] * (1 - 2 * channel))
    write_nifti(apart / "c.nii.gz", np.stack([scan(1)[0], -scan(1)[0]], -1))
    assert predicted(capsys, run, apart)[0] == ["b.nii.gz", "c.nii.gz"]
    one, other = (nib.load(tmp_path / "predictions" / f"{name}.nii.gz") for name in "bc")
    np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))


@pytest.mark.parametrize("steps", [(), ("--max-steps", "1")], ids=["finished", "stopped"])
def test_a_prediction_is_named_like_the_labels_of_training(capsys, tmp_path, steps):
    make_folder(tmp_path, images="imagesTr", labels="labelsTr", channel="_0000")
    write_nifti(tmp_path / "imagesTs" / "p7_0000.nii.gz", scan(7)[0])
    (tmp_path / "imagesTs" / "p9.mgz").touch()
    run = trained(capsys, tmp_path, *steps)
    write_nifti(tmp_path / "p8.nii.gz", scan(8)[0])
    names, err = predicted(capsys, run, tmp_path / "imagesTs", tmp_path / "p8.nii.gz")
    assert names == ["p7.nii.gz", "p8.nii.gz"]
    assert f"remark: {tmp_path / 'imagesTs'}: 1 file is skipped (p9.mgz): convert" in err.replace(
        "\n", " "
    )
    assert np.array_equal(nib.load(tmp_path / "predictions" / "p7.nii.gz").affine, AFFINE)


def test_colour_images_keep_the_number_in_their_names(capsys, tmp_path):
    random = np.random.default_rng(0)
    for number in range(5):
        label = np.zeros((16, 20), np.uint8)
        label[3:9, 4 : 9 + number] = 1
        image = random.integers(0, 99, (16, 20, 3)) + 90 * label[..., None]
        write_picture(tmp_path / "images" / f"frame_000{number}.png", image.astype(np.uint8))
        if number < 3:
            write_picture(tmp_path / "labels" / f"frame_000{number}.png", label)
    run = trained(capsys, tmp_path)
    names, _ = predicted(capsys, run, tmp_path / "images" / "frame_0000.png")
    assert names == ["frame_0000.png"]
    assert len(predicted(capsys, run, tmp_path / "images")[0]) == 5


def test_channels_saved_in_colour_are_predicted_as_they_are_trained_on(capsys, tmp_path):
    random = np.random.default_rng(0)
    grey = tmp_path / "grey"
    for number in range(5):
        label = np.zeros((16, 20), np.uint8)
        label[3:9, 4 : 9 + number] = 1
        for channel in range(2):
            image = (random.integers(0, 99, (16, 20)) + 90 * label).astype(np.uint8)
            name = f"frame{number}_000{channel}.png"
            write_picture(tmp_path / "images" / name, np.stack([image] * 3, -1))
            write_picture(grey / name, image)
        if number < 3:
            write_picture(tmp_path / "labels" / f"frame{number}.png", label)
    run = trained(capsys, tmp_path)
    names, _ = predicted(capsys, run, tmp_path / "images")
    assert names == [f"frame{number}.png" for number in range(5)]
    written = [(tmp_path / "predictions" / name).read_bytes() for name in names]
    assert predicted(capsys, run, grey)[0] == names
    assert [(tmp_path / "predictions" / name).read_bytes() for name in names] == written
