"""Memory that is available, by the machine and by the limits of control groups."""

import pytest

from crossview.core.memory import available_memory


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


MACHINE = {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 5000 kB\nSwapFree: 1000 kB\n"}
SECOND = {
    "proc/self/cgroup": "0::/job/step\n",
    "sys/fs/cgroup/job/memory.max": "3000000",
    "sys/fs/cgroup/job/memory.current": "2000000",
    "sys/fs/cgroup/job/memory.stat": "inactive_file 500000\n",
    "sys/fs/cgroup/job/step/memory.max": "max",
}
FIRST = {
    "proc/self/cgroup": "4:memory:/of/the/host\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "900000",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "400000",
    "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 1000\n",
}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (MACHINE, 6_144_000),
        (MACHINE | SECOND, 1_500_000),
        (MACHINE | FIRST, 501_000),
    ],
)
def test_the_least_of_machine_and_groups_is_available(tmp_path, files, expected):
    write(tmp_path, files)
    assert available_memory(tmp_path) == expected
