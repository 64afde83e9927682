"""Tests of bad input: every problem is named, exit code 2, and finished predictions are kept."""

import gzip
import os
import resource
import shutil
import struct
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.helpers.command import crossview
from tests.helpers.made_folder import write_nifti

import crossview as api

NAMES = [f"Patïent {number} (ä)" for number in range(5)]
AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])
SETS = [
    "data.patch=[16,16,16]",
    "network.filters=2",
    "training.precision=float32",
    "method.name=supervised",
    "method.steps=2",
]


def scan(number: int, size: int = 1):
    label = np.zeros((20 * size, 18 * size, 16 * size), np.uint8)
    label[5:12, 4:11, 4 + number : 10 + number] = 1
    return (np.random.default_rng(number).normal(100, 15, label.shape) + 60 * label).astype(
        np.int16
    ), label


def write_set(root: Path) -> Path:
    """Write five scans, three labelled, with spaces and letters beyond ASCII in their names."""
    for number, name in enumerate(NAMES):
        image, label = scan(number)
        write_nifti(root / "images" / f"{name}.nii.gz", image, AFFINE)
        if number < 3:
            write_nifti(root / "labels" / f"{name}.nii.gz", label, AFFINE)
    return root


@pytest.fixture
def data(tmp_path):
    return write_set(tmp_path / "Für alle – scäns")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("a trained rün")
    made, _ = api.train("folder", write_set(root / "scäns"), root / "rün", overrides=SETS)
    return made.path


def image_of(data: Path, number: int = 4) -> Path:
    return data / "images" / f"{NAMES[number]}.nii.gz"


def label_of(data: Path, number: int = 1) -> Path:
    return data / "labels" / f"{NAMES[number]}.nii.gz"


def cut_off(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def claims_much(path: Path) -> None:
    """Write a header of 10^12 voxels."""
    raw = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<8h", raw, 40, 3, 10_000, 10_000, 10_000, 1, 1, 1, 1)
    path.write_bytes(gzip.compress(bytes(raw)))


def series(path: Path) -> None:
    write_nifti(path, np.stack([scan(4)[0]] * 5, axis=-1), AFFINE)


def noisy(path: Path) -> None:
    label = scan(1)[1]
    write_nifti(
        path,
        (label + np.random.default_rng(0).normal(0, 1e-3, label.shape)).astype(np.float32),
        AFFINE,
    )


def elsewhere(path: Path) -> None:
    write_nifti(path, scan(1)[1], AFFINE + 3 * np.eye(4, k=3))


def looped(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


BAD_SCANS = [
    (cut_off, "cut off"),
    (claims_much, "1,000,000,000,000 voxels"),
    (series, "three spatial axes"),
    (looped, "a broken link"),
]
BAD_LABELS = [
    (cut_off, "cut off"),
    (claims_much, "differ in shape"),
    (noisy, "fractions"),
    (elsewhere, "corners up to 3 mm apart"),
]


@pytest.mark.parametrize(
    ("place", "spoil", "told"),
    [(image_of, *bad) for bad in BAD_SCANS] + [(label_of, *bad) for bad in BAD_LABELS],
)
def test_a_bad_file_is_named_before_anything_is_written(capsys, tmp_path, data, place, spoil, told):
    spoil(place(data))
    for verb in (
        ["check", data],
        ["train", "folder", "--data", data, "--out", tmp_path / "run", "--max-steps", "1"],
    ):
        code, out, err = crossview(capsys, *verb)
        text = " ".join((out + err).split())
        assert code == 2
        assert told in text
        assert place(data).name in text
        assert "fix" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("spoil", "told"), BAD_SCANS)
def test_a_bad_scan_costs_none_of_the_other_predictions(capsys, tmp_path, data, run, spoil, told):
    spoil(image_of(data, 2))
    code, _, err = crossview(capsys, "predict", run, data / "images", "--out", tmp_path / "öut")
    assert code == 2
    assert told in err
    assert NAMES[2] in err
    written = sorted((tmp_path / "öut").glob("*.nii*"))
    assert [path.name for path in written] == [
        f"{name}.nii.gz" for name in NAMES if name != NAMES[2]
    ]
    assert all(np.asarray(nibabel.load(path).dataobj).shape == (20, 18, 16) for path in written)


def test_names_with_spaces_and_letters_beyond_ascii(capsys, tmp_path, data, run):
    assert crossview(capsys, "check", data)[0] == 0
    code, _, err = crossview(
        capsys, "predict", run, image_of(data), "--out", tmp_path / "Ergebnisse von heute – ß"
    )
    assert code == 0, err
    assert [path.name for path in (tmp_path / "Ergebnisse von heute – ß").glob("*.nii*")] == [
        image_of(data).name
    ]


def remove_labels(data: Path, left: int) -> None:
    for number in range(left, 3):
        label_of(data, number).unlink()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda data: [
                shutil.rmtree(data / "images"),
                shutil.rmtree(data / "labels"),
                (data / "images").mkdir(),
            ],
            "the folder contains no scans",
        ),
        (lambda data: remove_labels(data, 1), "too few labelled cases to train on"),
        (lambda data: remove_labels(data, 0), "too few labelled cases to train on"),
        (
            lambda data: [shutil.rmtree(data / "images"), (data / "images").symlink_to("images")],
            "a broken link",
        ),
    ],
)
def test_a_data_set_that_cannot_be_trained_on_is_refused(capsys, tmp_path, data, spoil, told):
    spoil(data)
    for verb in (
        ["check", data],
        ["train", "folder", "--data", data, "--out", tmp_path / "run", "--max-steps", "1"],
    ):
        code, out, err = crossview(capsys, *verb)
        assert code == 2
        assert told in out + err
    assert not (tmp_path / "run").exists()


def test_no_scans_to_predict(capsys, tmp_path, run):
    (tmp_path / "empty").mkdir()
    code, _, err = crossview(capsys, "predict", run, tmp_path / "empty", "--out", tmp_path / "out")
    assert (code, "the folder contains no scans" in err) == (2, True)


@contextmanager
def largest_file(size: int):
    """Make writes beyond ``size`` bytes of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_complete_predictions(capsys, tmp_path, run):
    for number, size in enumerate((1, 3, 1)):
        write_nifti(tmp_path / "scans" / f"{NAMES[number]}.nii", scan(number, size)[0], AFFINE)
    with largest_file(60_000):
        code, _, err = crossview(
            capsys, "predict", run, tmp_path / "scans", "--out", tmp_path / "out"
        )
    assert code == 2
    assert "the prediction can't be written" in err
    assert f"{NAMES[1]}.nii" in err
    assert "free disk space" in err
    written = sorted((tmp_path / "out").glob("*.nii*"))
    assert [path.name for path in written] == [f"{NAMES[0]}.nii", f"{NAMES[2]}.nii"]
    assert all(np.asarray(nibabel.load(path).dataobj).shape == (20, 18, 16) for path in written)


@pytest.mark.parametrize("read_only", [False, True])
def test_an_output_folder_that_cannot_be_written_is_reported_at_once(
    capsys, tmp_path, data, run, monkeypatch, read_only
):
    place = tmp_path / "place"
    if read_only:  # by the system's answer: root is refused nothing but on a read-only mount
        place.mkdir()
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != place)
    else:
        place.write_text("a file")
    told = "is read-only" if read_only else "is a file"
    for verb in (["predict", run, data / "images"], ["train", "folder", "--data", data]):
        code, out, err = crossview(capsys, *verb, "--out", place / "new")
        assert (code, told in err, "choose another --out" in err) == (2, True, True)
        assert "planned from" not in out
        assert err.count("error:") == 1
