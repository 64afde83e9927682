"""crossview's default beside nnU-Net: ``python -m benchmarks.versus_nnunet DATA OUT --nnunet PY``.

DATA is a folder made by ``benchmarks.hippocampus``; PY is the Python of an environment with
nnunetv2 2.8. Each side gets the labelled scans of DATA's split.toml, the same processor cores, and
the seconds that crossview's training of recipe "folder" takes (``--times 1 4``: once and four times
as long). crossview may read the unlabelled scans too, as that is what it is for. nnU-Net makes its
own plan, uses its own augmentation and predicts by its own defaults; its learning rate falls to 0
within the time it has. Preparation, start-up and prediction are outside the time of both.

Test scans are scored by crossview's metrics. nnU-Net chooses post-processing by cross-validation,
which a run on all labelled scans does not have: its rows are scored without any and, beside it,
with the largest component of each class, which is what crossview's default does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import UserError, fail
from crossview.core.run_folder import RunFolder
from crossview.evaluation import bootstrap
from crossview.evaluation.metrics import Measures, measure
from crossview.evaluation.scores import read_cases
from crossview.methods.blocks.components import largest_components

SIDE = Path(__file__).with_name("nnunet_side.py")
DATASET = "Dataset100_few"
ENDING = ".nii.gz"
SHOWN = ("dice", "hd95")

Labels = NDArray[np.uint8]
Cleaning = Callable[[Labels], Labels]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of all runs")
    parser.add_argument("--nnunet", type=Path, required=True, metavar="PYTHON")
    parser.add_argument("--times", type=float, nargs="+", default=[1.0, 4.0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--labelled", type=int, help="default: all of split.toml")
    parser.add_argument("--record", type=Path, help="JSON file of the result")
    given = parser.parse_args()
    try:
        record = compare(given)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(table(record))
    if given.record:
        given.record.write_text(json.dumps(record, indent=1) + "\n")


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """Train, predict and score all sides that are not there yet, and return the record."""
    split = tomllib.loads((given.data / "split.toml").read_text())
    labelled = split["labelled"][: given.labelled]
    ours = our_run(given.data, given.out / "crossview", len(labelled), given.seed)
    seconds = ours.journal.seconds
    assert seconds is not None, "a finished run has its time"
    here = folders(given.out / "nnunet")
    prepare(given.data, here, labelled, split["test"], given.nnunet)
    rows = {"crossview": {"seconds": seconds} | scores_of(ours)}
    for factor in given.times:
        facts, predictions = train(given.nnunet, here, seconds * factor, given.seed, factor)
        for name, cleaning in (("", _as_it_is), (", largest components", largest)):
            measures = score(given.data, predictions, split["test"], cleaning)
            rows[f"nnU-Net, {factor:g} times the time{name}"] = facts | measures
    return {
        "data": given.data.name,
        "labelled": labelled,
        "test": split["test"],
        "environment": ours.environment,
        "recipe": ours.tables,
        "rows": {name: row | against(rows["crossview"], row) for name, row in rows.items()},
    }


def our_run(data: Path, path: Path, labelled: int, seed: int) -> RunFolder:
    """Return the run of recipe "folder" in ``path``, trained and evaluated unless it is there."""
    crossview = [sys.executable, "-m", "crossview"]
    if not RunFolder(path).finished:
        again = ["--resume"] if path.exists() else []
        asked = ("--set", f"data.labelled={labelled}", "--set", f"training.seed={seed}")
        called = [*crossview, "train", "folder", "--data", data, "--out", path, *asked, *again]
        subprocess.run(called, check=True)
    if not (path / "evaluation" / "test").exists():
        subprocess.run([*crossview, "evaluate", path], check=True)
    return RunFolder.require(path)


def folders(base: Path) -> dict[str, str]:
    """Return nnU-Net's variables: its folders under ``base``, no compiling, no extra processes."""
    names = ("raw", "preprocessed", "results")
    return {f"nnUNet_{name}": str(base.absolute() / name) for name in names} | {
        "nnUNet_compile": "f",
        "nnUNet_n_proc_DA": "0",
    }


def prepare(
    data: Path, here: Mapping[str, str], labelled: Sequence[str], test: Sequence[str], python: Path
) -> None:
    """Lay the data out as nnU-Net wants them, and let it plan and preprocess them."""
    raw = Path(here["nnUNet_raw"]) / DATASET
    if (Path(here["nnUNet_preprocessed"]) / DATASET / "nnUNetPlans.json").exists():
        return
    for folder, names, source, end in (
        ("imagesTr", labelled, "images", "_0000"),
        ("labelsTr", labelled, "labels", ""),
        ("imagesTs", test, "images", "_0000"),
    ):
        (raw / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(
                data / source / f"{name}{ENDING}", raw / folder / f"{name}{end}{ENDING}"
            )
    labels = json.loads((data / "dataset.json").read_text())["labels"]  # as MSD has them
    about = {
        "channel_names": {"0": "MRI"},
        "labels": {name: int(value) for value, name in labels.items()},
        "numTraining": len(labelled),
        "file_ending": ENDING,
    }
    (raw / "dataset.json").write_text(json.dumps(about))
    plan = python.with_name("nnUNetv2_plan_and_preprocess")
    number = DATASET.removeprefix("Dataset").partition("_")[0]
    command = [plan, "-d", number, "-c", "3d_fullres", "-np", "1", "--verify_dataset_integrity"]
    one = {"nnUNet_n_proc_DA": "1"}  # nnU-Net plans with this number of torch's threads: not 0
    subprocess.run(command, check=True, env=os.environ | here | one)


def train(
    python: Path, here: Mapping[str, str], seconds: float, seed: int, factor: float
) -> tuple[dict[str, Any], Path]:
    """Train nnU-Net for ``seconds`` and predict the test scans. Return its facts and the folder."""
    results = Path(here["nnUNet_results"]) / f"{factor:g}"
    env, record = here | {"nnUNet_results": str(results)}, results / "facts.json"
    predictions = results / "predictions"
    if not record.exists():
        facts = _side(python, env, "train", str(seconds), str(seed))
        images = Path(here["nnUNet_raw"]) / DATASET / "imagesTs"
        facts |= _side(python, env, "predict", str(images), str(predictions))
        record.write_text(json.dumps(facts))
    return json.loads(record.read_text()), predictions


def _side(python: Path, env: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """Run nnU-Net's side and return the JSON of its last line."""
    done = subprocess.run(
        [python, SIDE, *arguments], env=os.environ | env, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        fail("nnU-Net ended", str(python), found=f"exit code {done.returncode}; see above")
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return facts


def _as_it_is(label: Labels) -> Labels:
    return label


def largest(label: Labels) -> Labels:
    """Keep the largest component of each class, as crossview's default does."""
    return largest_components(label[None], int(label.max()) + 1)[0]


def score(data: Path, folder: Path, test: Sequence[str], cleaning: Cleaning) -> dict[str, Any]:
    """Return the measures of nnU-Net's predictions, by case and class."""
    found = {}
    for name in test:
        truth = nibabel.load(data / "labels" / f"{name}{ENDING}")
        predicted = nibabel.load(folder / f"{name}{ENDING}")
        here, there = (np.asarray(each.dataobj).astype(np.uint8) for each in (predicted, truth))
        spacing = tuple(map(float, truth.header.get_zooms()))
        here = cleaning(here)
        classes = range(1, int(there.max()) + 1)
        found[name] = [measure(here == each, there == each, spacing) for each in classes]
    return _summary(found)


def scores_of(run: RunFolder) -> dict[str, Any]:
    """Return the measures of the run's answer on the test scans, by case and class."""
    found: dict[str, list[Measures]] = {}
    for each in read_cases(run.evaluation("test")):
        if not each.view:
            found.setdefault(each.case, []).append(each.measures)
    return _summary(found)


def _summary(found: Mapping[str, Sequence[Measures]]) -> dict[str, Any]:
    """Return the values of each measure by case, with mean and 95% interval over patients."""
    cases = sorted(found)
    summary: dict[str, Any] = {}
    for name in SHOWN:
        values = np.array([[asdict(each)[name] for each in found[case]] for case in cases])
        summary[name] = {
            "mean": bootstrap.mean_of_means(values),
            "ci95": bootstrap.interval(values, cases),
            "cases": dict(zip(cases, values.tolist(), strict=True)),
        }
    return summary


def against(ours: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return crossview minus the row in Dice, paired by case; {} for crossview itself."""
    if ours is row:
        return {}
    cases = sorted(ours["dice"]["cases"])
    one, other = (np.array([each["dice"]["cases"][case] for case in cases]) for each in (ours, row))
    found = bootstrap.paired([one], [other], cases)
    return {"crossview_minus_this": asdict(found) if found else None}


def table(record: Mapping[str, Any]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| | training s | steps | Dice [95%] | HD95 mm | crossview - this |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in record["rows"].items():
        dice, hd95 = row["dice"], row["hd95"]
        low, high = dice["ci95"]
        difference = row.get("crossview_minus_this")
        shown = (
            f"{100 * difference['mean']:+.2f} [{100 * difference['low']:+.2f}, "
            f"{100 * difference['high']:+.2f}]"
            if difference
            else ""
        )
        lines.append(
            f"| {name} | {row['seconds']:.0f} | {row.get('iterations', '')} | "
            f"{100 * dice['mean']:.2f} [{100 * low:.2f}, {100 * high:.2f}] | "
            f"{hd95['mean']:.2f} | {shown} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
