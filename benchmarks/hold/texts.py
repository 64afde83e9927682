"""Examples of the text files that crossview reads, of the files of a run, and of checkpoints."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import torch
from benchmarks.hold.corpus import Example, Read
from benchmarks.hold.mutation import (
    Change,
    changed_bytes,
    changed_json,
    changed_lines,
    changed_toml,
)
from benchmarks.hold.suite import suite_text

from crossview.core.run_folder import RunFolder
from crossview.data.sources.dataset_json import read_dataset_json
from crossview.data.sources.lists import read_list
from crossview.data.sources.split_toml import read_split
from crossview.evaluation.compare import compare
from crossview.evaluation.record import make_record
from crossview.inference.origin import ORIGIN_FILE
from crossview.inference.origin import Record as Origins
from crossview.recipe.layers import read_tables
from crossview.recipe.resolve import resolve
from crossview.reporting.page import write_report
from crossview.runs import trained
from crossview.runs.bench.suite import load_suite
from crossview.runs.weights import trained_method

NAMES = ("case00", "case01", "case02")

SPLIT = """
labelled = ["case00", "case*"]
test = ["case02"]
validation_patients = ["p1"]
[patient]
case00 = "p0"
case01 = "p1"
"""

STATED = """
ignore = 9
overlap = ["tumour", "organ"]
[labels]
organ = [1, "Organ"]
tumour = 2
[slices]
"case*" = [0, 2, 5]
[missing]
case00 = [2]
"""

DATASET = {
    "channel_names": {"0": "MRI"},
    "labels": {"background": 0, "organ": 1, "tumour": 2},
    "numTraining": 3,
    "file_ending": ".nii.gz",
    "training": [{"image": "./imagesTr/case00.nii.gz", "label": "./labelsTr/case00.nii.gz"}],
    "test": ["./imagesTs/case02.nii.gz"],
}


def texts(run: Path) -> list[Example]:
    """Return examples of the text files next to a data set, of recipes and of suites."""
    split = partial(read_split, names=NAMES, labelled=NAMES[:2])
    return [
        _text("recipe", "changed.toml", (run / "recipe.toml").read_bytes(), resolve_file),
        _text("suite", "changed.toml", suite_text().encode(), load_suite, share=0.3),
        _text("split.toml", "split.toml", SPLIT.encode(), split),
        _text("split.toml: labels", "split.toml", STATED.encode(), split),
        _text("dataset.json", "dataset.json", json.dumps(DATASET).encode(), read_dataset_json),
        _text("list of cases", "train.list", "\n".join(NAMES).encode(), read_list),
        _text("record of a run", "record.json", _record(run), _results),
        _text(
            "predictions' origin",
            ORIGIN_FILE,
            json.dumps(
                {"method": "cml", "step": 4, "other_models": [{"method": "x", "files": ["b"]}]}
            ).encode(),
            lambda path: Origins.read(path.parent).assign("a", {"method": "b"}).of("a"),
        ),
    ]


def _text(kind: str, name: str, content: bytes, read: Read, share: float = 1.0) -> Example:
    return Example(kind, name, content, _change_of(name), (read,), share)


def _change_of(name: str) -> Change:
    changes = {".toml": changed_toml, ".json": changed_json, ".jsonl": changed_lines}
    return changes.get(Path(name).suffix, changed_bytes)


def resolve_file(path: Path) -> object:
    """Resolve a recipe in a file, as ``crossview train FILE`` does."""
    return resolve(read_tables(path))


def _record(run: Path) -> bytes:
    return json.dumps(make_record(RunFolder.require(run))).encode()


def _results(path: Path) -> object:
    return compare([path])


def runs(run: Path, folder: Path) -> list[Example]:
    """Return examples of the files of a run, read as ``report`` and ``compare`` read them."""
    found = []
    for name in sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()):
        if Path(name).suffix not in (".toml", ".json", ".jsonl", ".csv"):
            continue
        home = folder / f"run-{len(found)}"
        shutil.copytree(run, home)

        def report(path: Path, home: Path = home) -> object:
            return write_report(home)

        def remember(path: Path, home: Path = home) -> object:
            return trained.remembered(RunFolder(home))

        reads = (report, lambda path, home=home: compare([home]), remember)
        content = (run / name).read_bytes()
        found.append(Example(f"run: {name}", name, content, _change_of(name), reads, 0.05, home))
    return found


def checkpoints(run: Path) -> list[Example]:
    """Return examples of checkpoints, read as ``predict`` and ``--resume`` read them."""
    cpu = torch.device("cpu")
    return [
        Example(
            f"checkpoint: {path.name}",
            "changed.pt",
            path.read_bytes(),
            changed_bytes,
            (lambda file: trained_method(file, cpu),),
            share=0.3,
        )
        for path in (run / "model.pt", run / "checkpoints" / "last.pt")
    ]
