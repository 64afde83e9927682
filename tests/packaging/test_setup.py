"""Tests of the Makefile's torch check and of the version numbers."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def torch_check() -> str:
    """Return the Python lines by which `make setup` decides if it keeps the installed torch."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return makefile.split("define torch_check\n")[1].split("endef")[0]


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        ("2.13.0+cpu", True),
        ("2.6.0", True),
        ("2.10.1", True),
        ("2.5.1", False),
        ("2.9.0+cu130", False),
        (None, False),
    ],
)
def test_setup_keeps_a_torch_that_will_do(tmp_path, found, kept):
    # A folder with only the metadata of a torch, put in the place of the real packages.
    if found:
        metadata = tmp_path / f"torch-{found}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {found}\n")
    paths = f"[{str(tmp_path)!r}] + [p for p in sys.path if 'site-packages' not in p]"
    code = f"import sys\nsys.path[:] = {paths}\n{torch_check()}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is kept, done.stderr
    assert "Traceback" not in done.stderr


def test_the_default_torch_of_setup_is_one_the_package_accepts():
    from packaging.requirements import Requirement

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    default = re.search(r"^TORCH \?= torch==(\S+)$", makefile, re.MULTILINE)
    assert default is not None
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "dependencies"
    ]
    torch = next(
        requirement for requirement in map(Requirement, dependencies) if requirement.name == "torch"
    )
    assert default[1] in torch.specifier


def test_citation_and_changelog_name_the_version_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased = f"\n## Unreleased\n\nThe first version, {version}."
    assert unreleased in changelog or f"\n## {version}" in changelog
