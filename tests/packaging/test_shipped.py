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
