"""Files that a killed or refused command left: each must be whole, and none may be left aside."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image

from crossview.core.busy import is_lock

NOT_COMPARED = {
    "command": "names the folder that it writes into",
    "seconds": "a time",
    "samples_per_second": "a time",
    "data_wait": "a time",
    "started": "a time",
    "suggested": "a time",
}
"""Keys that differ between two runs of the same recipe, each with the reason."""


def unreadable(folder: Path) -> list[str]:
    """Return the files in a folder that cannot be read to their end, each with the reason.

    Files that are still aside (.part) and locks count as absent. The last line of a journal may be
    cut: readers drop it.
    """
    found = []
    for path in _files(folder):
        if _aside(path, folder):
            continue
        try:
            READERS.get(path.suffix, Path.read_bytes)(path)
        except Exception as error:  # every reader has its own errors
            found.append(f"{path.relative_to(folder)}: {type(error).__name__}: {error}"[:200])
    return found


def left_aside(folder: Path) -> list[str]:
    """Return the partial files, which a finished command must not leave.

    A lock is none: that of a killed process holds nothing, and stays until the folder is used.
    """
    files = [path for path in _files(folder) if not is_lock(path.name)]
    return sorted(str(path.relative_to(folder)) for path in files if _aside(path, folder))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _aside(path: Path, folder: Path) -> bool:
    names = path.relative_to(folder).parts
    return is_lock(path.name) or any(name.endswith((".part", ".old")) for name in names)


def _read_journal(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").split("\n")
    for line in lines[:-1]:
        json.loads(line)


def _read_picture(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()


def _read_page(path: Path) -> None:
    if not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError("the page has no end")


def _read_table(path: Path) -> None:
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines(), strict=True))
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("rows of different length")


READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".jsonl": _read_journal,
    ".toml": lambda path: tomllib.loads(path.read_text(encoding="utf-8")),
    ".pt": lambda path: torch.load(path, map_location="cpu", weights_only=True),
    ".gz": lambda path: np.asanyarray(nib.load(path).dataobj),
    ".png": _read_picture,
    ".html": _read_page,
    ".csv": _read_table,
}


def results(folder: Path) -> dict[str, str]:
    """Return a digest of each file's content, without the keys that hold times.

    Checkpoints and models are digested tensor by tensor, journals without what a resume adds. Pages
    and tables name times, so they are left out.
    """
    found = {}
    for path in _files(folder):
        if _aside(path, folder) or path.suffix in (".html", ".md"):
            continue
        digest = sha256()
        try:
            _add(digest, _content(path))
        except Exception:  # every reader has its own errors; see unreadable()
            digest.update(b"unreadable")
        found[str(path.relative_to(folder))] = digest.hexdigest()[:16]
    return found


def differing(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return the files that two results do not share."""
    return sorted(name for name in expected | found if expected.get(name) != found.get(name))


def _content(path: Path) -> Any:
    if path.suffix == ".pt":
        return torch.load(path, map_location="cpu", weights_only=True)
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".jsonl":
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        return [row for row in rows if row["kind"] in ("stage", "step", "validation", "finished")]
    return path.read_bytes() if path.name != "compare.csv" else b""


def _add(digest: Any, content: Any) -> None:
    if isinstance(content, dict):
        for key, value in content.items():
            if key not in NOT_COMPARED:
                digest.update(str(key).encode())
                _add(digest, value)
    elif isinstance(content, list | tuple):
        for value in content:
            _add(digest, value)
    elif isinstance(content, torch.Tensor):
        digest.update(content.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    else:
        digest.update(content if isinstance(content, bytes) else repr(content).encode())
