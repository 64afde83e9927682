"""bf16 beside float32: on curves that can be checked by hand, on real runs, and on runs that can't be compared."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_run import small

from benchmarks import precision
from crossview.errors import UserError
from crossview.record import record, write_record
from crossview.run import evaluate


def made(losses, dice):
    rows = [{"total_step": 10 * (index + 1), "loss": loss} for index, loss in enumerate(losses)]
    return {
        "total_steps": 10 * len(losses),
        "steps": rows,
        "summary": {"mean": {"dice": {"mean": dice}}},
    }


def test_parts_means_and_differences():
    falling = [1 - index / 20 for index in range(20)]
    full = {
        seed: made([loss + seed / 10 for loss in falling], 0.8 + seed / 100) for seed in (1, 2, 3)
    }
    short = {seed: made([loss + seed / 10 + 0.05 for loss in falling], 0.9) for seed in (1, 2, 3)}
    found = precision.compare(full, short)
    first, last = found["parts"][0], found["parts"][-1]
    assert first["float32"] == pytest.approx(0.975 + 0.2)
    assert last["bf16"] == pytest.approx(0.075 + 0.25)
    assert first["float32_sd"] == pytest.approx(0.1)
    assert first["difference"] == pytest.approx(0.05)
    assert first["difference_sd"] == pytest.approx(0, abs=1e-12)
    assert (found["parts_among_the_seeds"], found["test_dice"]["among_the_seeds"]) == (10, False)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Files of runs of two seeds in both precisions."""
    folder = tmp_path_factory.mktemp("runs")
    files = []
    for seed in (1, 2):
        for kind in ("float32", "bf16"):
            keys = (
                f"training.seed={seed}",
                f"training.precision={kind}",
                "training.log_every=1",
                "method.train_steps=8",
            )
            run = small(folder / f"{kind}{seed}", *keys)
            evaluate(run)
            files.append(write_record(folder / f"{kind}{seed}.json", record(run)))
    return files


def test_records_of_runs_from_end_to_end(records, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["precision", *map(str, records), "--json", str(tmp_path / "found.json")]
    )
    precision.main()
    found = json.loads((tmp_path / "found.json").read_text())["results"]
    assert (found["seeds"], len(found["parts"])) == ([1, 2], 10)
    assert 0 < abs(found["parts"][0]["difference"]) < 0.05
    assert "90 to 100 %" in capsys.readouterr().out


def test_what_is_no_pair_is_refused(records, tmp_path):
    with pytest.raises(UserError, match="two or more, the same in both"):
        precision.read(records[:3])
    other = json.loads(records[0].read_text())
    other["recipe"]["network"]["filters"] = 4
    odd = tmp_path / "odd.json"
    odd.write_text(json.dumps(other))
    with pytest.raises(UserError, match=r"more than precision and seed[\s\S]*network.filters"):
        precision.read([*records[1:], odd])
