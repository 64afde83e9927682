"""A stand-in for the parts of torch.cuda that a recording uses: it runs at once, on the CPU."""

from contextlib import contextmanager

import pytest
import torch


class Graph:
    """In place of a CUDA graph: a replay is only counted."""

    def __init__(self):
        self.replayed = 0

    def replay(self):
        self.replayed += 1


class Stream:
    device_index, device = 0, "cpu"

    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        pass


BEFORE = Stream()
"""The stream that is the current one."""


@contextmanager
def as_it_is(*_, **__):
    yield


def replace(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    """Put it all in place; returns the streams that are made the current one from then on."""
    current: list[Stream] = []
    instead = {
        "Stream": Stream,
        "current_stream": lambda device=None: BEFORE,
        "stream": as_it_is,
        "device": as_it_is,
        "graph": as_it_is,
        "CUDAGraph": Graph,
        "graph_pool_handle": lambda: (0, 1),
        "set_stream": current.append,
        "get_rng_state": lambda device: None,
        "set_rng_state": lambda state, device: None,
    }
    for name, replacement in instead.items():
        monkeypatch.setattr(torch.cuda, name, replacement)
    return current
