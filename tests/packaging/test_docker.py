"""Tests that the Dockerfile names what there is; building it needs docker."""

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """Return the instructions with their arguments."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def of(steps: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for found, rest in steps if found == word]


def copied(steps: list[tuple[str, str]]) -> list[str]:
    return [source for rest in of(steps, "COPY") for source in rest.split()[:-1]]


def test_what_is_copied_exists_and_is_sent_to_the_builder(steps):
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in ignored
    for source in copied(steps):
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored
    assert {f"!{source}" for source in copied(steps)} == {
        line for line in ignored if line.startswith("!")
    }


def test_all_that_the_package_is_built_from_is_copied(steps):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for needed in ("pyproject.toml", project["readme"], *project["license-files"]):
        assert any(fnmatch(needed, f"{each}*") for each in copied(steps)), needed


def test_versions_are_those_of_make_setup(steps):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    torch = re.search(r"^TORCH \?= (\S+)$", makefile, re.MULTILINE)
    assert torch is not None
    assert f"TORCH={torch[1]}" in of(steps, "ARG")
    (locked,) = [rest for rest in of(steps, "RUN") if "requirements-run.lock" in rest]
    assert {"--no-deps", "--require-hashes"} <= set(locked.split())
    assert "--only-binary :all:" in locked


def test_a_new_commit_installs_nothing_again(steps):
    """An argument enters the key of every later RUN in the builder's cache."""
    last = max(place for place, (word, _) in enumerate(steps) if word == "RUN")
    assert steps.index(("ARG", "COMMIT=")) > last


def test_the_command_runs_without_the_rights_of_root(steps):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert json.loads(of(steps, "ENTRYPOINT")[0]) == list(project["scripts"])
    (user,) = of(steps, "USER")
    assert any(f"useradd --create-home {user}" in rest for rest in of(steps, "RUN"))
    words = [word for word, _ in steps]
    assert words.index("USER") > max(place for place, word in enumerate(words) if word == "RUN")
