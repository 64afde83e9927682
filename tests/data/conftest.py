"""Small made data sets in the published layouts, and cases held in memory."""

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from crossview.data.case import Case


@pytest.fixture
def write_h5() -> Callable[..., Path]:
    def write(path: Path, image: object, label: object = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            if image is not None:
                file["image"] = image
            if label is not None:
                file["label"] = label
        return path

    return write


@pytest.fixture
def make_la(tmp_path: Path, write_h5: Callable[..., Path]) -> Callable[..., Path]:
    """Writes an LA layout with the given train and test names; returns its root."""

    def make(train: Sequence[str] = ("A", "B", "C", "D"), test: Sequence[str] = ("T",)) -> Path:
        root = tmp_path / "LA"
        for number, name in enumerate(dict.fromkeys([*train, *test])):
            generator = np.random.default_rng(number)
            image = generator.integers(0, 50, (6, 5, 4)).astype(np.float32)
            write_h5(
                root / "2018LA_Seg_Training Set" / name / "mri_norm2.h5",
                image,
                (image > 40).astype(np.uint8),
            )
        (root / "train.list").write_text("\n".join(train) + "\n")
        (root / "test.list").write_text("\n".join(test))
        return root

    return make


@pytest.fixture
def make_acdc(tmp_path: Path, write_h5: Callable[..., Path]) -> Callable[..., Path]:
    """Write an ACDC layout: three training patients, two frames of three slices each, listed
    in a mixed order.
    """

    def make() -> Path:
        root = tmp_path / "ACDC"
        generator = np.random.default_rng(0)
        slices = [
            f"patient{p:03d}_frame{f:02d}_slice_{k}"
            for p in (7, 3, 5)
            for f in (2, 1)
            for k in (10, 2, 1)
        ]
        for name in slices:
            number = int(name.rsplit("_", 1)[1])
            write_h5(
                root / "data/slices" / f"{name}.h5",
                np.full((5, 4), number / 16, np.float32),
                generator.integers(0, 4, (5, 4), np.uint8),
            )
        volumes = {
            "val": ["patient010_frame01"],
            "test": ["patient020_frame01", "patient020_frame02"],
        }
        for name in [*volumes["val"], *volumes["test"]]:
            write_h5(
                root / "data" / f"{name}.h5",
                generator.random((3, 5, 4), np.float32),
                generator.integers(0, 4, (3, 5, 4), np.uint8),
            )
        (root / "train_slices.list").write_text("\n".join(slices))
        for split, names in volumes.items():
            (root / f"{split}.list").write_text("\n".join(names))
        return root

    return make


@pytest.fixture
def make_case() -> Callable[..., Case]:
    """A case of given arrays: image (C, *S), and label (*S) or None."""

    def make(name: str, image: np.ndarray, label: np.ndarray | None = None) -> Case:
        return Case(
            name, name, Path(f"{name}.h5"), lambda: image, None if label is None else lambda: label
        )

    return make


@pytest.fixture(scope="session")
def unpacked_data() -> Path:
    """The folder that holds LA/ and ACDC/: $CROSSVIEW_DATA."""
    if "CROSSVIEW_DATA" not in os.environ:
        pytest.skip("no real data: CROSSVIEW_DATA is not set to the folder that holds LA and ACDC")
    return Path(os.environ["CROSSVIEW_DATA"])


@pytest.fixture(scope="session")
def published_layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with LA/ and ACDC/: $CROSSVIEW_DATA, or the published lists from
    ../shared/data with an empty file per case.
    """
    if "CROSSVIEW_DATA" in os.environ:
        return Path(os.environ["CROSSVIEW_DATA"])
    packed = Path(__file__).parents[2].parent / "shared" / "data"
    if not (packed / "la-1.zip").is_file():
        pytest.skip("no real data: CROSSVIEW_DATA is not set and ../shared/data does not exist")
    root = tmp_path_factory.mktemp("published")
    patterns = {"LA": "2018LA_Seg_Training Set/{}/mri_norm2.h5", "ACDC": "data/{}.h5"}
    for part in sorted(packed.glob("*.zip")):
        folder = root / part.name.split("-")[0].upper()
        with zipfile.ZipFile(part) as archive:
            for name in archive.namelist():
                if not name.endswith(".list") or folder.name not in patterns:
                    continue
                for case in archive.read(name).decode().split():
                    file = folder / patterns[folder.name].format(
                        f"slices/{case}" if "slice" in name else case
                    )
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.touch()
                archive.extract(name, folder)
    return root
