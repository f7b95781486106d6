"""Print a new folder for the temporary files of a test run: in memory, where there is room for it.

Tests commit to thousands of journals, and a commit waits for the disk several times. The folder is
removed by who asked for it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
MEMINFO, LIMIT = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")
NEEDED = 12 * 2**30
"""Bytes that must be free in memory: a run leaves about half of it, environments of pages included."""


def main() -> int:
    """Print the folder."""
    print(tempfile.mkdtemp(prefix="ftsdk-tests-", dir=MEMORY if _has_room() else None))
    return 0


def _has_room() -> bool:
    try:
        return min(shutil.disk_usage(MEMORY).free, *_available()) >= NEEDED and _runs_programs()
    except (OSError, ValueError):
        return False


def _available() -> list[int]:
    """Return the bytes that the machine has left, and those that this container may still use."""
    [line] = [one for one in MEMINFO.read_text().split("\n") if one.startswith("MemAvailable:")]
    most = LIMIT.read_text().strip() if LIMIT.is_file() else "max"
    used = LIMIT.with_name("memory.current")
    left = [] if most == "max" else [int(most) - int(used.read_text())]
    return [int(line.split()[1]) * 1024, *left]


def _runs_programs() -> bool:
    """Whether programs may be started from there: the pages' environments are."""
    try:
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            script = Path(folder) / "script"
            script.write_text("#!/bin/sh\nexit 0\n")
            script.chmod(0o700)
            return subprocess.run([script], check=False).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
