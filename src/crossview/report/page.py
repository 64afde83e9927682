"""Templates to one HTML file: everything inline, every text escaped, written aside and renamed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import crossview


def render(template: str, **content: Any) -> str:
    """A template of this package as HTML; texts are escaped."""
    environment = Environment(
        loader=PackageLoader("crossview.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(version=crossview.__version__, **content)


def write(path: Path, text: str) -> Path:
    """Write a text aside, make it durable, then rename it over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    with aside.open("w", encoding="utf-8", errors="replace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    return path
