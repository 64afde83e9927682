"""Pictures of batches: whatever a method shows is drawn, whatever it is called."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.data.case import Case
from crossview.reporting.pictures.batch import TURNED, _rows, batch_drawer, draw_batch
from crossview.reporting.pictures.frame import RADIOLOGICAL, Frame
from crossview.reporting.pictures.panels import LABEL, PREDICTION

Arrays = dict[str, np.ndarray]


def batch(samples: int, side: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = np.zeros((samples, *side), np.int64)
    label[(slice(None), *(slice(length // 4, length // 2) for length in side))] = 1
    return rng.normal(size=(samples, 1, *side)).astype(np.float32) + label[:, None], label


def draw(
    image: np.ndarray, label: np.ndarray, unlabelled: np.ndarray | None, show: Arrays, path: Path
) -> None:
    tensors = (
        None if array is None else torch.from_numpy(array) for array in (image, label, unlabelled)
    )
    drawn = Batch(*tensors, Randomness(0))
    frame = Frame.of(image.ndim - 2, -1, None)
    draw_batch(drawn, {name: torch.as_tensor(array) for name, array in show.items()}, path, frame)


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.parametrize("side", [(24, 24), (24, 20, 16), (112, 112, 80)])
def test_one_row_an_entry(tmp_path: Path, side: tuple[int, ...]) -> None:
    image, label = batch(4, side)
    draw(image, label, None, {}, tmp_path / "labelled.png")
    show = {
        "labelled mix": image[:2],
        "labelled mix label": label[:2],
        "unlabelled mix": image[2:],
        "target view1": label[2:].astype(np.uint8),
        "target view2": label[2:].astype(np.uint8),
    }
    draw(image, label, image, show, tmp_path / "all.png")
    assert size(tmp_path / "labelled.png")[0] == size(tmp_path / "all.png")[0]
    assert size(tmp_path / "all.png")[1] > 4 * size(tmp_path / "labelled.png")[1]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["all.png", "labelled.png"]


def test_labels_lie_on_the_image_they_belong_to() -> None:
    image, label = batch(4, (8, 8))
    show: Arrays = {
        "labelled mix": image[:2] * 2,
        "labelled mix label": label[:2],
        "unlabelled mix": image[:2] * 3,
        "target view1": label[:2],
        "pseudo-label view1": label,
    }
    rows = {row.name: row for row in _rows(image, label, image * 5, show)}
    assert list(rows) == [
        "labelled",
        "unlabelled",
        "pseudo-label view1",
        "labelled mix",
        "unlabelled mix",
        "target view1",
    ]
    np.testing.assert_array_equal(rows["pseudo-label view1"].base, image[:, 0] * 5)
    np.testing.assert_array_equal(rows["target view1"].base, image[:2, 0] * 3)
    np.testing.assert_array_equal(rows["labelled mix"].base, image[:2, 0] * 2)
    assert rows["labelled"].true
    assert rows["labelled mix"].true
    assert not rows["target view1"].true
    assert not rows["pseudo-label view1"].true
    assert rows["unlabelled"].label is None


def test_any_name_and_shape_is_survived(tmp_path: Path) -> None:
    image, label = batch(2, (12, 12, 12))
    show: Arrays = {
        "": label.astype(bool),
        "a label of no image, with a very long name indeed, longer than the margin": label[:, :6],
        "certainty": np.random.default_rng(1).random((2, 12, 12, 12)).astype(np.float32),
        "scalar": np.array(1.0),
        "vector": np.arange(3),
        "empty": np.zeros((0, 12, 12, 12)),
        "label": label,
        "<script>": image,
    }
    draw(image, label, image, show, tmp_path / "odd.png")
    names = [row.name for row in _rows(image, label, image, show)]
    assert "certainty" in names
    assert "<script>" in names
    assert "scalar" not in names
    assert "vector" not in names
    assert "empty" not in names


def test_large_batches_are_cut_and_say_so(tmp_path: Path) -> None:
    image, label = batch(24, (8, 8))
    draw(image, label, None, {}, tmp_path / "many.png")
    small, _ = batch(6, (8, 8))
    draw(small, label[:6], None, {}, tmp_path / "few.png")
    assert size(tmp_path / "many.png")[0] == size(tmp_path / "few.png")[0]
    assert size(tmp_path / "many.png")[1] > size(tmp_path / "few.png")[1]


def test_true_labels_are_cool_and_targets_warm(tmp_path: Path) -> None:
    image, label = batch(2, (24, 24))

    def has(path: Path, colour: tuple[int, int, int]) -> bool:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)[:-40]
        return bool((np.abs(pixels - colour).max(-1) < 10).any())

    draw(image, label, None, {}, tmp_path / "label.png")
    assert has(tmp_path / "label.png", LABEL[0])
    assert not has(tmp_path / "label.png", PREDICTION[0])
    draw(image, label * 0, image, {"target view1": label}, tmp_path / "target.png")
    assert has(tmp_path / "target.png", PREDICTION[0])
    assert not has(tmp_path / "target.png", LABEL[0])


def drawn_as(monkeypatch, *, patch, affine, augmentation="mild") -> tuple[Frame, str]:
    """Return frame and note of the batches of a recipe whose scans have an affine, or none."""
    found = []
    monkeypatch.setattr(
        "crossview.reporting.pictures.batch.draw_batch",
        lambda batch, show, path, frame, note, names: found.append((frame, note)),
    )
    case = Case("a", "a", Path("a"), lambda: None, affine=affine)
    splits = SimpleNamespace(labelled=(case,), unlabelled=(case,), class_names=("a", "b"))
    data = SimpleNamespace(patch=patch, spacing=(), augmentation=augmentation)
    batch_drawer(SimpleNamespace(data=data), splits)(None, {}, Path())
    return found[0]


def test_a_batch_is_drawn_as_the_pictures_of_cases_are(monkeypatch) -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    frame, note = drawn_as(monkeypatch, patch=(4, 5, 6), affine=affine)
    volume = np.random.default_rng(0).random((4, 5, 6))
    np.testing.assert_array_equal(frame.turn(volume), Frame.of(3, -1, affine).turn(volume))
    assert (frame.ends, note) == ((("S", "I"), ("A", "P"), ("R", "L")), RADIOLOGICAL)
    assert drawn_as(monkeypatch, patch=(4, 5, 6), affine=None)[0].ends == ()


def test_slices_of_volumes_are_turned_as_their_volumes(monkeypatch) -> None:
    """Axes towards head, front and right: a slice's rows begin at the back, its columns left."""
    affine = np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [8, 0, 0, 0], [0, 0, 0, 1]])
    frame, _ = drawn_as(monkeypatch, patch=(5, 6), affine=affine)
    plane = np.random.default_rng(0).random((5, 6))
    np.testing.assert_array_equal(frame.turn(plane)[0], plane[::-1, ::-1])
    assert frame.ends[1:] == (("A", "P"), ("R", "L"))
    isotropic = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert drawn_as(monkeypatch, patch=(5, 6), affine=isotropic)[0].planes[0] == "sagittal"


def test_batches_that_are_mirrored_at_random_have_no_letters(monkeypatch) -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    how = {"patch": (4, 5, 6), "affine": affine, "augmentation": "rot90_flip"}
    frame, note = drawn_as(monkeypatch, **how)
    assert (frame.ends, note) == ((), TURNED)


def test_the_legend_names_the_classes(monkeypatch, tmp_path) -> None:
    found = []
    monkeypatch.setattr(
        "crossview.reporting.pictures.batch.compose",
        lambda panels, side, title, keys, **rest: found.extend(key.text for key in keys),
    )
    monkeypatch.setattr("crossview.reporting.pictures.batch.save", lambda picture, path: None)
    image = torch.zeros(1, 1, 8, 8)
    label = torch.arange(64).reshape(1, 8, 8).clamp(max=3).to(torch.uint8)
    drawn = Batch(image, label, None, Randomness(0))
    draw_batch(
        drawn, {}, tmp_path / "a.png", Frame.of(2, -1, None), names=("none", "left", "right")
    )
    assert found[:3] == ["label, left", "label, right", "label, class 3"]
