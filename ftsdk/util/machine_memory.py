"""The memory of this machine, or of its container: all of it, what is free, and what this process has."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")
_MEMINFO = Path("/proc/meminfo")
_CGROUPS = Path("/sys/fs/cgroup")
_UNIFIED = ("memory.max", "memory.current", "inactive_file")
_OLDER = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def machine_bytes() -> int | None:
    """The memory of this machine, or of its container where that is less; None where it is unknown."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
    container = _container()
    return total if container is None else min(total, container[0])


def free_bytes() -> int | None:
    """The memory that a new process can take now, with what the kernel would give up for it.

    None where the system does not say: outside Linux.
    """
    try:
        lines = _MEMINFO.read_text().split("\n")
        known = dict(line.split(":", 1) for line in lines if ":" in line)
        free = int(known["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return None
    container = _container()
    return free if container is None else min(free, max(0, container[0] - container[1]))


def resident_bytes() -> int | None:
    """What this process has in memory now; None outside Linux."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def most_resident_bytes() -> int | None:
    """The most that this process had in memory so far; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _container() -> tuple[int, int] | None:
    """The limit of the container, and what is taken of it; None without a limit.

    Pages of files that were not used lately do not count: the kernel gives them up.
    """
    for folder, names in ((_CGROUPS, _UNIFIED), (_CGROUPS / "memory", _OLDER)):
        with contextlib.suppress(OSError, ValueError):
            limit, taken = (int((folder / name).read_text()) for name in names[:2])
            return limit, max(0, taken - _counted(folder / "memory.stat", names[2]))
    return None


def _counted(stat: Path, name: str) -> int:
    try:
        lines = [line.split() for line in stat.read_text().split("\n")]
        return next((int(words[1]) for words in lines if words[:1] == [name]), 0)
    except (OSError, ValueError, IndexError):
        return 0
