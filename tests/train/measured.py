"""The memory of real training steps, measured in a process of its own: `python -m … QUESTION`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def measure(folder: Path, shape: dict[str, Any]) -> dict[str, Any]:
    """Train three steps as a trainer does; returns the bytes planned and those measured."""
    from ftsdk.backends.local.runs.environment import trainer_environment

    environment = trainer_environment({**os.environ, "PYTHONPATH": str(ROOT)}, 2)
    command = [sys.executable, "-W", "ignore", "-m", "tests.train.measured", str(folder)]
    done = subprocess.run(
        [*command, json.dumps(shape)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().split("\n")[-1])
    return found


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().split("\n"):
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise AssertionError(name)


def _forget_pages_of(folder: Path) -> None:
    """Let the kernel take back the pages of the files that were read: those used again come back.

    It does so itself when memory is short. Packed weights leave the pages of all others behind.
    """
    import ctypes

    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in Path("/proc/self/maps").read_text().split("\n"):
        if line.endswith(".safetensors") and str(folder) in line:
            start, end = (int(place, 16) for place in line.split()[0].split("-"))
            assert madvise(start, end - start, 4) == 0  # MADV_DONTNEED


def main(folder: Path, shape: dict[str, Any]) -> dict[str, Any]:
    from array import array

    import peft  # noqa: F401  # a trainer has it before it loads a model
    import safetensors.torch  # noqa: F401
    import torch

    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.compute.skeleton import config_of
    from ftsdk.backends.local.training.batches import PackedBatch
    from ftsdk.backends.local.training.footprint.device_room import FIRST_USE, process_bytes
    from ftsdk.backends.local.training.footprint.lean import give_memory_back
    from ftsdk.backends.local.training.footprint.planner import Asked, Room
    from ftsdk.backends.local.training.footprint.program import plan_memory
    from ftsdk.backends.local.training.model import load_for_training
    from ftsdk.backends.local.training.optimizer import FlatAdamW
    from ftsdk.backends.local.training.row_path import BatchSize
    from ftsdk.dataset.tokenize.render import Rendered
    from ftsdk.types.spec import LoRA
    from tests.train import tiny

    adapter, lengths = shape["adapter"], shape["lengths"]
    options = {"dtype": "float32", "threads": 2, "gradient_checkpointing": shape["again"]}
    spec = tiny.spec(folder, adapter=adapter and {"dropout": 0.0, **adapter}, options=options)
    if adapter is None:
        spec = spec.model_copy(update={"adapter": None})
    hardware = choose_hardware("cpu", "float32", 2)
    if adapter and adapter.get("quantize"):
        import bitsandbytes  # noqa: F401
    import transformers.models.auto.modeling_auto

    transformers.models.auto.modeling_auto.AutoModelForCausalLM  # noqa: B018
    process = process_bytes()
    if shape["lean"]:
        assert give_memory_back()
    torch.manual_seed(0)
    model = load_for_training(spec, hardware, BatchSize(8, 8))
    optimizer = FlatAdamW(model.owner.named_parameters(), weight_decay=0.0)
    _forget_pages_of(folder)
    Path("/proc/self/clear_refs").write_text("5")
    rows = [Rendered(array("i", [k % 300 for k in range(n)]), b"\x01" * n) for n in lengths]
    for _ in range(shape.get("steps", 2)):
        optimizer.zero_gradient()
        loss = model.loss_sum(PackedBatch.of(rows, hardware.device)) / 100
        loss.backward()
        optimizer.collect()
        optimizer.clip(1.0)
        optimizer.step(1e-4)
        del loss
    peak = _status("VmHWM")
    given = (
        None
        if spec.adapter is None
        else LoRA.model_validate(spec.adapter.model_dump(exclude={"kind"}))
    )
    asked = Asked(max(lengths), len(lengths), sum(lengths), shape["again"])
    tight = Room("cpu", "this", 1 if shape["lean"] else 1 << 60, process)
    plan = plan_memory(config_of(folder), given, asked, torch.float32, tight)
    assert plan.unknown is None, plan.unknown
    assert plan.lean == shape["lean"]
    return {
        "items": dict(plan.items),
        "planned": plan.peak_bytes - process + FIRST_USE,
        "measured": peak - process + FIRST_USE,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), json.loads(sys.argv[2]))))  # its answer
