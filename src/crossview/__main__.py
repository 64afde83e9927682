"""Entry point of ``python -m crossview``, the same as the command ``crossview``."""

from __future__ import annotations

from crossview.cli import main

main()
