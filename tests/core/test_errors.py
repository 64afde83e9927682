"""Tests of problems, hints and errors of the system."""

import errno

import pytest

from crossview.core.errors import (
    Problem,
    UserError,
    fail,
    first_line,
    lacks_memory,
    nearest,
    of_people,
    of_system,
)


def test_a_problem_names_its_parts_and_hides_the_error_being_handled() -> None:
    def convert() -> None:
        try:
            int("x")
        except ValueError:
            fail("not a number", "a.csv", found=0.5, fix="mend it")

    with pytest.raises(UserError) as caught:
        convert()
    assert caught.value.__suppress_context__
    assert str(caught.value) == "a.csv: not a number\n  found:    0.5\n  fix:      mend it"


def test_several_problems_are_one_error() -> None:
    error = UserError(Problem(what) for what in ("one", "two"))
    assert [problem.what for problem in error.problems] == str(error).split() == ["one", "two"]


def test_a_misspelt_name_gets_the_closest_names() -> None:
    assert nearest("la-9", ["la-8", "acdc"]) == "did you mean la-8?"
    assert nearest("CML", ["cml", "bcp"]) == "did you mean cml?"
    assert nearest("x", ["cml", "bcp"]) == "known: bcp, cml"


def test_the_first_line_of_an_error_without_text_is_its_class() -> None:
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"


def test_a_full_disk_comes_with_a_fix() -> None:
    (problem,) = of_system(OSError(errno.ENOSPC, "no space left", "a.pt")).problems
    assert (problem.what, problem.where) == ("no space left", "a.pt")
    assert "free disk space" in problem.fix


NO_MEMORY = [
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: not enough memory"),
    RuntimeError("could not create a primitive"),
    RuntimeError("can't start new thread"),
    ImportError("a.so: failed to map segment from shared object"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=repr)
def test_a_lack_of_memory_is_told_whatever_library_reports_it(error) -> None:
    told = of_people(error, "crossview train")
    assert told is not None
    (problem,) = told.problems
    assert (problem.what, problem.where) == ("not enough memory", "crossview train")
    assert "--resume" in problem.fix


def test_an_error_raised_from_a_lack_of_memory_is_one() -> None:
    wrapped = ImportError("a library could not be imported")
    assert not lacks_memory(wrapped)
    wrapped.__cause__ = MemoryError()
    assert lacks_memory(wrapped)


@pytest.mark.parametrize(
    "text", ["shapes do not fit", "could not create a primitive descriptor for a convolution"]
)
def test_any_other_error_is_a_bug(text) -> None:
    assert of_people(RuntimeError(text), "here") is None
