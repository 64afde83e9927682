"""Files to share name no case, path or user: every byte is searched for a planted word."""

import base64
import gzip
import re
import zipfile
import zlib

import pytest
from tests.helpers.command import crossview, sets
from tests.helpers.made_folder import scan, write_nifti

WORD = "Zyxwvut"

KEYS = sets(
    "data.patch=[8,8,8]",
    "data.validation=1",
    "network.filters=2",
    "network.levels=2",
    "method.pretrain_steps=1",
    "method.train_steps=1",
    "training.precision=float32",
    "training.log_every=1",
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Train, evaluate and predict where the word is in every name; return run and predictions."""
    home = tmp_path_factory.mktemp("home") / f"{WORD}-user"
    private = {"descrip": WORD, "aux_file": WORD, "db_name": WORD, "intent_name": WORD}
    for number in range(7):
        image, label = scan(number, (12, 11, 10))
        name = f"{WORD}_{number}.nii.gz"
        write_nifti(home / "data" / "images" / name, image, **private)
        if number < 5:
            write_nifti(home / "data" / "labels" / name, label, **private)
    split = f'test = ["{WORD}_4"]\n[patient]\n{WORD}_0 = "{WORD}-P1"\n'
    (home / "data" / "split.toml").write_text(split)
    return home


@pytest.fixture
def shared(planted, capsys):
    """Return the files that a user shares."""
    run, out = planted / "run", planted / "out"
    for arguments in (
        ("train", "folder", "--data", planted / "data", "--out", run, *KEYS),
        ("evaluate", run),
        ("report", run, "--no-names"),
        ("predict", run, planted / "data" / "images", "--out", out),
        ("export", run, "--to", run / "model.onnx"),
    ):
        code, _, err = crossview(capsys, *arguments)
        assert code == 0, err
    files = [run / name for name in ("report-no-names.html", "model.pt", "model.onnx")]
    return [*files, *run.rglob("*.png"), *out.iterdir()]


def contents(data: bytes) -> list[bytes]:
    """Return the bytes, and those of the packed and embedded parts within them."""
    parts = [data]
    if data[:2] == b"\x1f\x8b":
        parts.append(gzip.decompress(data))
    for embedded in re.findall(rb"base64,([A-Za-z0-9+/=]+)", data):
        parts += contents(base64.b64decode(embedded))
    for at in [match.start() for match in re.finditer(rb"(IDAT|zTXt|iTXt)", data)]:
        try:
            parts.append(zlib.decompressobj().decompress(data[at + 4 :]))
        except zlib.error:
            continue
    return parts


def test_nothing_that_is_shared_has_a_name_in_it(shared):
    assert len(shared) >= 9
    for path in shared:
        parts = contents(path.read_bytes())
        if path.suffix == ".pt":
            with zipfile.ZipFile(path) as archive:
                parts += [archive.read(name) for name in archive.namelist()]
        for part in parts:
            for word in (WORD, WORD.encode("utf-16-le").decode("latin-1")):
                at = part.find(word.encode("latin-1"))
                assert at < 0, (path.name, part[max(0, at - 80) : at + 80])


def test_the_search_finds_what_is_planted(tmp_path):
    packed = gzip.compress(WORD.encode())
    page = b"data:image/png;base64," + base64.b64encode(packed)
    assert any(WORD.encode() in part for part in contents(page))
