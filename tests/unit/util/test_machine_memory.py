"""The memory of this machine: of a container where that is less, and what is free of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftsdk.util import machine_memory as memory

GB = 10**9


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 16 GB with 10 GB free; the folder of its container's files."""
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {10 * GB // 1024} kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "cgroup")
    sizes = {"SC_PHYS_PAGES": 16 * GB // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__, raising=False)
    (tmp_path / "cgroup" / "memory").mkdir(parents=True)
    return tmp_path / "cgroup"


def test_a_machine_without_a_container(machine: Path) -> None:
    assert memory.machine_bytes() == 16 * GB // 4096 * 4096
    assert memory.free_bytes() == 10 * GB // 1024 * 1024


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_container_counts_where_it_is_less(version: int, machine: Path) -> None:
    folder = machine if version == 2 else machine / "memory"
    names = memory._UNIFIED if version == 2 else memory._OLDER
    (folder / names[0]).write_text(f"{4 * GB}\n")
    (folder / names[1]).write_text(f"{3 * GB}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {GB}\n")
    assert memory.machine_bytes() == 4 * GB
    assert memory.free_bytes() == 2 * GB  # a quarter is pages of files, which the kernel gives up
    (folder / names[0]).write_text(f"{64 * GB}\n")
    assert memory.machine_bytes() == 16 * GB // 4096 * 4096
    assert memory.free_bytes() == 10 * GB // 1024 * 1024


def test_a_container_without_a_limit(machine: Path) -> None:
    (machine / "memory.max").write_text("max\n")
    assert memory.machine_bytes() == 16 * GB // 4096 * 4096


def test_what_a_system_does_not_say_is_unknown(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "_STATM", tmp_path / "none")
    assert memory.free_bytes() is None
    assert memory.resident_bytes() is None


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux shows it")
def test_this_process_has_some_of_it() -> None:
    resident, most = memory.resident_bytes(), memory.most_resident_bytes()
    assert resident is not None
    assert most is not None
    assert 1 << 20 < resident <= most + (64 << 20)
