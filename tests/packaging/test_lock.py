"""Tests that requirements.lock agrees with pyproject.toml and names no machine."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
OWN_BUILD = "torch"
"""Installed before the lock and kept if it is there, because its build depends on the machine."""


@pytest.fixture(scope="module")
def lock() -> str:
    return (ROOT / "requirements.lock").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def locked(lock) -> list[Requirement]:
    return [
        Requirement(line.rstrip(" \\")) for line in lock.splitlines() if re.match(r"[a-z0-9]", line)
    ]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(project: dict) -> list[Requirement]:
    lines = project["dependencies"] + project["optional-dependencies"]["dev"]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != OWN_BUILD]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_each_dependency_is_locked_once_within_its_bounds(project, locked, python):
    environment = default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    here = [
        requirement
        for requirement in locked
        if not requirement.marker or requirement.marker.evaluate(environment)
    ]
    versions = {
        normal(requirement.name): next(iter(requirement.specifier)).version for requirement in here
    }
    assert len(versions) == len(here), "a package is locked twice for one Python"
    for requirement in wanted(project):
        assert normal(requirement.name) in versions, f"{requirement.name} is not locked: make lock"
        assert versions[normal(requirement.name)] in requirement.specifier, (
            f"{requirement}: the lock is out of date: make lock"
        )


def test_every_package_is_pinned_and_has_hashes(lock, locked):
    assert all(
        [specifier.operator for specifier in requirement.specifier] == ["=="]
        for requirement in locked
    )
    entries = re.split(r"\n(?=[a-z0-9])", lock)[1:]
    assert len(entries) == len(locked)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_neither_torch_nor_its_cuda_packages_are_locked(locked):
    names = {normal(requirement.name) for requirement in locked}
    assert names.isdisjoint({OWN_BUILD, "triton", "torchvision"})
    assert not [name for name in names if name.startswith(("nvidia", "cuda"))]


def test_the_lock_names_no_host_and_no_folder(lock):
    for found in ("://", "--index", "--extra-index", "--find-links", " @ ", "file:"):
        assert found not in lock


def test_torch_2_9_and_old_ones_are_refused(project):
    torch = next(
        requirement
        for requirement in map(Requirement, project["dependencies"])
        if requirement.name == OWN_BUILD
    )
    allowed = [
        version
        for version in ("2.5.1", "2.6.0", "2.8.0", "2.9.0", "2.9.1", "2.10.0", "2.13.0")
        if version in torch.specifier
    ]
    assert allowed == ["2.6.0", "2.8.0", "2.10.0", "2.13.0"]
