"""Hooks of the site (mkdocs.yml): equations become MathML, and comments for the tests go."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

COMMENT = re.compile(r"^<!-- .*? -->\n", re.MULTILINE)
EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Remove the comments that tests read: "not run: why", "keys: NAME" and "end"."""
    return COMMENT.sub("\n", markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Replace each equation by MathML, which browsers show without a script."""
    return EQUATION.sub(_as_mathml, content)


def _as_mathml(equation: re.Match[str]) -> str:
    display = "inline" if equation["tag"] == "span" else "block"
    return convert(html.unescape(equation["latex"]), display=display)
