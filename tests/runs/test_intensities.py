"""Padding, much black, and CT filled far below air cost nothing, from a folder to predictions."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.helpers.command import crossview
from tests.helpers.made_folder import write_nifti

KEYS = (
    "method.name=supervised",
    "method.steps=60",
    "network.filters=4",
    "network.levels=2",
    "training.precision=float32",
    "training.device=cpu",
)
SIDES = (20, 18, 16)


def sets(*texts: str) -> list[str]:
    return [part for text in texts for part in ("--set", text)]


def blob(number: int) -> np.ndarray:
    """Return where the structure of scan ``number`` is."""
    center = np.random.default_rng(number).integers(7, 10, 3)
    away = np.stack(np.indices(SIDES)) - center[:, None, None, None]
    return ((away / 4.0) ** 2).sum(0) < 1


def tissue(number: int) -> np.ndarray:
    noise = np.random.default_rng(number).normal(100, 10, SIDES)
    return (noise + 60 * blob(number)).astype(np.float32)


def put(root: Path, number: int, image: np.ndarray, labelled: bool = True, margin=0, value=0):
    """Write a scan and its label, with ``margin`` voxels of ``value`` around both."""
    widths = [(margin, margin)] * 3
    name = f"scan {number}.nii.gz"
    write_nifti(root / "images" / name, np.pad(image, widths, constant_values=value), np.eye(4))
    if labelled:
        label = np.pad(blob(number).astype(np.uint8), widths)
        write_nifti(root / "labels" / name, label, np.eye(4))


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def trained(capsys, data: Path, run: Path, *keys: str) -> Path:
    code, _, err = crossview(
        capsys, "train", "folder", "--data", data, "--out", run, *sets(*KEYS, *keys)
    )
    assert code == 0, err
    return run


def predicted(capsys, run: Path, scan: Path, out: Path) -> np.ndarray:
    code, _, err = crossview(capsys, "predict", run, scan, "--out", out)
    assert code == 0, err
    return np.asarray(nibabel.load(out / scan.name).dataobj)


@pytest.fixture(scope="module")
def some_padded(tmp_path_factory):
    """Return a folder of scans, of which every other one is padded with zeros."""
    root = tmp_path_factory.mktemp("padded") / "data"
    for number in range(6):
        put(root, number, tissue(number), margin=5 * (number % 2))
    return root


@pytest.mark.parametrize("spacing", ["[1.0, 1.0, 1.0]", "[1.2, 1.1, 0.9]"])
def test_padding_changes_no_prediction(capsys, tmp_path, some_padded, spacing):
    keys = ("data.patch=[16,16,16]", f"data.spacing={spacing}")
    run = trained(capsys, some_padded, tmp_path / "run", *keys)
    plan = json.loads((run / "plan.json").read_text())
    assert {"z_score_unpadded"} == {
        choice["value"] for choice in plan["choices"] if choice["key"] == "data.normalisation"
    }
    put(tmp_path / "plain", 9, tissue(9))
    plain = predicted(capsys, run, tmp_path / "plain/images/scan 9.nii.gz", tmp_path / "of plain")
    assert dice(plain == 1, blob(9)) > 0.9
    for margin, value in ((5, 0), (10, 0), (20, 0), (7, -3000), (7, 5000)):
        root = tmp_path / f"{margin} {value}"
        put(root, 9, tissue(9), margin=margin, value=value)
        wide = predicted(capsys, run, root / "images/scan 9.nii.gz", root / "out")
        inside = (slice(margin, -margin),) * 3
        np.testing.assert_array_equal(wide[inside], plain)
        assert wide.sum() == plain.sum()  # nothing in the padding


def test_padded_scans_train_as_the_others(capsys, tmp_path, some_padded):
    """The weights are those of the same scans without padding."""
    plain = tmp_path / "plain"
    for number in range(6):
        put(plain, number, tissue(number))
    keys = ("data.patch=[16,16,16]", "data.foreground_share=0", "method.steps=3")
    runs = [
        trained(capsys, data, tmp_path / name, *keys)
        for name, data in (("padded run", some_padded), ("plain run", plain))
    ]
    scores = []
    for run in runs:
        rows = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
        scores.append([row["loss"] for row in rows if row["kind"] == "step"])
    assert scores[0] == scores[1] != []


def test_a_scan_of_nothing_but_padding_is_background(capsys, tmp_path, some_padded):
    run = trained(capsys, some_padded, tmp_path / "run", "data.patch=[16,16,16]", "method.steps=2")
    write_nifti(tmp_path / "empty.nii.gz", np.zeros(SIDES, np.float32), np.eye(4))
    assert predicted(capsys, run, tmp_path / "empty.nii.gz", tmp_path / "out").shape == SIDES


@pytest.mark.parametrize("way", ["z_score_clipped", "z_score_unpadded"])
def test_a_few_vessels_in_much_black_are_learned(capsys, tmp_path, way):
    """They fill 0.1 to 0.2 % of the image, so both percentiles are 0."""
    for number in range(8):
        random = np.random.default_rng(number)
        label = np.zeros((96, 96, 4), np.uint8)
        for _ in range(4):
            row, column = random.integers(10, 86, 2)
            label[row : row + 2, column : column + 8, 1:3] = 1
        image = (label * random.uniform(150, 250, label.shape)).astype(np.float32)
        assert 0 < label.mean() < 0.005
        name = f"scan {number}.nii.gz"
        write_nifti(tmp_path / "data/images" / name, image, np.eye(4))
        if number < 6:
            write_nifti(tmp_path / "data/labels" / name, label, np.eye(4))
        (tmp_path / "truth").mkdir(exist_ok=True)
        np.save(tmp_path / f"truth/{number}.npy", label)
    keys = ("data.patch=[32,32]", "training.labelled_batch=4", f"data.normalisation={way}")
    run = trained(
        capsys, tmp_path / "data", tmp_path / "run", *keys, "inference.largest_component=false"
    )
    for number in (6, 7):
        scan = tmp_path / f"data/images/scan {number}.nii.gz"
        found = predicted(capsys, run, scan, tmp_path / "out")
        assert dice(found == 1, np.load(tmp_path / f"truth/{number}.npy") == 1) > 0.9


@pytest.mark.parametrize("filler", [-3024, -8192, -9999, -32768])
def test_ct_is_planned_as_ct_whatever_fills_its_margin(capsys, tmp_path, filler):
    outside = np.hypot(*(np.indices(SIDES[:2]) - 9)) > 8
    for number in range(4):
        noise = np.random.default_rng(number).normal(0, 20, SIDES)
        image = np.where(blob(number), 100 + noise, 0 + noise)
        image[:2] = image[-3:] = -1000  # air
        image[outside] = filler
        put(tmp_path / "data", number, image.astype(np.int16), labelled=number < 3)
    code, out, err = crossview(
        capsys, "recipe", "folder", "--data", tmp_path / "data", *sets("method.name=supervised")
    )
    assert code == 0, err
    assert "CT, according to the intensities" in out
    assert 'normalisation = "foreground"' in out
