"""Type of the callbacks that report progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Callback with (done, total) as work proceeds."""
