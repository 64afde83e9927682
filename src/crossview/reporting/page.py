"""Templates to one HTML file: everything inline, every text escaped, written aside and renamed."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import crossview


def render(template: str, **content: Any) -> str:
    """A template of this package as HTML; texts are escaped."""
    environment = Environment(
        loader=PackageLoader("crossview.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=crossview.__version__, **content)
