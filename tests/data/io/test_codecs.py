"""Files that only imagecodecs decodes: which they are, and what is said where it is missing."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile
from imagecodecs import png_encode

from crossview.core.errors import UserError
from crossview.data.io import absent_libraries, extras
from crossview.data.io.image import needs_codecs, read_image
from crossview.data.io.png import SIGNATURE

WHOLE = np.arange(16 * 24, dtype=np.uint8).reshape(16, 24)
DECIMAL = WHOLE.astype(np.float32) / 7

NEEDED = {
    "lzw": (WHOLE, {"compression": "lzw"}),
    "jpeg": (WHOLE, {"compression": "jpeg"}),
    "zstd": (WHOLE, {"compression": "zstd"}),
    "jpeg2000": (WHOLE, {"compression": "jpeg2000"}),
    "differences of decimals": (DECIMAL, {"compression": "zlib", "predictor": True}),
}
"""What tifffile alone does not decode, by its own documentation."""

ALONE = {
    "none": (WHOLE, {}),
    "deflate": (DECIMAL, {"compression": "zlib", "tile": (16, 16)}),
    "differences": (WHOLE, {"compression": "zlib", "predictor": True}),
    "packbits": (WHOLE, {"compression": "packbits"}),
    "lzma": (WHOLE, {"compression": "lzma"}),
    "1 bit": (WHOLE > 100, {"compression": "zlib"}),
}

PROGRAM = """
import sys
sys.modules["imagecodecs"] = None  # an import of it fails
from pathlib import Path
import numpy as np
from crossview.core.errors import UserError
from crossview.data.io.image import read_image
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        np.save(path.with_suffix(".npy"), read_image(path))
    except UserError as error:
        path.with_suffix(".txt").write_text(str(error))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with a file of each kind."""
    root = tmp_path_factory.mktemp("files")
    for name, (array, options) in (NEEDED | ALONE).items():
        tifffile.imwrite(root / f"{name}.tif", array, **options)
    (root / "16-bit colours.png").write_bytes(
        png_encode(np.stack([WHOLE.astype(np.uint16) * 257] * 3, -1))
    )
    (root / "damaged.png").write_bytes(SIGNATURE)
    return root


def test_files_that_need_it_are_told_from_those_that_do_not(files, monkeypatch):
    assert {path.stem for path in files.iterdir() if needs_codecs(path)} == {
        *NEEDED,
        "16-bit colours",
    }
    paths = sorted(files.iterdir())
    assert absent_libraries(paths) == []
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    (problem,) = absent_libraries(paths)
    assert [name.split("/")[1].split(".")[0] for name in problem.where.split(", ")] == sorted(
        [*NEEDED, "16-bit colours"]
    )
    assert problem.found == "no module imagecodecs"
    assert problem.fix.startswith("pip install imagecodecs; or save TIFF files without compression")


def test_without_it_the_others_are_read_the_same(files):
    subprocess.run([sys.executable, "-c", PROGRAM, str(files)], check=True)
    for name in ALONE:
        expected = read_image(files / f"{name}.tif")
        np.testing.assert_array_equal(np.load(files / f"{name}.npy"), expected)
    for name in (*NEEDED, "16-bit colours"):
        assert "no module imagecodecs" in (files / f"{name}.txt").read_text()
    assert "damaged" in (files / "damaged.txt").read_text()


@pytest.mark.parametrize(
    ("code", "found"),
    [(34933, "PNG"), (34934, "JPEGXR"), (22610, "JPEGXR_NDPI"), (32809, "THUNDERSCAN")],
)
def test_a_compression_that_nothing_decodes_is_named(tmp_path, code, found):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, WHOLE)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["Compression"].overwrite(code)
    with pytest.raises(UserError, match="compression of the TIFF file is not supported") as error:
        read_image(path)
    (problem,) = error.value.problems
    assert (problem.where, problem.found) == (str(path), found)
