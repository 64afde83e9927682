"""Options and fixtures of all tests. ``--plugin`` puts a plugin to the contract tests.

Tests marked gpu are skipped where there is none.
"""

import pytest


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


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list:
    """Replace the parts of torch.cuda that a recording uses; return the streams made current."""
    from tests.helpers import fake_cuda

    return fake_cuda.replace(monkeypatch)
