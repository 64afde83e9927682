"""Tests the hooks of the site (docs/hooks.py)."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("griffe")
pytest.importorskip("latex2mathml")
SPEC = importlib.util.spec_from_file_location(
    "hooks", Path(__file__).parents[2] / "docs" / "hooks.py"
)
hooks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(hooks)


@pytest.mark.parametrize(
    ("docstring", "markdown"),
    [
        ("Logits (B, K, *S) of (B, C, *S).", r"Logits (B, K, \*S) of (B, C, \*S)."),
        ("Write evaluation/<split>/.", "Write evaluation/&lt;split>/."),
        ("See :class:`Batch`.", "See `Batch`."),
        ("Call ``f(*a, <b>)`` or `g(*c)`.", "Call ``f(*a, <b>)`` or `g(*c)`."),
        ("- a * b < c", "- a * b < c"),
    ],
)
def test_a_docstring_is_shown_literally(docstring, markdown):
    assert hooks.as_markdown(docstring) == markdown


def test_an_equation_becomes_mathml_and_other_text_stays():
    inline = r'a <span class="arithmatex">\(x &lt; 1\)</span> b'
    block = r'<div class="arithmatex">\[x_i\]</div>'
    assert hooks.on_page_content(inline).startswith("a <math")
    assert 'display="block"' in hooks.on_page_content(block)
    assert hooks.on_page_content("<p>(x)</p>") == "<p>(x)</p>"


def test_comments_for_tests_go():
    page = "text\n\n<!-- not run: needs LA -->\n```console\n$ ls\n```\n"
    assert hooks.on_page_markdown(page) == "text\n\n\n```console\n$ ls\n```\n"
