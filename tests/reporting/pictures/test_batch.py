"""Pictures of batches: whatever a method shows is drawn, whatever it is called."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.reporting.pictures.batch import _rows, draw_batch
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
    draw_batch(drawn, {name: torch.as_tensor(array) for name, array in show.items()}, path)


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
