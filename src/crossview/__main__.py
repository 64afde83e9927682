"""Entry point of ``python -m crossview``, the same as the command ``crossview``."""

from __future__ import annotations

from crossview.core.processes import end_on_signals


def main() -> None:
    """Run the command. Ctrl-C is heeded before the command itself is imported."""
    end_on_signals()
    from crossview.cli import main as run

    run()


if __name__ == "__main__":
    main()
