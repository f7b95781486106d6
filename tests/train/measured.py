"""The memory of real training steps, measured in a process of its own: `python -m … QUESTION`."""

from __future__ import annotations

import json
import os
import random
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


def _examples(method: str, lengths: list[int]) -> tuple[list[Any], Any]:
    """Rows of these lengths, or pairs of two each, and what their losses have in common."""
    from array import array

    from ftsdk.backends.local.training.objectives.dpo import Counts
    from ftsdk.backends.local.training.objectives.pairs import Pair
    from ftsdk.dataset.tokenize.render import Rendered

    rows = [Rendered(array("i", [k % 300 for k in range(n)]), b"\x01" * n) for n in lengths]
    if method == "sft":
        return rows, 100
    pairs = [Pair(*two, (-1.0, -1.0)) for two in zip(rows[::2], rows[1::2], strict=True)]
    return pairs, Counts(len(pairs), sum(lengths))


def drawn(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model and a run drawn by a seed: large enough that its tensors outweigh the libraries."""
    draw = random.Random(seed)
    heads = draw.choice([4, 8])
    config = {
        "hidden_size": heads * draw.choice([32, 48, 64]), "num_attention_heads": heads,
        "num_key_value_heads": draw.choice([heads, heads // 2]), "intermediate_size": 1024,
        "num_hidden_layers": draw.randint(4, 8), "max_position_embeddings": 4096,
        "initializer_range": 0.02,
    }  # fmt: skip
    config["intermediate_size"] = draw.choice([2, 3, 4]) * config["hidden_size"]
    length = draw.choice([256, 384, 512, 768])
    shape = {
        "adapter": draw.choice([{"rank": 16}, {"rank": 64}, None, {"rank": 16, "quantize": "nf4"}]),
        "lengths": [length] * max(1, draw.choice([1024, 2048]) // length),
        "again": draw.random() < 0.4,
    }
    return config, shape


def main(folder: Path, shape: dict[str, Any]) -> dict[str, Any]:
    import peft  # noqa: F401  # a trainer has it before it loads a model
    import safetensors.torch  # noqa: F401
    import torch

    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.compute.skeleton import config_of
    from ftsdk.backends.local.training.footprint.asked import Asked
    from ftsdk.backends.local.training.footprint.device_room import FIRST_USE, process_bytes
    from ftsdk.backends.local.training.footprint.lean import give_memory_back
    from ftsdk.backends.local.training.footprint.planner import Room
    from ftsdk.backends.local.training.footprint.program import plan_memory
    from ftsdk.backends.local.training.model import load_for_training
    from ftsdk.backends.local.training.objectives.choose import objective_of
    from ftsdk.backends.local.training.optimizer import FlatAdamW
    from ftsdk.backends.local.training.row_path import BatchSize
    from ftsdk.types.spec import LoRA
    from tests.train import tiny

    adapter, lengths = shape["adapter"], shape["lengths"]
    options = {"dtype": "float32", "threads": 2, "gradient_checkpointing": shape["again"]}
    lora = adapter and {"dropout": 0.0, **adapter}
    spec = tiny.spec(folder, adapter=lora, options=options, method=shape.get("method", "sft"))
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
    objective = objective_of(spec)
    examples, common = _examples(spec.method, lengths)
    for _ in range(shape.get("steps", 3)):
        optimizer.zero_gradient()
        loss = objective.loss_of(model, examples, common).loss
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
    pair = sum(lengths[:2]) if spec.method == "dpo" else None
    asked = Asked(
        max(lengths), len(lengths), sum(lengths), shape["again"], method=spec.method, example=pair
    )
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
