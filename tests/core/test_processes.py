"""Waiting threads of torch leave their core to others, unless the user has a setting."""

import os
import subprocess
import sys
from unittest import mock

import pytest

from crossview.core.processes import SPINS, share_cores


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "10000"), ({SPINS: "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_a_users_own_setting_is_kept(environment, expected):
    with mock.patch.dict(os.environ, environment, clear=True):
        share_cores()
        assert os.environ.get(SPINS) == expected


def test_the_command_sets_it_before_torch_is_imported():
    code = """
import os, sys
import crossview.cli as cli
def app():
    print("torch" in sys.modules, os.environ["GOMP_SPINCOUNT"])
cli.app = app
cli.main()
"""
    environment = {key: value for key, value in os.environ.items() if key != SPINS}
    environment.pop("OMP_WAIT_POLICY", None)
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["False", "10000"]
