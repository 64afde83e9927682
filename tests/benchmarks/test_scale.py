"""benchmarks.scale writes made cases that crossview reads, and measures them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_cost_of_cases(tmp_path):
    command = [
        sys.executable,
        "-m",
        "benchmarks.scale",
        "--cases",
        "14",
        "--files",
        str(tmp_path / "files"),
    ]
    options = [
        "--batches",
        "2",
        "--step-ms",
        "1",
        "--steps",
        "1",
        "--device",
        "cpu",
        "--json",
        str(tmp_path / "found.json"),
    ]
    paths = os.pathsep.join([str(PROJECT), str(PROJECT / "src"), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [*command, *options],
        check=True,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
    )
    text = (tmp_path / "found.json").read_text()
    assert str(tmp_path) not in text
    (found,) = json.loads(text)["results"].values()
    assert found["store_gb"] > 0
    assert len(found["ms_a_batch"]["values"]) == 2
    assert found["seconds_a_step"]["median"] > 0
    assert len(list((tmp_path / "files/hippocampus-14/images").iterdir())) == 14
    assert len(list((tmp_path / "files/hippocampus-14/labels").iterdir())) == 8
