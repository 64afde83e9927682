"""Tests of problems, hints and errors of the system."""

import errno

import pytest

from crossview.core.errors import Problem, UserError, fail, first_line, nearest, of_system


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
