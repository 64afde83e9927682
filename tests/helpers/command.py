"""The command, run in this process."""

import sys

from crossview import cli


def crossview(capsys, *arguments) -> tuple[int, str, str]:
    """Run the command; its exit code, standard output and standard error."""
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
