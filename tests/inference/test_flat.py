"""PNG and TIFF images: read as the model wants them, and masks in the same format and size."""

import numpy as np
import pytest
from PIL import Image

from crossview.data.preprocess import Preprocessing
from crossview.data.sources.images import read_mask
from crossview.errors import UserError
from crossview.inference.flat import read_flat
from crossview.inference.scan import ReadingOptions, Scan


def reading(channels=1, dimensions=(2, 3)):
    return ReadingOptions(Preprocessing("z_score"), "canonical", (2, 0, 1), channels, dimensions)


def image_file(path, *shape, dtype=np.uint8):
    values = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    Image.fromarray(values).save(path)
    return path, values


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_mask_has_its_images_format_name_and_size(tmp_path, suffix, dtype):
    path, values = image_file(tmp_path / f"a b{suffix}", 7, 5, dtype=dtype)
    found = read_flat(Scan((path,), path.name), reading())
    assert found.shape == values.shape
    np.testing.assert_allclose(found.image[0], (values - values.mean()) / values.std(), atol=1e-5)
    label = np.arange(35, dtype=np.uint8).reshape(7, 5) % 3
    probability, doubt = (
        np.random.default_rng(1).random((3, 7, 5)).astype(np.float32),
        np.full((7, 5), 0.25, np.float32),
    )
    found.write(
        {"label": label, "probability": probability, "disagreement": doubt}, tmp_path / "out"
    )
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / path.name), label)
    with Image.open(tmp_path / "out" / "probability" / "a b.tif") as pages:
        assert pages.n_frames == 3
        for page in range(3):
            pages.seek(page)
            np.testing.assert_array_equal(np.asarray(pages), probability[page])
    with Image.open(tmp_path / "out" / "disagreement" / "a b.tif") as page:
        np.testing.assert_array_equal(np.asarray(page), doubt)
    assert not list(tmp_path.rglob("*.part"))


def test_colours_are_channels(tmp_path):
    path, values = image_file(tmp_path / "a.png", 6, 5, 3)
    assert read_flat(Scan((path,), path.name), reading(3)).image.shape == (3, *values.shape[:2])
    with pytest.raises(UserError, match="wrong number of channels"):
        read_flat(Scan((path,), path.name), reading(1))


def test_channels_in_files_of_their_own(tmp_path):
    files = tuple(image_file(tmp_path / f"a_000{i}.png", 6, 5 + i // 2)[0] for i in range(3))
    assert read_flat(Scan(files[:2], "a.png"), reading(2)).image.shape == (2, 6, 5)
    with pytest.raises(UserError, match="differ in size"):
        read_flat(Scan(files, "a.png"), reading(3))


def test_a_model_of_volumes_takes_no_image(tmp_path):
    path, _ = image_file(tmp_path / "a.png", 6, 5)
    with pytest.raises(UserError, match="predicts volumes"):
        read_flat(Scan((path,), path.name), reading(dimensions=(3,)))
