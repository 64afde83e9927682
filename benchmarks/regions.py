"""Regions beside exclusive classes: ``python -m benchmarks.regions MSD_FOLDER OUT``.

MSD_FOLDER is MSD's Task04. OUT gets two folders of the same scans and the runs on them. Of its
first 40 scans 8 are labelled, 12 are for the test and 20 are unlabelled:

- ``regions``: the whole (values 1 and 2) and the posterior part (2), a sigmoid each;
- ``classes``: the anterior (1) and the posterior part (2), one softmax. The whole is their union.

Both train by recipe ``folder`` as planned. Dice is that of the predicted files against the labels,
the mean over test scans. A finished run is not repeated.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tomli_w

import crossview
from crossview.core.files import write_text
from crossview.core.run_folder import RunFolder
from crossview.evaluation.metrics import overlap

ROLES = {"labelled": slice(0, 8), "test": slice(8, 20), "unlabelled": slice(20, 40)}
STATED: Mapping[str, Any] = {
    "regions": {
        "labels": {"background": 0, "whole": [1, 2], "posterior": 2},
        "regions_class_order": [1, 2],
    },
    "classes": {"labels": {"background": 0, "anterior": 1, "posterior": 2}},
}
PARTS = {"whole": (1, 2), "posterior": (2,)}


def make(source: Path, out: Path) -> list[Path]:
    """Make both folders, of links, unless they are there. Return the test scans."""
    names = sorted(path.name for path in source.glob("labelsTr/[!.]*.nii.gz"))[:40]
    roles = {role: names[place] for role, place in ROLES.items()}
    lists = {role: [name.removesuffix(".nii.gz") for name in of] for role, of in roles.items()}
    for arm, stated in STATED.items():
        folder = out / arm
        if folder.exists():
            continue
        for kind in ("imagesTr", "labelsTr"):
            (folder / kind).mkdir(parents=True)
            for name in names:
                (folder / kind / name).symlink_to((source / kind / name).resolve())
        content = {"channel_names": {"0": "MRI"}, **stated}
        write_text(folder / "dataset.json", json.dumps(content) + "\n")
        write_text(folder / "split.toml", tomli_w.dumps(lists))
    return [source / "imagesTr" / name for name in roles["test"]]


def dice(run: Path, scans: list[Path]) -> dict[str, float]:
    """Return the mean Dice of each part over a run's predictions of the scans."""
    found: dict[str, list[float]] = {part: [] for part in PARTS}
    with tempfile.TemporaryDirectory() as folder:
        crossview.predict(run, scans, Path(folder) / "predictions")
        for scan in scans:
            label = scan.parent.with_name("labelsTr") / scan.name
            files = (Path(folder) / "predictions" / scan.name, label)
            predicted, true = (np.asanyarray(nib.load(file).dataobj) for file in files)
            for part, values in PARTS.items():
                found[part].append(overlap(np.isin(predicted, values), np.isin(true, values))[0])
    return {part: float(np.mean(values)) for part, values in found.items()}


def result(run: Path, scans: list[Path]) -> dict[str, Any]:
    """Return the Dice of a finished run, the steps that used unlabelled scans, and its code."""
    folder = RunFolder(run)
    end = folder.journal.of("finished")[-1]["total_step"]
    begun = [row["total_step"] for row in folder.journal.of("stage") if row["unlabelled"]]
    environment = folder.environment
    return {
        "dice": dice(run, scans),
        "steps": end,
        "unlabelled_steps": end - begun[-1] if begun else 0,
        **{key: environment.get(key) for key in ("commit", "device_name", "threads", "torch")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="MSD_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337, 2, 3])
    parser.add_argument("--json", type=Path, help="keep the results here")
    given = parser.parse_args()
    scans = make(given.source, given.out)
    found: dict[str, Any] = {}
    for seed in given.seeds:
        for arm in STATED:
            for method in ("supervised", "cml"):
                name = f"{arm}-{method}-seed{seed}"
                run = given.out / "runs" / name
                keys = [f"method.name={method}", f"training.seed={seed}"]
                if not (run / "model.pt").is_file():
                    crossview.train(
                        "folder", given.out / arm, run, overrides=keys, steps=given.steps
                    )
                found[name] = result(run, scans)
                print(name, found[name]["dice"], flush=True)
                if given.json:
                    write_text(given.json, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
