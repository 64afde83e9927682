"""The command, run in this process."""

import sys

from crossview import cli

SMALL = (
    "data.size=16",
    "data.patch=[8,8,8]",
    "data.test=2",
    "data.unlabelled=4",
    "network.filters=2",
    "network.levels=2",
    "training.precision=float32",
)
"""Keys of recipe "demo" that make a run of a second."""


def sets(*texts: str) -> list[str]:
    """Return the arguments that set keys of a recipe."""
    return [part for text in texts for part in ("--set", text)]


def crossview(capsys, *arguments) -> tuple[int, str, str]:
    """Run the command and return its exit code, standard output and standard error."""
    sys_argv, sys.argv = sys.argv, ["crossview", *map(str, arguments)]
    try:
        cli.main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv = sys_argv
    out, err = capsys.readouterr()
    return code, out, err
