"""Texts that are no JSON or TOML raise ValueError, whatever is wrong with them."""

import pytest

from crossview.core.parse import from_json, from_toml
from crossview.core.text import number


@pytest.mark.parametrize("text", ["[" * 10_000, "{", "", "9" * 5000])
def test_a_text_that_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        from_json(text)


@pytest.mark.parametrize("text", ["a = " + "[" * 10_000, "a =", "a = " + "9" * 5000])
def test_a_text_that_is_no_toml_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        from_toml(text)


def test_what_is_one_is_read():
    assert from_json('{"a": [1]}') == from_toml("a = [1]") == {"a": [1]}


def test_a_whole_number_beyond_the_largest_float_is_none():
    assert number(10**400) is None
