"""Freed memory stays with the process. In a process of its own: the setting can't be taken back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from crossview.training.device import keep_freed_memory

FAULTS = """
import resource, torch
from crossview.training.device import set_kernels
{setting}
for step in range(20):  # glibc needs some rounds until a freed block is reused
    if step == 16:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(2**24).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(setting: str) -> int:
    """Page faults while 64 MB are taken and filled four times, after they were often."""
    return int(
        subprocess.run(
            [sys.executable, "-c", FAULTS.format(setting=setting)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_memory_that_was_freed_is_used_again_without_new_pages() -> None:
    assert page_faults("") > 10_000  # 4 x 64 MB in pages of 4 kB, or larger ones in part
    assert page_faults("set_kernels(deterministic=False)") < 100


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
