"""Folders of PNG images, through the command: they have pixels, not voxels."""

import re

import nibabel as nib
import numpy as np
import pytest
import tifffile
from tests.helpers.command import crossview
from tests.helpers.made_folder import write_picture

from crossview.data.io import extras
from crossview.runs.train import train

TINY = (
    "network.filters=2",
    "network.levels=2",
    "data.patch=[16,16]",
    "training.precision=float32",
    "method.ready_dice=0",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return a folder of six grey images, four of them labelled, one of those for testing."""
    root, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(6):
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 6 + number : 18 + number] = 1
        image = (random.normal(80, 10, mask.shape) + 90 * mask).clip(0, 255).astype(np.uint8)
        write_picture(root / "images" / f"{number}.png", image)
        if number < 4:
            write_picture(root / "labels" / f"{number}.png", mask)
    (root / "split.toml").write_text('test = ["3"]\n')
    return root


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    """Return a run of four steps on them."""
    out = tmp_path_factory.mktemp("runs") / "run"
    train("folder", images, out, overrides=TINY, steps=4)
    return out


def test_a_volume_is_refused_by_a_model_of_images(capsys, images, run, tmp_path):
    """Its slices could be of any direction, and turned or scaled in any way."""
    volume = np.zeros((32, 32, 4), np.float32)
    nib.save(nib.Nifti1Image(volume, np.diag([1.0, 1.0, 3.0, 1.0])), tmp_path / "scan.nii.gz")
    words = ("predict", run, tmp_path / "scan.nii.gz", "--out", tmp_path / "out")
    code, _, err = crossview(capsys, *words)
    assert code == 2
    assert "trained on images without a place in space" in err
    assert not (tmp_path / "out" / "scan.nii.gz").exists()
    code, _, err = crossview(capsys, "predict", run, images / "images", "--out", tmp_path / "out")
    assert code == 0, err


def test_an_image_has_pixels_and_no_slices(capsys, images, run):
    said = crossview(capsys, "check", images)[1]
    assert "share of pixels" in said
    code, out, err = crossview(capsys, "evaluate", run)
    assert code == 0, err
    assert "HD95 pixel" in out
    assert "only 1 patient" in out
    out += crossview(capsys, "compare", run)[1]
    page = (run / "report.html").read_text()
    page = re.sub(r"<style.*?</style>|<details>.*?</details>", "", page, flags=re.DOTALL)
    assert "on the slice with the most of them" not in page
    assert "pixels" in page
    for text in (said, out, page):
        assert "voxel" not in text


def test_a_missing_library_is_told_once_by_check_and_predict(capsys, run, tmp_path, monkeypatch):
    for number in range(4):
        image = np.full((32, 32), 9 * number, np.uint8)
        image[8:20, 6:18] += 90
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
            path = tmp_path / folder / f"p{number}.tif"
            tifffile.imwrite(path, image // 90, compression="lzw" if number else None)
    files = [f"{folder}/p{number}.tif" for folder in ("images", "labels") for number in (1, 2, 3)]
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    code, said, _ = crossview(capsys, "check", ".")
    assert code == 2
    assert said.count("a library that this format needs is not installed") == 1
    assert ", ".join(files) in " ".join(said.split())
    code, _, err = crossview(capsys, "predict", run, "images", "--out", "out")
    assert code == 2
    assert f"error: {', '.join(files[:3])}: a library" in err
    assert "pip install imagecodecs; or save TIFF files without compression" in err
    assert not (tmp_path / "out").exists()
