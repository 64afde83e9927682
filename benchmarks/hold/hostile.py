"""Files that would run code or put markup on a page if a reader let them; none may."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import h5py
import numpy as np
import torch
from benchmarks.hold.texts import resolve_file

from crossview.data.io import h5
from crossview.reporting.page import write_report
from crossview.runs.bench.suite import load_suite
from crossview.runs.weights import trained_method


class Payload:
    """An object whose unpickling writes a file."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.sign}'",)


def attempts(run: Path, folder: Path, sign: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield (kind, reading) of hostile files; the payload writes the file ``sign``."""
    folder.mkdir(parents=True, exist_ok=True)
    payload, cpu = Payload(sign), torch.device("cpu")
    for place in ("whole", "among the weights", "in the recipe"):
        path = folder / f"{place}.pt"
        content = torch.load(run / "model.pt", weights_only=True)
        if place == "among the weights":
            content["weights"]["extra"] = payload
        elif place == "in the recipe":
            content["recipe"]["method"]["name"] = payload
        torch.save(payload if place == "whole" else content, path)
        yield f"pickle {place} of a checkpoint", lambda path=path: trained_method(path, cpu)
    bare = folder / "bare.pt"
    bare.write_bytes(pickle.dumps(payload, 2))
    yield "bare pickle as a checkpoint", lambda: trained_method(bare, cpu)
    yield (
        "pickle in the records of a checkpoint",
        lambda: trained_method(_packed(run / "model.pt", folder / "packed.pt", payload), cpu),
    )
    for where in ("attribute", "data set"):
        yield f"pickle in an h5 {where}", lambda where=where: _h5(folder, where, payload)
    yield "plugin name in a recipe", lambda: _plugin(run, folder, sign)
    yield "plugin name in a suite", lambda: _suite(folder)


def _packed(model: Path, path: Path, payload: Payload) -> Path:
    """Write a checkpoint whose main record is a pickle of the payload."""
    with zipfile.ZipFile(model) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            hostile = name.endswith("data.pkl")
            new.writestr(name, pickle.dumps(payload, 2) if hostile else old.read(name))
    return path


def _h5(folder: Path, where: str, payload: Payload) -> None:
    path = folder / "pickle.h5"
    stored = np.void(pickle.dumps(payload))
    with h5py.File(path, "w") as file:
        file["label"] = np.zeros((4, 4, 4), np.uint8)
        if where == "attribute":
            file["image"] = np.zeros((4, 4, 4), np.float32)
            file["image"].attrs["extra"] = stored
        else:
            file["image"] = stored
    h5.read([path], 1)
    h5.read_label(path, 2, 3)


def _module(folder: Path, sign: Path) -> None:
    (folder / "evil_plugin.py").write_text(
        f"import pathlib\npathlib.Path({str(sign)!r}).touch()\nclass Method: pass\n"
    )


def _plugin(run: Path, folder: Path, sign: Path) -> None:
    """Read a recipe and a run that name a plugin which can be imported."""
    _module(folder, sign)
    path, text = folder / "evil.toml", (run / "recipe.toml").read_text()
    path.write_text(text.replace('name = "cml"', 'name = "evil_plugin:Method"'))
    home = folder / "evil-run"
    shutil.copytree(run, home, dirs_exist_ok=True)
    shutil.copy(path, home / "recipe.toml")
    sys.path.insert(0, str(folder))
    try:
        with chdir(folder):
            try:
                resolve_file(path)
            finally:
                write_report(home)
    finally:
        sys.path.remove(str(folder))


def _suite(folder: Path) -> None:
    path = folder / "evil-suite.toml"
    path.write_text(
        'name = "evil"\nabout = "x"\nprotocol = "equal"\nbaseline = "a"\nseeds = [1]\n'
        '[[settings]]\nname = "a"\nrecipe = "demo"\n'
        '[[methods]]\nlabel = "a"\nname = "evil_plugin:Method"\n'
    )
    with chdir(folder):
        load_suite(path)


MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>'\""


def markup_shown(run: Path, folder: Path) -> bool:
    """True if markup in the names of cases and classes reaches the report as markup."""
    home = folder / "markup"
    shutil.copytree(run, home)
    escaped = MARKUP.replace('"', '\\"')
    for path in home.rglob("*"):
        if path.suffix in (".json", ".jsonl"):
            text = path.read_text().replace("phantom ", f"{escaped} ").replace("test-", escaped)
            path.write_text(text)
        elif path.suffix == ".csv":
            doubled = '"' + MARKUP.replace('"', '""')
            lines = path.read_text().splitlines()
            rows = [
                f'{doubled} {place}",' + line.partition(",")[2]
                for place, line in enumerate(lines[1:])
            ]
            path.write_text("\n".join([lines[0], *rows]) + "\n")
    page = write_report(home).read_text()
    return "<script>alert" in page or "<img src=x" in page
