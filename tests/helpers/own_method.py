"""A plugin in a file of the current folder, and a command line that trains it in a second."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.command import SMALL, sets

from crossview.core.plugins import LOADED

NAME = "own:Own"
SOURCE = """
from crossview.methods import Method, Stage
from crossview.methods.bases import ConsistencyOptions
from crossview.methods.blocks.losses import cross_entropy_dice


class Own(Method):
    Options = ConsistencyOptions

    def __init__(self, options, build_network):
        super().__init__(options, build_network)
        self.network = build_network()

    @property
    def stages(self):
        return self.options.stages

    def loss(self, batch, stage, step):
        return {"labelled": cross_entropy_dice(self.network(batch.image).logits, batch.label)}

    def views(self, image):
        return {"network": self.network(image).logits}
"""
TINY = sets(*SMALL, "training.log_every=1")


def forget() -> None:
    """Unload the plugin, as in a process that has not imported it."""
    LOADED.pop(NAME, None)
    sys.modules.pop("own", None)
    sys.path_importer_cache.clear()


def write(folder: Path, *changes: tuple[str, str]) -> None:
    """Write the file, with texts of it replaced, for the next process."""
    text = SOURCE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "own.py").write_text(text)
    forget()


@contextmanager
def within(folder: Path, monkeypatch) -> Iterator[Path]:
    """The folder as the current one, with the method's file in it."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(
        sys, "dont_write_bytecode", True
    )  # a file that is changed within a second must not be read from it
    write(folder)
    yield folder
    forget()
