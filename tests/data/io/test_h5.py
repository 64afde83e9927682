"""Broken, hostile and odd h5 files each get a clear error that names the file."""

import h5py
import numpy as np
import pytest

from crossview.core.errors import UserError
from crossview.data.io.h5 import read_image, read_label

IMAGE, LABEL = np.zeros((4, 3, 2), np.float32), np.zeros((4, 3, 2), np.uint8)


@pytest.mark.parametrize("kind", ["float32", "float64", "int16", "uint8"])
def test_images_of_any_number_type_come_as_float32(tmp_path, write_h5, kind):
    path = write_h5(tmp_path / "a.h5", np.arange(24).reshape(4, 3, 2).astype(kind), LABEL)
    image = read_image(path, 3)
    assert (image.shape, image.dtype) == ((1, 4, 3, 2), np.float32)
    assert np.array_equal(image.ravel(), np.arange(24))


@pytest.mark.parametrize("kind", ["uint8", "int8", "int64", "bool"])
def test_labels_of_any_whole_type_come_as_uint8(tmp_path, write_h5, kind):
    path = write_h5(tmp_path / "a.h5", IMAGE, np.ones((4, 3, 2), kind))
    label = read_label(path, 3)
    assert label.dtype == np.uint8
    assert label.all()


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (None, LABEL, "array 'image' is missing"),
        (IMAGE, None, "array 'label' is missing"),
        (IMAGE[0], LABEL, "'image' has an unsupported shape"),
        (IMAGE[:0], LABEL[:0], "'label' has an unsupported shape"),
        (IMAGE.astype(complex), LABEL, "'image' has an unsupported type"),
        (np.array([b"text"] * 24).reshape(4, 3, 2), LABEL, "'image' has an unsupported type"),
        (IMAGE, LABEL.astype(np.float32), "'label' has an unsupported type"),
        (IMAGE, LABEL[:2], "differ in shape"),
        (IMAGE, LABEL.astype(np.int16) - 1, "values that are not classes"),
        (IMAGE, LABEL.astype(np.int8) - 1, "values that are not classes"),
        (IMAGE, LABEL.astype(np.int32) + 256, "values that are not classes"),
    ],
)
def test_unusable_arrays(tmp_path, write_h5, image, label, message):
    path = write_h5(tmp_path / "a.h5", image, label)
    with pytest.raises(UserError, match=message) as error:
        read_label(path, 3)  # checks the image's header too
    (problem,) = error.value.problems
    assert problem.where == str(path)
    assert problem.found
    assert problem.expected
    assert problem.fix


def test_a_group_where_an_array_should_be(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("image")
    with pytest.raises(UserError, match="array 'image' is missing"):
        read_image(tmp_path / "a.h5", 3)


def test_a_huge_header_asks_for_no_memory(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("image", shape=(10**5, 10**5, 10**4), dtype="f4", chunks=(64, 64, 64))
    with pytest.raises(UserError, match="too large for a scan"):
        read_image(tmp_path / "a.h5", 3)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="the file is missing"):
        read_image(tmp_path / "a.h5", 3)


@pytest.mark.parametrize("kept", [0, 10, 600, 3000, 20000])
def test_a_truncated_file(tmp_path, kept):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "image",
            data=np.random.default_rng(0).random((30, 20, 20), np.float32),
            compression="gzip",
        )
    assert path.stat().st_size > 20000
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="the file is cut off, damaged or not an h5 file"):
        read_image(path, 3)


def test_damaged_compressed_data(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "image",
            data=np.random.default_rng(0).random((30, 20, 20), np.float32),
            compression="gzip",
        )
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(UserError, match="the file is cut off, damaged or not an h5 file"):
        read_image(path, 3)


def rewritten(path, old, new):
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new))


def test_a_float_type_that_is_none_is_damage(tmp_path, write_h5):
    path = write_h5(tmp_path / "a.h5", IMAGE, LABEL)
    # The layout of float32 in a header: size 4, precision 32, exponent at 23 ... bias 127.
    exact = bytes([32, 0, 23, 8, 0, 23, 127, 0, 0, 0])
    rewritten(path, exact, bytes([32, 0, 23, 8, 0, 23, 255, 255, 255, 255]))
    with pytest.raises(UserError, match="the file is cut off, damaged or not an h5 file"):
        read_image(path, 3)


def test_a_damaged_header_of_an_array_is_damage(tmp_path, write_h5):
    path = write_h5(tmp_path / "a.h5", IMAGE, LABEL)
    with h5py.File(path) as file:
        at = h5py.h5o.get_info(file["image"].id).addr
    content = bytearray(path.read_bytes())
    content[at] = 99  # version of the object header
    path.write_bytes(content)
    for read in (read_image, read_label):
        with pytest.raises(UserError, match="the file is cut off, damaged or not an h5 file"):
            read(path, 3)


def test_a_chunk_without_bytes_is_damage(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        data = np.random.default_rng(0).random(IMAGE.shape, np.float32)
        stored = file.create_dataset("image", data=data, compression="gzip").id
        size = stored.get_chunk_info(0).size
        assert size > 0
    content = path.read_bytes()
    begin = content.index(size.to_bytes(4, "little") + bytes(4))  # in the index of chunks
    path.write_bytes(content[:begin] + bytes(4) + content[begin + 4 :])
    with pytest.raises(UserError, match="a chunk of 0 bytes"):
        read_image(path, 3)
