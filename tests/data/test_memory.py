"""How much memory is there: what the system tells, and the limits of a container or job."""

from pathlib import Path

import pytest

from crossview.data import memory
from crossview.data.memory import Room, available_memory

MEMINFO = "MemTotal:       32000 kB\nMemFree:        100 kB\nMemAvailable:   16000 kB\n"


def put(root, folder, **files):
    for name, text in files.items():
        path = root / folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_system_tells_what_is_available(tmp_path):
    put(tmp_path, "proc", meminfo=MEMINFO)
    assert available_memory(tmp_path) == 16000 * 1024


@pytest.mark.parametrize("limited", ["job/step", "job", ""])
def test_any_group_above_a_process_may_limit_it(tmp_path, limited):
    put(tmp_path, "proc", meminfo=MEMINFO)
    put(tmp_path, "proc/self", cgroup="0::/job/step\n")
    for group in ("job/step", "job"):
        put(
            tmp_path,
            f"sys/fs/cgroup/{group}",
            memory__max="max\n",
            memory__current="5\n",
            memory__stat="anon 1\n",
        )
    put(
        tmp_path,
        f"sys/fs/cgroup/{limited}",
        memory__max="1000\n",
        memory__current="700\n",
        memory__stat="anon 1\ninactive_file 150\n",
    )
    assert available_memory(tmp_path) == 1000 - 700 + 150


def test_the_first_version_of_groups(tmp_path):
    put(tmp_path, "proc", meminfo=MEMINFO)
    put(tmp_path, "proc/self", cgroup="5:cpu,cpuacct:/x\n4:memory:/job\n")
    stat = "inactive_file 9\ntotal_inactive_file 50\n"
    put(
        tmp_path,
        "sys/fs/cgroup/memory/job",
        memory__limit_in_bytes="900",
        memory__usage_in_bytes="300",
        memory__stat=stat,
    )
    assert available_memory(tmp_path) == 650


def test_a_group_that_is_over_its_limit_leaves_nothing(tmp_path):
    put(tmp_path, "proc", meminfo=MEMINFO)
    put(tmp_path, "proc/self", cgroup="0::/\n")
    put(
        tmp_path, "sys/fs/cgroup", memory__max="100", memory__current="170", memory__stat="anon 1\n"
    )
    assert available_memory(tmp_path) == 0


def test_a_system_without_proc_counts_its_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(
        memory.os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}.__getitem__
    )
    assert available_memory(tmp_path) == 4096 * 500
    monkeypatch.delattr(memory.os, "sysconf")
    assert available_memory(tmp_path) is None


def test_the_room_of_a_run(tmp_path, monkeypatch):
    assert Room.of(1.5, tmp_path / "runs" / "a") == Room(1.5e9, tmp_path)
    assert Room.of(0, tmp_path) == Room(0, tmp_path)
    assert Room.of(2, None) == Room(2e9, Path().absolute())
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    assert Room.of("auto", tmp_path) == Room(500, tmp_path)
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    assert Room.of("auto", tmp_path) is None


def test_what_a_store_takes_the_next_one_has_not(tmp_path):
    room = Room(100, tmp_path)
    assert room.less(30) == Room(70, tmp_path)
    assert room.less(130).memory == 0
