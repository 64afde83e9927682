"""Tests that a file is complete or absent."""

import errno
from pathlib import Path

import pytest

from crossview.core.errors import of_system
from crossview.core.files import folder_written_whole, write_text, written_whole


def test_a_text_is_written_into_a_new_folder(tmp_path):
    path = write_text(tmp_path / "new" / "a.txt", "é\nb\n")
    assert path.read_text(encoding="utf-8") == "é\nb\n"
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")

    def fail():
        with written_whole(path) as part:
            part.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_names_that_utf8_cannot_hold_are_replaced(tmp_path):
    assert write_text(tmp_path / "a.txt", "case \udce9").read_text(encoding="utf-8") == "case ?"


@pytest.mark.parametrize("letter", ["x", "é", "日"])
def test_names_as_long_as_file_systems_take_are_written(tmp_path, letter):
    name = letter * ((255 - len(".nii.gz")) // len(letter.encode())) + ".nii.gz"
    assert write_text(tmp_path / name, "a").read_text() == "a"
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_folder_is_replaced_whole_and_what_a_kill_left_is_removed(tmp_path):
    folder = tmp_path / "a"
    for left in ("a.part", "a.old", "a"):
        write_text(tmp_path / left / "old.txt", left)

    def fail():
        with folder_written_whole(folder) as part:
            write_text(part / "new.txt", "half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [file.name for file in tmp_path.rglob("*.txt")] == ["old.txt"]
    with folder_written_whole(folder) as part:
        write_text(part / "new.txt", "whole")
        assert (folder / "old.txt").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert [file.name for file in folder.iterdir()] == ["new.txt"]


def test_a_folder_that_could_not_be_replaced_stays(tmp_path, monkeypatch):
    folder, rename = tmp_path / "a", Path.rename
    write_text(folder / "old.txt", "old")

    def refuse(self, target):
        if self.name == "a.part":
            raise OSError(errno.EIO, "broken disk")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="broken disk"), folder_written_whole(folder):
        pass
    assert [file.name for file in tmp_path.rglob("*")] == ["a", "old.txt"]


def test_a_folder_set_aside_when_the_command_was_killed_comes_back(tmp_path):
    write_text(tmp_path / "a.old" / "old.txt", "old")

    def fail():
        with folder_written_whole(tmp_path / "a"):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [file.name for file in tmp_path.rglob("*")] == ["a", "old.txt"]


@pytest.mark.parametrize("named", [None, "part"])
def test_an_error_of_the_disk_names_the_file(tmp_path, named):
    path = tmp_path / "a.txt"

    def fail():
        with written_whole(path) as part:
            raise OSError(errno.ENOSPC, "No space left on device", *([str(part)] if named else []))

    with pytest.raises(OSError, match="No space left") as error:
        fail()
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(path))
    told = str(of_system(error.value))
    assert told.startswith(f"{path}: No space left")
    assert "fix:" in told


def test_other_errors_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError) as error, written_whole(tmp_path / "a.txt"):
        (tmp_path / "none").read_text()
    assert error.value.filename == str(tmp_path / "none")
