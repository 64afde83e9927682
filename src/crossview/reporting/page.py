"""Templates of the HTML pages. Each page is one file; all texts are escaped."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import crossview


def render(template: str, **content: Any) -> str:
    """Render a template of this package to HTML, with texts escaped."""
    environment = Environment(
        loader=PackageLoader("crossview.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=crossview.__version__, **content)
