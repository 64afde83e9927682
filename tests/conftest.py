"""Options and fixtures of all tests. ``--plugin`` puts a plugin to the contract tests.

Tests marked gpu are skipped where there is none.
"""

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# As in `make test`, before torch is imported: the last bits of some results that tests compare
# depend on the number of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plugin", action="append", default=[], metavar="MODULE:CLASS", help="test this method too"
    )


def pytest_configure(config: pytest.Config) -> None:
    for plugin in config.getoption("--plugin"):
        from crossview.methods.plugin import load

        load(plugin)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


SET_ONCE = {
    "PYTEST_CURRENT_TEST",
    "GOMP_SPINCOUNT",
    "CUBLAS_WORKSPACE_CONFIG",
    "TORCHINDUCTOR_CACHE_DIR",
}
"""Variables that a process gets once and keeps: pytest's own, and those of torch."""


def _of_a_library(path: str) -> bool:
    """True for a folder that a library adds when it is first imported: setuptools, torch 2.6."""
    torch = sys.modules.get("torch.distributed.nn.jit.instantiator")
    return path.endswith("_vendor") or path == getattr(torch, "INSTANTIATED_TEMPLATE_DIR_PATH", "")


def shared_state() -> dict[str, Any]:
    """Return what all tests of a process share, and one could leave changed for the next."""
    plugins, torch = sys.modules.get("crossview.core.plugins"), sys.modules.get("torch")
    state: dict[str, Any] = {
        f"${name}": value for name, value in os.environ.items() if name not in SET_ONCE
    }
    state |= {
        "folder": Path.cwd(),
        "sys.path": [path for path in sys.path if not _of_a_library(path)],
        "sys.argv": list(sys.argv),
        "level of logging": logging.getLogger().level,
    }
    if plugins is not None:
        state["plugins"] = dict(plugins.LOADED)
    if torch is not None and hasattr(torch, "get_num_threads"):
        state |= {
            "torch's threads": torch.get_num_threads(),
            "torch's default type": torch.get_default_dtype(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "gradients": torch.is_grad_enabled(),
        }
    return state


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Fail the test that leaves shared state changed, so that the order of tests cannot matter."""
    before = shared_state()
    yield
    after = shared_state()
    # What was not yet imported before the test has no value to compare with.
    keys = before.keys() | {key for key in after if key.startswith("$")}
    then_now = {key: (before.get(key), after.get(key)) for key in keys}
    changed = {key: pair for key, pair in then_now.items() if pair[0] != pair[1]}
    assert not changed, f"left changed: {changed}"


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list:
    """Replace the parts of torch.cuda that a recording uses; return the streams made current."""
    from tests.helpers import fake_cuda

    return fake_cuda.replace(monkeypatch)
