"""The check for a machine with a GPU, at toy size on this processor and from a wheel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALL = (
    "environment",
    "base_model",
    "rows_laid_end_to_end",
    "lora_bf16",
    "qlora_nf4",
    "full",
    "float16",
    "eight_bit_averages",
    "offload",
    "copies_beside",
    "kill_and_resume",
    "several_processes",
    "chat",
    "kernels",
    "speed",
    "planned_memory",
)
# Every run; the whole check trains five times and runs with --long.
SHORT = ("environment", "base_model", "lora_bf16", "full", "offload", "copies_beside", "chat")
SCRIPT = ROOT / "benchmarks" / "gpu_check.py"


def check(report: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-P", str(SCRIPT), "--report", str(report), *arguments]
    done = subprocess.run(command, cwd=report.parent, capture_output=True, text=True, check=False)
    assert report.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(report.read_bytes())


@pytest.mark.timeout(900)  # five trainers, one after the other
def test_every_part_runs_from_a_wheel(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("hatchling", reason="building the wheel needs the extra `test`")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    parts = ALL if request.config.getoption("--long") else SHORT
    way = ("--wheel", str(wheel), "--device", "cpu", "--size", "toy", "--parts", *parts)
    status, report = check(tmp_path / "report.json", *way)
    assert [(part["part"], part.get("error")) for part in report["parts"]] == [
        (name, None) for name in parts
    ]
    assert status == 0
    assert report["ok"] is True
    assert report["from"] == wheel.name
    found = {part["part"]: part["found"] for part in report["parts"]}
    assert found["lora_bf16"]["tokens_per_s"] > 0
    assert found["lora_bf16"]["peak_rss_bytes"] > 0
    assert "offload_activations" in found["offload"]["refused"]
    if parts is SHORT:
        return
    assert found["kernels"]["attention"] == ""  # rows attend one by one on a processor
    assert found["speed"]["tokens per second, ftsdk"] > 0
    assert "MFU, of a large product measured here" in found["planned_memory"]
    assert found["float16"]["loss_scale"] >= 1
    assert found["eight_bit_averages"]["adamw_8bit"]["steps"] == 20
    assert found["qlora_nf4"]["share_of_bf16"] < 0.35
    assert found["kill_and_resume"]["same_bits"] is True
    assert found["kill_and_resume"]["resumed"].startswith("Resumed from step")


def test_a_part_that_fails_is_in_the_report(tmp_path: Path) -> None:
    """A machine without a CUDA device is not taken for one."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    status, report = check(tmp_path / "report.json", "--parts", "environment", "chat")
    assert status == 1
    assert report["ok"] is False
    assert [part["error"] for part in report["parts"]] == [
        "AssertionError: there is no CUDA device",
        "KeyError: 'lora'",
    ]
