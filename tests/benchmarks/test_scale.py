"""benchmarks.scale writes cases that crossview reads, and measures them in and out of memory."""

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
        "--memory",
        "auto",
        "0",
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
    memory, disk = json.loads(text)["results"].values()
    assert memory["on_disk_gb"] == 0 < disk["on_disk_gb"] == disk["store_gb"] == memory["store_gb"]
    assert len(disk["ms_a_batch"]["values"]) == 2
    assert disk["seconds_a_step"]["median"] > 0
    assert len(list((tmp_path / "files/hippocampus-14/images").iterdir())) == 14
    assert len(list((tmp_path / "files/hippocampus-14/labels").iterdir())) == 8
