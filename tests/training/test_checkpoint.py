"""Checkpoints: whole or not there, and never code."""

import pickle

import pytest
import torch

from crossview.core.errors import UserError
from crossview.training import checkpoint


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.write(path, {"weights": {"a": torch.ones(2)}})

    class Unpicklable:
        def __reduce__(self):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        checkpoint.write(path, {"weights": Unpicklable()})
    assert torch.equal(checkpoint.read(path)["weights"]["a"], torch.ones(2))
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_a_pickled_object_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"format": checkpoint.FORMAT, "weights": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(UserError, match="cannot read"):
            checkpoint.read(tmp_path / name)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps([1, 2])])
def test_other_files_are_told(tmp_path, content):
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"last\.pt"):
        checkpoint.read(tmp_path / "last.pt")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at inline_container.cc:672] unexpected pos"),
        OSError(28, "No space left"),
    ],
)
def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path, monkeypatch, error):
    def fail(content, path):
        path.write_bytes(b"half")
        raise error

    path = tmp_path / "last.pt"
    checkpoint.write(path, {"step": 1})
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(UserError, match=r"cannot write the checkpoint(?s:.*)free disk space"):
        checkpoint.write(path, {"step": 2})
    assert checkpoint.read(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_a_checkpoint_that_is_not_there_names_those_that_are(tmp_path):
    with pytest.raises(UserError, match="none in this run"):
        checkpoint.read(tmp_path / "selected.pt")
    checkpoint.write(tmp_path / "last.pt", {"step": 1})
    with pytest.raises(UserError, match="only last"):
        checkpoint.read(tmp_path / "selected.pt")
