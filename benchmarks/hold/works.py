"""Commands that the campaigns disturb: what each runs, and in which folder it writes."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from benchmarks.hold.small import SMALL, command, sets, start, train_arguments, trained_run
from benchmarks.hold.suite import suite_file, suite_text

LENGTH = ("method.pretrain_steps=30", "method.train_steps=60")

FOLDER = (
    *(key for key in SMALL if not key.startswith(("data.size", "data.test", "data.unlabelled"))),
    "method.pretrain_steps=4",
    "method.train_steps=4",
)


@dataclass(frozen=True)
class Work:
    """A command that can be started again until it is done.

    Attributes:
        name: Row of the table.
        folder: What it writes into.
        arguments: Returns the next command's words, by what is in the folder.
        begin: Clears the folder for a start from nothing.
        processes: Processes that share the work, as torchrun would start them.
    """

    name: str
    folder: Path
    arguments: Callable[[], list[str]]
    begin: Callable[[], object]
    processes: int = 1

    def start(self, log: Path, before: Callable[[], object] | None = None) -> list[int]:
        """Start the next command in forks of this process and return their ids.

        before: called in the first fork.
        """
        words, port = self.arguments(), _free_port()
        return [
            start(words, log, _prepared(rank, self.processes, port, before if not rank else None))
            for rank in range(self.processes)
        ]


def _prepared(
    rank: int, processes: int, port: int, before: Callable[[], object] | None
) -> Callable[[], None]:
    def prepare() -> None:
        if processes > 1:
            place = {"RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1"}
            place |= {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_PORT": port}
            os.environ.update({key: str(value) for key, value in place.items()})
        if before is not None:
            before()

    return prepare


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def works(place: Path) -> Iterator[Work]:
    """Make what the commands need in ``place``, and yield them."""
    yield _training(place, "train", 1)
    yield _training(place, "two processes", 2)
    run = trained_run(place / "finished" / "run")
    tested = place / "tested"
    yield Work("evaluate", tested, lambda: ["evaluate", str(tested)], lambda: _copy(run, tested))
    yield _suite(place)
    data = made_folder(place / "data")
    model = place / "model"
    training = ["train", "folder", "--data", str(data), "--out", str(model), *sets(FOLDER)]
    if command(training, place / "log.txt"):
        raise RuntimeError((place / "log.txt").read_text()[-2000:])
    predicted, drafts = place / "predicted", place / "round"
    scans = ["predict", str(model), str(data / "images"), "--out", str(predicted), "--entropy"]
    yield Work("predict", predicted, lambda: [*scans, "--resume"], lambda: _remove(predicted))
    suggested = ["suggest", str(drafts / "model"), "--data", str(drafts / "data"), "-n", "3"]
    yield Work(
        "suggest --drafts",
        drafts,
        lambda: [*suggested, "--drafts", str(drafts / "data" / "drafts")],
        lambda: (_copy(model, drafts / "model"), _copy(data, drafts / "data")),
    )
    shown, table = place / "shown", place / "table"
    yield Work("report", shown, lambda: ["report", str(shown)], lambda: _copy(run, shown))
    words = ["compare", str(run), "--out", str(table / "compare.html")]
    yield Work("compare", table, lambda: words, lambda: (_remove(table), table.mkdir()))


def _training(place: Path, name: str, processes: int) -> Work:
    out = place / name.replace(" ", "-")
    keys = (*SMALL[:-2], *LENGTH, "data.labelled=6", "data.validation=1")
    if processes > 1:
        keys = (*keys, "method.pretrain_steps=8", "method.train_steps=16")
    keys = (*keys, "training.evaluate_every=15", "training.selection=validation")
    words = train_arguments(out, keys=keys)

    def arguments() -> list[str]:
        return [*words, "--resume"] if (out / "recipe.toml").exists() else words

    return Work(name, out, arguments, lambda: _remove(out), processes)


def _suite(place: Path) -> Work:
    out, file = place / "suite", small_suite(place / "tiny.toml")
    return Work("bench", out, lambda: ["bench", str(file), "--out", str(out)], lambda: _remove(out))


def small_suite(file: Path, seeds: int = 1) -> Path:
    """Write a suite of two rows and this number of seeds."""
    common = [key for key in SMALL if not key.startswith("method.")]
    return suite_file(file, suite_text(range(1, seeds + 1), 20, common))


def made_folder(
    folder: Path, shape: tuple[int, int, int] = (20, 18, 16), scans: int = 9, labelled: int = 3
) -> Path:
    """Make a folder of scans for recipe "folder"; the first ones have labels."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(scans):
        label = np.zeros(shape, np.uint8)
        low = generator.integers(3, 8, 3)
        label[tuple(slice(each, each + 7) for each in low)] = 1
        image = (generator.normal(100, 20, label.shape) + 60 * label).astype(np.int16)
        nib.save(nib.Nifti1Image(image, np.eye(4)), folder / "images" / f"scan{number}.nii.gz")
        if number < labelled:
            nib.save(nib.Nifti1Image(label, np.eye(4)), folder / "labels" / f"scan{number}.nii.gz")
    return folder


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    _remove(target)
    shutil.copytree(source, target)
