"""Reads of TOML: each shipped file is parsed once per process."""

import tomllib

import pytest
from tests.helpers.command import crossview

from crossview.recipe import layers


@pytest.fixture
def parsed(monkeypatch):
    """Return the texts that are parsed as TOML, counted from an empty cache."""
    layers.shipped_file.cache_clear()
    layers.parse_set.cache_clear()
    texts = []

    def counted(parse):
        def call(content, **options):
            texts.append(content)
            return parse(content, **options)

        return call

    for name in ("loads", "load"):
        monkeypatch.setattr(tomllib, name, counted(getattr(tomllib, name)))
    return texts


def test_training_reads_a_dozen_toml_files(capsys, tmp_path, parsed):
    code, _, err = crossview(capsys, "train", "demo", "--out", tmp_path / "run", "--max-steps", "0")
    assert code == 0, err
    assert len(parsed) <= 12


def test_a_suite_reads_each_recipe_once(capsys, tmp_path, parsed):
    code, out, err = crossview(capsys, "bench", "la", "--out", tmp_path, "--dry-run")
    assert (code, "0 of 57 runs are done" in out) == (0, True), err
    assert len(parsed) <= 60


def test_a_caller_may_change_the_tables_it_was_given():
    before = layers.load("la-8")
    layers.load("la-8")["method"]["upsample"].append("cubic")
    layers.setting_tables("la-8")[1]["data"]["patch"].clear()
    layers.layers("la-8", ["data.patch=[8,8,8]"]).own["data"]["patch"].clear()
    assert layers.load("la-8") == before
    assert layers.load("la-8", ["data.patch=[8,8,8]"])["data"]["patch"] == [8, 8, 8]
