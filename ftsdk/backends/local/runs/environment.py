"""The environment of a trainer process: variables and processor threads."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ftsdk.backends.local.reports import KEYS
from ftsdk.backends.local.runs.launch import LOCK_FD_VARIABLE

_SECRET = re.compile(r"(API_?KEY|API_?TOKEN|ACCESS_KEY|SECRET|PASSWORD|_TOKEN)(_|$)", re.IGNORECASE)
_MALLOC = {
    # A training step frees and allocates the same gigabytes again and again. Returning them to
    # the kernel in between costs a page fault for each 4 KiB of them.
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
_TUNABLES = "glibc.malloc.hugetlb=1:glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
"""Large pages for malloc: a ninth of the page faults of a training step. And no caches of small places.
An aligned tensor leaves a few bytes free at either end of its place. Where a small object takes them
from such a cache, the place is too small for the next tensor of that size, and the heap grows: up to
twice the memory, at the same speed."""
_SPIN_COUNT = "2000"
"""How long (in spins, about a tenth of a millisecond) a thread waits awake for the next operation.

libgomp's own default is a hundred times more. On a machine with other work the threads then spin
against those they wait for: the same step took four times the processor time.
"""


def trainer_environment(
    base: Mapping[str, str], threads: int, *, report_to: Sequence[str] = ()
) -> dict[str, str]:
    """The trainer's environment, from `base`.

    Variables that look like keys are removed, except those of the trackers in `report_to`; the
    model hub is switched off, the allocator keeps its memory, and `threads` is the number of OpenMP
    threads.
    """
    kept = {name for tracker in report_to for name in KEYS.get(tracker, ())}
    clean = {n: value for n, value in base.items() if n in kept or not _SECRET.search(n)}
    clean.pop(LOCK_FD_VARIABLE, None)
    clean |= _MALLOC
    before = clean.get("GLIBC_TUNABLES")
    clean["GLIBC_TUNABLES"] = f"{before}:{_TUNABLES}" if before else _TUNABLES
    clean |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    clean |= {"PYTHONUNBUFFERED": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    if not {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & clean.keys():
        clean["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"  # freed places join
    clean["OMP_NUM_THREADS"] = str(threads)
    if "OMP_WAIT_POLICY" not in clean:
        clean.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)
    return clean


def available_threads(cpu_max: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """How many processors this process may use, by affinity and by the container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text().split()
    except (OSError, ValueError):
        return count
    if quota == "max":
        return count
    return max(1, min(count, round(int(quota) / int(period))))
