"""Folders of PNG images, through the command: they have pixels, not voxels."""

import re

import numpy as np
import pytest
from tests.helpers.command import crossview, sets
from tests.helpers.made_folder import write_picture

TINY = sets(
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


def test_an_image_has_pixels_and_no_slices(capsys, images, tmp_path):
    run = tmp_path / "run"
    said = crossview(capsys, "check", images)[1]
    assert "share of pixels" in said
    code, out, err = crossview(
        capsys, "train", "folder", "--data", images, "--out", run, "--steps", 4, *TINY
    )
    assert code == 0, err
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
