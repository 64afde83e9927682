"""Tests that both lock files agree with pyproject.toml and name no machine."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
OWN_BUILD = "torch"
"""Installed before the lock and kept if it is there, because its build depends on the machine."""
ALL, RUN = "requirements.lock", "requirements-run.lock"


@pytest.fixture(scope="module", params=[ALL, RUN])
def file(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def lock(file) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project(pyproject) -> dict:
    return pyproject["project"]


@pytest.fixture(scope="module")
def locked(lock) -> list[Requirement]:
    return [
        Requirement(line.rstrip(" \\")) for line in lock.splitlines() if re.match(r"[a-z0-9]", line)
    ]


def hashes(file: str) -> dict[str, set[str]]:
    """Return the hashes of each pinned "name==version" of a lock file."""
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / file).read_text(encoding="utf-8"))[1:]
    return {
        re.split(r"[ ;\\]", entry)[0]: set(re.findall(r"sha256:[0-9a-f]{64}", entry))
        for entry in entries
    }


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(project: dict, file: str) -> list[Requirement]:
    extras = project["optional-dependencies"]
    chosen = ["dev"] if file == ALL else [extra for extra in extras if extra != "dev"]
    lines = project["dependencies"] + [line for extra in chosen for line in extras[extra]]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != OWN_BUILD]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_each_dependency_is_locked_once_within_its_bounds(project, file, locked, python):
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
    for requirement in wanted(project, file):
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


def test_what_runs_is_the_part_of_all_that_development_alone_does_not_need(project, pyproject):
    everything, run = hashes(ALL), hashes(RUN)
    assert run.items() < everything.items()
    names = {pinned.partition("==")[0] for pinned in run}
    builds = {Requirement(line).name for line in pyproject["build-system"]["requires"]}
    assert builds <= names, "crossview is built with locked packages"
    development = {normal(requirement.name) for requirement in wanted(project, ALL)}
    needed = {normal(requirement.name) for requirement in wanted(project, RUN)} | builds
    assert names.isdisjoint(development - needed)


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
