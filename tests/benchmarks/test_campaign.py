"""The campaign's table is sound, and its script stops in time, goes on, and leaves results."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.campaign_item import results_of

from benchmarks import campaign
from crossview.resolve import resolve

ROOT = Path(__file__).parents[2]
TABLE = tomllib.loads(campaign.ITEMS.read_text(encoding="utf-8"))
SMALL = [
    "data.size=16",
    "data.patch=[8,8,8]",
    "data.unlabelled=5",
    "data.test=2",
    "network.filters=2",
    "network.levels=2",
]


def test_items_are_known_by_their_names_and_results():
    names = [item["name"] for item in TABLE["item"]]
    results = [name for item in TABLE["item"] for name in results_of(item)]
    assert len(set(names)) == len(names)
    assert len(set(results)) == len(results)
    assert {item["kind"] for item in TABLE["item"]} == set(campaign.KINDS)
    assert {item.get("needs", "LA") for item in TABLE["item"]} <= set(TABLE["archives"])
    assert "la-8-cml-seed1337.json" in results
    assert "acdc-7-cml-labelled-only-seed1337.json" in results


@pytest.mark.parametrize(
    "item",
    [item for item in TABLE["item"] if item["kind"] == "train"],
    ids=lambda item: item["name"],
)
def test_labelled_only_runs_are_as_long_as_cml(item):
    for run in item["runs"]:
        stages = resolve(run["recipe"], run.get("set", [])).stages()
        assert sum(stage.steps for stage in stages) == (
            17000 if run["recipe"].startswith("la") else 40000
        )


def test_what_is_done_is_left_out(tmp_path):
    first, second = TABLE["item"][:2]
    assert campaign.left_to_do([first, second], [tmp_path]) == [first, second]
    (tmp_path / results_of(first)[0]).touch()
    assert campaign.left_to_do([first, second], [tmp_path / "none", tmp_path]) == [second]


def test_archives_come_in_several_calls(tmp_path):
    script = tmp_path / "restore.py"
    script.write_text(
        "import sys, zipfile, pathlib\n"
        "for part in sorted(pathlib.Path(__file__).resolve().parent.glob('*.zip')):\n"
        "    zipfile.ZipFile(part).extractall(pathlib.Path(sys.argv[1]) / 'LA')\n"
    )
    parts = []
    for name in ("one", "two"):
        parts.append(tmp_path / f"{name}.zip")
        with zipfile.ZipFile(parts[-1], "w") as archive:
            archive.writestr(name, name)
    archives = {"LA": ["one.zip", "two.zip"]}
    assert campaign.unpack([parts[0]], script, tmp_path / "work", archives) == {}
    assert campaign.unpack([parts[1]], script, tmp_path / "work", archives) == {
        "LA": tmp_path / "work" / "data" / "LA"
    }
    assert campaign.unpack([], None, tmp_path / "work", archives) == {
        "LA": tmp_path / "work" / "data" / "LA"
    }
    assert (tmp_path / "work" / "data" / "LA" / "one").exists()
    with pytest.raises(campaign.Failed, match="unpack"):
        campaign.unpack([parts[0]], None, tmp_path / "other", archives)


@pytest.mark.slow
def test_it_stops_in_time_and_goes_on(tmp_path):
    sets = json.dumps(
        [
            *SMALL,
            "method.pretrain_steps=5",
            "method.train_steps=400",
            "training.precision=float32",
            "training.log_every=5",
        ]
    )
    items = tmp_path / "items.toml"
    items.write_text(
        f'[archives]\n[[item]]\nname = "small"\nkind = "train"\nminutes = 0.1\nruns = [{{recipe = "demo", seed = 77, set = {sets}}}]\n'
    )
    command = [
        sys.executable,
        "-m",
        "benchmarks.campaign",
        "--work",
        tmp_path / "work",
        "--out",
        tmp_path / "out",
    ]
    command += ["--items", items, "--device", "cpu", "--minutes", "3"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    journal = tmp_path / "work" / "runs" / "demo-cml-seed77" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while (
        not (journal.exists() and '"step"' in journal.read_text()) and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == campaign.GO_ON, out
    assert "stopped and saved" in out
    assert json.loads((tmp_path / "out" / "progress.json").read_text())["runs"]["demo-cml-seed77"][
        "curve"
    ]
    again = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150
    )
    assert again.returncode == 0, again.stdout
    assert '"resumed"' in journal.read_text()
    result = json.loads((tmp_path / "out" / "demo-cml-seed77.json").read_text())
    assert result["summary"]["mean"]["dice"]["mean"] is not None
    third = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert third.returncode == 0
    assert "nothing is left" in third.stdout
