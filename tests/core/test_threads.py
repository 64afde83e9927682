"""Threads without memory are an error, and otherwise those of the standard library."""

import subprocess
import sys
import threading

import pytest

from crossview.core import threads
from crossview.core.threads import ThreadPool

SHORT = """
import ctypes, resource, threading
from pathlib import Path
from crossview.core.threads import ThreadPool

with ThreadPool(1) as pool:  # its stack is kept, so that the next thread can begin
    pool.submit(len, "ab").result()
blocks = [bytearray(60_000) for _ in range(200)]
kept = []
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), resource.RLIM_INFINITY))
size = 1 << 20
while size >= 16:  # take what is left
    try:
        kept.append(bytearray(size))
    except MemoryError:
        size //= 2
pin = blocks.pop()
if {room_for_arrays}:
    blocks.clear()  # below the last one, so that the system does not get it back
pool = ThreadPool(1)
try:
    pool.submit(len, "ab")
except MemoryError as error:
    kept.clear()
    print("refused:", error)
"""


@pytest.mark.parametrize("room_for_arrays", [False, True])
def test_a_thread_without_memory_is_an_error(room_for_arrays):
    program = SHORT.format(room_for_arrays=room_for_arrays)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("refused: can't start new thread"), done.stderr


def test_room_is_needed_only_until_the_threads_run(monkeypatch):
    def begin():
        begun.append(threading.current_thread())

    begun = []
    with ThreadPool(2, begin) as pool:
        barrier = threading.Barrier(3)
        results = [pool.submit(barrier.wait) for _ in range(2)]
        barrier.wait(30)
        assert len({result.result() for result in results}) == 2
        assert len(set(begun)) == 2
        monkeypatch.setattr(threads, "ROOM", 1 << 46)
        assert pool.submit(divmod, 7, 2).result() == (3, 1)
    with ThreadPool(1) as pool, pytest.raises(MemoryError):
        pool.submit(len, "ab")
