"""PNG and TIFF images: read as the model wants them, and masks in the same format and size."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.helpers.predicting import read_scan, write_scan

from crossview.core.errors import UserError
from crossview.data.io.image import read_label

KINDS = ("probability", "disagreement")


def read(*files, channels=1, dimensions=(2, 3), name="a"):
    options = {"normalisation": "z_score", "orientation": "canonical", "nifti_axes": (2, 0, 1)}
    return read_scan(*files, channels=channels, dimensions=dimensions, name=name, **options)


def image_file(path, *shape, dtype=np.uint8):
    values = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    Image.fromarray(values).save(path)
    return path, values


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_mask_has_its_images_format_name_and_size(tmp_path, suffix, dtype):
    path, values = image_file(tmp_path / f"a b{suffix}", 7, 5, dtype=dtype)
    found = read(path, name="a b")
    assert found.shape == values.shape
    np.testing.assert_allclose(found.image[0], (values - values.mean()) / values.std(), atol=1e-5)
    label = np.arange(35, dtype=np.uint8).reshape(7, 5) % 3
    probability, doubt = (
        np.random.default_rng(1).random((3, 7, 5)).astype(np.float32),
        np.full((7, 5), 0.25, np.float32),
    )
    write_scan(
        found, {"label": label, "probability": probability, "disagreement": doubt}, tmp_path / "out"
    )
    np.testing.assert_array_equal(read_label(tmp_path / "out" / path.name), label)
    with Image.open(tmp_path / "out" / "probability" / "a b.tif") as pages:
        assert pages.n_frames == 3
        for page in range(3):
            pages.seek(page)
            np.testing.assert_array_equal(np.asarray(pages), probability[page])
    with Image.open(tmp_path / "out" / "disagreement" / "a b.tif") as page:
        np.testing.assert_array_equal(np.asarray(page), doubt)
    # Another reader finds the same numbers.
    maps = [tifffile.imread(tmp_path / "out" / kind / "a b.tif") for kind in KINDS]
    np.testing.assert_array_equal(maps[0], probability)
    np.testing.assert_array_equal(maps[1], doubt)
    if suffix != ".png":
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / path.name), label)
    assert not list(tmp_path.rglob("*.part"))


def test_colours_are_channels(tmp_path):
    path, values = image_file(tmp_path / "a.png", 6, 5, 3)
    assert read(path, channels=3).image.shape == (3, *values.shape[:2])
    with pytest.raises(UserError, match="wrong number of channels"):
        read(path, channels=1)


def test_a_grey_image_saved_in_colour_fits_a_model_of_one_channel(tmp_path):
    path, values = image_file(tmp_path / "a.png", 6, 5)
    Image.fromarray(values).convert("RGB").save(tmp_path / "rgb.png")
    Image.fromarray(values).convert("RGB").save(tmp_path / "rgb.tif", compression="tiff_lzw")
    expected = read(path).image
    for name in ("rgb.png", "rgb.tif"):
        np.testing.assert_array_equal(read(tmp_path / name).image, expected)
        assert read(tmp_path / name, channels=3).image.shape == (3, 6, 5)
    pair = read(path, tmp_path / "rgb.png", channels=2)
    np.testing.assert_array_equal(pair.image, np.concatenate([expected, expected]))


def test_channels_in_files_of_their_own(tmp_path):
    files = tuple(image_file(tmp_path / f"a_000{i}.png", 6, 5 + i // 2)[0] for i in range(3))
    assert read(*files[:2], channels=2).image.shape == (2, 6, 5)
    with pytest.raises(UserError, match="differ in size"):
        read(*files, channels=3)


def test_a_model_of_volumes_takes_no_image(tmp_path):
    path, _ = image_file(tmp_path / "a.png", 6, 5)
    with pytest.raises(UserError, match="predicts volumes"):
        read(path, dimensions=(3,))
