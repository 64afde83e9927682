"""Made run folders: small, complete, and as odd as a test wants."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

RECIPE = """setting = "{setting}"

[data]
source = "phantom"
labelled = 4
validation = 1

[network]
name = "unet"

[method]
name = "{method}"
variant = "corrected"
pretrain_steps = 400
train_steps = 600

[training]
seed = 7
labelled_batch = 4
unlabelled_batch = 4
selection = "{selection}"

[inference]
mode = "windows"
"""
ENVIRONMENT = {
    "crossview": "0.1.0",
    "device": "cpu",
    "command": "crossview train demo --out runs/a",
    "labelled": ["a", "b", "c", "d"],
    "unlabelled": 20,
    "notes": ["Made of phantoms."],
}
METRICS = ("dice", "jaccard", "hd95", "asd", "assd")


def journal_rows(
    pretrain: Sequence[float] = (),
    train: Sequence[float] = (),
    *,
    views: Mapping[str, float] | None = None,
    finished: bool = True,
) -> list[dict[str, Any]]:
    """Two stages of 400 and 600 steps; a validation every 200 steps with the given means."""
    rows: list[dict[str, Any]] = []
    total = 0
    for index, (stage, steps, means) in enumerate(
        (("pretrain", 400, pretrain), ("train", 600, train))
    ):
        rows.append(
            {"kind": "stage", "stage": stage, "index": index, "steps": steps, "total_step": total}
        )
        for step in range(20, steps + 1, 20):
            total += 20
            terms = {"labelled": 1 / (1 + total), **({"unlabelled": 0.5} if index else {})}
            rows.append(
                {
                    "kind": "step",
                    "stage": stage,
                    "step": step,
                    "total_step": total,
                    "loss": sum(terms.values()),
                    "terms": terms,
                }
                | {
                    "learning_rate": 0.01,
                    "samples_per_second": 20.0,
                    "data_wait": 0.1,
                    "seconds": total * 0.5,
                }
            )
            if step % 200 == 0 and step // 200 <= len(means):
                mean = means[step // 200 - 1]
                scored = {
                    name: {"1": value, "mean": value} for name, value in (views or {}).items()
                }
                rows.append(
                    {
                        "kind": "validation",
                        "stage": stage,
                        "total_step": total,
                        "mean": mean,
                        "classes": {"1": mean},
                        "views": scored,
                    }
                )
    return rows + (
        [{"kind": "finished", "total_step": total, "seconds": 500.0}] if finished else []
    )


def statistics(
    mean: float | None, low: float | None = None, high: float | None = None
) -> dict[str, Any]:
    return {"mean": mean, "sd": 0.05, "ci95": None if low is None else [low, high], "n": 3}


def summary(**changes: Any) -> dict[str, Any]:
    scores = {
        "dice": statistics(0.9036, 0.889, 0.916),
        "jaccard": statistics(0.82, 0.8, 0.84),
        "hd95": statistics(6.064, 5, 7),
        "asd": statistics(1.68, 1, 2),
    }
    return {
        "format": 1,
        "split": "test",
        "checkpoint": "last",
        "step": 1000,
        "selection": "last",
        "method": "cml",
        "unit": "voxel",
        "cases": [],
        "classes": {"1": {"name": "chamber", **scores}},
        "mean": scores,
        "empty": [],
        "convention": "How the numbers were made.",
        "views": {},
        "clean_up": "none",
        "notes": [],
        "optimistic": False,
        **changes,
    }


def write_evaluation(
    folder: Path,
    dice: Mapping[str, Sequence[float]],
    *,
    pictures: bool = True,
    side: int = 40,
    **changes: Any,
) -> None:
    """An evaluation with the given Dice of each case's classes; each case may have a picture."""
    folder.mkdir(parents=True)
    names = [f"class {index + 1}" for index in range(max(len(values) for values in dice.values()))]
    made = summary(cases=list(dice), **changes)
    made["classes"] = {
        str(index + 1): {**made["classes"]["1"], "name": name} for index, name in enumerate(names)
    } | changes.get("classes", {})
    (folder / "summary.json").write_text(json.dumps(made))
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "patient", "view", "class", *METRICS, "empty"])
        for case, values in dice.items():
            for index, value in enumerate(values):
                empty = "missed" if value == 0 else ""
                writer.writerow(
                    [
                        case,
                        case,
                        "",
                        index + 1,
                        value,
                        value / (2 - value),
                        *(["", "", ""] if empty else [2.5, 1.25, 1.5]),
                        empty,
                    ]
                )
    if pictures:
        (folder / "pictures").mkdir()
        for number, case in enumerate(dice):
            pixels = np.random.default_rng(number).integers(0, 255, (side // 2, side, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / f"{case}.png")


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run folder: make_run(journal=rows, dice={"case": [0.9]}, ...)."""

    def make(
        *,
        name: str = "run",
        journal: Sequence[Mapping[str, Any]] | None = None,
        dice: Mapping[str, Sequence[float]] | None = None,
        method: str = "cml",
        selection: str = "last",
        setting: str = "demo",
        environment: Mapping[str, Any] = ENVIRONMENT,
        pictures: bool = True,
        **changes: Any,
    ) -> Path:
        run = tmp_path / name
        run.mkdir()
        (run / "recipe.toml").write_text(
            RECIPE.format(method=method, selection=selection, setting=setting)
        )
        (run / "environment.json").write_text(json.dumps(environment))
        rows = journal_rows() if journal is None else journal
        (run / "journal.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if dice is not None:
            write_evaluation(run / "evaluation" / "test", dice, pictures=pictures, **changes)
        return run

    return make


@pytest.fixture
def journal() -> Callable[..., list[dict[str, Any]]]:
    return journal_rows


@pytest.fixture
def evaluation_writer() -> Callable[..., None]:
    return write_evaluation
