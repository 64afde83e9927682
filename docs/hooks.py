"""Hooks of the site: equations become MathML, docstrings Markdown, and comments for tests go."""

import html
import re
from typing import Any

import griffe
from latex2mathml.converter import convert

COMMENT = re.compile(r"^<!-- .*? -->\n", re.MULTILINE)
EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
CODE = re.compile(r"(``.+?``|`[^`\n]+`)", re.DOTALL)
ROLE = re.compile(r":\w+:(?=`)")
MARKUP = {re.compile(r"<(?=\w)"): "&lt;", re.compile(r"\*(?=\w)"): r"\\*"}
"""Starts of HTML and of emphasis: docstrings mean evaluation/<split> and (B, C, *S) literally."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Remove the comments that tests read: "not run: why", "keys: NAME" and "end"."""
    return COMMENT.sub("\n", markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Replace each equation by MathML, which browsers show without a script."""
    return EQUATION.sub(_as_mathml, content)


def _as_mathml(equation: re.Match[str]) -> str:
    display = "inline" if equation["tag"] == "span" else "block"
    return convert(html.unescape(equation["latex"]), display=display)


class Docstrings(griffe.Extension):
    """Docstrings as Markdown: literal text escaped outside of code, the roles of Sphinx removed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """Return a docstring with < and * escaped outside of code."""
    parts = CODE.split(ROLE.sub("", docstring))
    for start, escaped in MARKUP.items():
        parts[::2] = [start.sub(escaped, text) for text in parts[::2]]
    return "".join(parts)
