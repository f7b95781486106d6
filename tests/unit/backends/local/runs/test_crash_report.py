"""What a trainer died of, from its exit status, its log and the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk.backends.local.runs.crash_report import OomCounters, explain_death


def test_a_kernel_kill_for_memory_is_recognized(tmp_path: Path) -> None:
    events, vmstat = tmp_path / "memory.events", tmp_path / "vmstat"
    events.write_text("low 0\noom 1\noom_kill 1\n")
    vmstat.write_text("oom_kill 4\n")
    counters = OomCounters(events, vmstat)
    assert not counters.rose()
    events.write_text("low 0\noom 2\noom_kill 2\n")
    assert counters.rose()
    message, error = explain_death(-9, [], kernel_oom=True)
    assert error["kind"] == "out_of_memory"
    assert "memory" in message
    assert explain_death(-9, [], kernel_oom=False)[1]["kind"] == "signal"
    assert explain_death(-11, [], kernel_oom=False)[0].endswith("(SIGSEGV).")


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory",
        "RuntimeError: [enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate; MemoryError",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ],
)
def test_out_of_memory_is_recognized_in_the_text_of_any_library(line: str) -> None:
    assert explain_death(1, ["x", line], kernel_oom=False)[1]["kind"] == "out_of_memory"


def test_a_full_disk_is_recognized_in_the_text_of_a_library() -> None:
    line = "safetensors_rust.SafetensorError: I/O error: No space left on device (os error 28)"
    assert explain_death(1, [line], kernel_oom=False)[1]["kind"] == "disk_full"
