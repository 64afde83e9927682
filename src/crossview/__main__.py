"""Entry point of ``python -m crossview``, the same as the command ``crossview``."""

from __future__ import annotations

import sys
from contextlib import suppress

from crossview.core.signals import end_at_once, end_on_signals
from crossview.core.watchdog import dismiss_watchdog, start_watchdog


def main() -> None:
    """Run the command. Ctrl-C is heeded before the command is imported, and until it has ended."""
    end_on_signals()
    start_watchdog()
    try:
        from crossview.cli import main as run

        run()
    finally:
        with suppress(OSError):  # the reader of the output has closed
            sys.stdout.flush()
        end_at_once()
        dismiss_watchdog()


if __name__ == "__main__":
    main()
