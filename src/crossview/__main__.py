"""Entry point of ``python -m crossview``, the same as the command ``crossview``."""

from crossview.cli import main

main()
