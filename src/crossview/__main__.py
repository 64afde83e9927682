"""``python -m crossview`` is the command ``crossview``."""

from crossview.cli import main

main()
