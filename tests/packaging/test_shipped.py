"""Tests of the parts of others that the package ships."""

import hashlib
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src" / "crossview" / "reporting" / "viewer" / "static"

NIIVUE = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
"""SHA-256 of dist/niivue.umd.js in the npm package @niivue/niivue 0.69.0."""


def test_niivue_is_the_published_file():
    assert hashlib.sha256((STATIC / "niivue.umd.js").read_bytes()).hexdigest() == NIIVUE


OWN = (".py", ".toml", ".j2", ".html", ".css", ".js", ".typed")

WIDEST = 1000
"""Characters of a line that somebody here writes; built files have longer ones."""


def test_every_file_of_others_is_named_in_the_licences_beside_it():
    package, of_others = ROOT / "src" / "crossview", []
    for path in package.rglob("*"):
        if path.is_dir() or "__pycache__" in path.parts or path.name == "LICENSES.txt":
            continue
        if path.suffix in OWN and max(map(len, path.read_bytes().splitlines()), default=0) < WIDEST:
            continue
        of_others.append(path.name)
        licences = path.parent / "LICENSES.txt"
        assert licences.is_file(), f"{path}: no licences beside it"
        assert path.name in licences.read_text(encoding="utf-8"), path
    assert of_others == ["niivue.umd.js"]


def test_it_comes_with_the_licences_of_all_it_contains():
    text = (STATIC / "LICENSES.txt").read_text(encoding="utf-8")
    contained = "niivue gl-matrix nifti-reader-js zarrita fflate uuid structured-clone array-equal"
    for name in (*contained.split(), "numcodecs", "Blosc", "Zstandard", "LZ4"):
        assert name in text
    assert "Copyright (c) 2021, Niivue" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert str((STATIC / "LICENSES.txt").relative_to(ROOT)) in project["project"]["license-files"]
    patterns = project["tool"]["setuptools"]["package-data"]["crossview"]
    package = ROOT / "src" / "crossview"
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    assert set(STATIC.iterdir()) <= packed
