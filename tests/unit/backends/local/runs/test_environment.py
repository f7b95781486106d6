"""The environment of a trainer process."""

from __future__ import annotations

import os
from pathlib import Path

from ftsdk.backends.local.runs.environment import available_threads, trainer_environment


def test_the_trainer_gets_no_key_and_keeps_its_memory() -> None:
    base = {
        "OPENAI_API_KEY": "k",
        "REPLICATE_API_TOKEN": "k",
        "HF_TOKEN": "k",
        "AWS_SECRET_ACCESS_KEY": "k",
        "DB_PASSWORD": "k",
        "PATH": "/bin",
        "TOKENIZERS_X": "1",
        "FTSDK_LOCK_FD": "9",
    }
    environment = trainer_environment(base, 2)
    assert "k" not in environment.values()
    assert environment["PATH"] == "/bin"
    assert environment["TOKENIZERS_X"] == "1"
    assert "FTSDK_LOCK_FD" not in environment
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["OMP_NUM_THREADS"] == "2"
    assert int(environment["MALLOC_TRIM_THRESHOLD_"]) > 2**32


def test_the_container_quota_limits_the_threads(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("100000 100000\n")
    assert available_threads(quota) == 1
    quota.write_text("max 100000\n")
    assert available_threads(quota) == len(os.sched_getaffinity(0))
    assert available_threads(tmp_path / "none") >= 1
