"""Training on a GPU: ftsdk against TRL with FlashAttention and Liger's kernels, and Unsloth.

The models have random weights and are built from a config, so nothing is downloaded: one of a billion
weights with LoRA in bf16, and one of eight with QLoRA (NF4). What is not installed is left out and
named. Rows are of several lengths, so that padding costs what it costs.

Model FLOPs are counted as usual for LoRA: four for each weight of a layer or the head and each token
(two forward, two for the gradient of the input; frozen weights get none). Their rate is a share of what
a large bf16 product reaches on this device in the same run, and of the data sheet where the
device is known.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _processes import Aim, Figures, LeftOut, Processes, SideFailed
from _random_model import SIZES, rows_of, write_tokenizer
from _sides import STEP_ROWS, Task, has

WANTED_SPEED = 1.3
WANTED_UNSLOTH = 0.95
MOST_OVER_PLAN = 1.15
ROOMY_BYTES = 64e9
"""From this much memory on no side computes activations again."""
DATA_SHEET_TFLOPS = {
    "H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "A10": 125,
    "RTX 4090": 165, "RTX 3090": 71, "B200": 2250,
}  # fmt: skip
"""Dense bf16 products, in TFLOP/s, by a part of the device's name."""


@dataclass(frozen=True)
class Model:
    """A model to build: the sizes of a Llama, and how it is tuned."""

    name: str
    sizes: Mapping[str, Any]
    quantize: str | None
    rows: int
    words: int

    @property
    def weights(self) -> float:
        """Weights of the layers and the head, which every token meets."""
        size = self.sizes
        wide, inner, heads = (
            size["hidden_size"],
            size["intermediate_size"],
            size["num_attention_heads"],
        )
        shared = wide * size["num_key_value_heads"] // heads
        layer = 2 * wide * wide + 2 * wide * shared + 3 * wide * inner
        return float(size["num_hidden_layers"] * layer + wide * size["vocab_size"])


def _sizes(layers: int, wide: int, inner: int, heads: int, vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": wide,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 4),
        "max_position_embeddings": 4096,
        "tie_word_embeddings": layers <= 16,
    }


MODELS = (
    Model("1B, LoRA in bf16", _sizes(16, 2048, 8192, 32, 128256), None, 128, 400),
    Model("8B, QLoRA", _sizes(32, 4096, 14336, 32, 128256), "nf4", 64, 400),
)
LAYERS_OF_8B = Model("layers of an 8B, QLoRA", _sizes(8, 4096, 14336, 32, 128256), "nf4", 32, 400)
"""A quarter of its layers: what takes a minute instead of five."""
TOY = Model("toy, LoRA", _sizes(2, 32, 64, 4, 320), None, 32, 6)


def benchmark(processes: Processes, device: str) -> int:
    """Both models; prints a table for each, and returns 1 when an aim is missed."""
    missed = False
    for model in MODELS:
        print(f"--- {model.name}", flush=True)
        found = compare(processes, model, device)
        for aim in [*judge(found, model), *processes.left_out()]:
            missed |= aim.reached is False
            print(aim, flush=True)
    return int(missed)


@dataclass(frozen=True)
class Found:
    """What was measured of a model: sides by name, why others are missing, the plan, the rate of products."""

    sides: Mapping[str, Figures]
    missing: Mapping[str, str]
    planned_bytes: float
    tflops: float
    device: str


def compare(
    processes: Processes, model: Model, device: str, only: Sequence[str] | None = None
) -> Found:
    """Train the model on every side that is installed, or on those of `only`, ours first.

    Raises `LeftOut` when the time ends before ours.
    """
    folder = processes.folder(model.name.partition(",")[0]) / "model"
    _write(model, folder, device)
    tasks = {
        name: task for name, task in _tasks(model, folder, device) if only is None or name in only
    }
    plan = processes.run("plan", tasks["ftsdk"].of_side("plan")).facts
    sides: dict[str, Figures] = {}
    missing = dict(_missing())
    for name, task in tasks.items():
        try:
            sides[name] = processes.run(name, task)
        except (LeftOut, SideFailed) as error:
            if name == "ftsdk":
                raise
            missing[name] = str(error).strip().rpartition("\n")[2][:300]
            continue
        print(f"{name:24} {sides[name]}", flush=True)
    shutil.rmtree(folder)
    return Found(sides, missing, plan["planned_bytes"], plan["tflops"], plan["device"])


def judge(found: Found, model: Model) -> Iterator[Aim]:
    """Yield the aims beside what was found."""
    ours = found.sides["ftsdk"]
    for name, theirs in found.sides.items():
        if name == "ftsdk":
            continue
        wanted = WANTED_UNSLOTH if name == "unsloth" else WANTED_SPEED
        ratio, memory = ours.steady / theirs.steady, ours.peak_bytes / theirs.peak_bytes
        yield Aim(f"tokens per second : {name}", f"{ratio:.2f}", f">= {wanted}", ratio >= wanted)
        yield Aim(f"peak memory : {name}", f"{memory:.2f}", "<= 1", memory <= 1)
    for name, why in found.missing.items():
        yield Aim(f"{name} is left out: {why}", "")
    flops = 4 * model.weights * ours.steady
    yield Aim("MFU, of a large product measured here", f"{flops / found.tflops / 1e12:.1%}")
    for part, tflops in DATA_SHEET_TFLOPS.items():
        if part in found.device:
            yield Aim(f"MFU, of the data sheet of the {part}", f"{flops / tflops / 1e12:.1%}")
            break
    if ours.facts.get("peak_gpu_bytes"):
        over = found.planned_bytes / ours.peak_bytes
        fits = 1 <= over <= MOST_OVER_PLAN
        yield Aim("memory, planned : measured", f"{over:.2f}", f"1 to {MOST_OVER_PLAN}", fits)
    yield Aim("last loss, finite", f"{ours.facts['last_loss']:.3f}", "", reached=True)


def _tasks(model: Model, folder: Path, device: str) -> Iterator[tuple[str, Task]]:
    """Yield each side that can run here."""
    on_cuda = device != "cpu"
    ours = Task(
        side="ftsdk",
        model=str(folder),
        data=str(folder / "rows.jsonl"),
        out="",
        rows=model.rows,
        device=device,
        dtype="bf16" if on_cuda else "float32",
        quantize=model.quantize,
    )
    yield "ftsdk", ours
    if has("trl"):
        yield "TRL's defaults", dataclasses.replace(ours, side="trl")
        flash = on_cuda and has("flash_attn")
        settings = {"gradient_checkpointing": not _is_roomy(device)}
        if on_cuda and has("liger_kernel"):
            settings["use_liger_kernel"] = True
        yield (
            "TRL + FlashAttention" if flash else "TRL, padded",
            dataclasses.replace(
                ours,
                side="trl",
                settings=settings,
                layout="padding_free" if flash else "grouped",
                attention="flash_attention_2" if flash else "sdpa",
            ),
        )
    if on_cuda and has("unsloth"):
        settings = {"gradient_checkpointing": not _is_roomy(device)}
        yield "unsloth", dataclasses.replace(ours, side="unsloth", settings=settings)


def _missing() -> Iterator[tuple[str, str]]:
    for package in ("trl", "flash_attn", "liger_kernel", "unsloth"):
        if not has(package):
            yield package, "it is not installed"


def _is_roomy(device: str) -> bool:
    if device == "cpu":
        return True
    import torch

    return bool(torch.cuda.get_device_properties(device).total_memory >= ROOMY_BYTES)


def _write(model: Model, folder: Path, device: str) -> None:
    """Write the model and its rows."""
    size = dataclasses.replace(SIZES["gpu"], words=model.words, rows=model.rows)
    write_tokenizer(folder)
    lines = "".join(json.dumps(row) + "\n" for row in rows_of(size))
    (folder / "rows.jsonl").write_text(lines)
    sizes = json.dumps({**model.sizes, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
    # In a process of its own: the memory of the weights is free again when the sides run.
    subprocess.run([sys.executable, __file__, str(folder), sizes, device], check=True)


def build(folder: Path, sizes: Mapping[str, Any], device: str) -> None:
    """Write a Llama with random weights in bf16, made on the device."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        network = LlamaForCausalLM(LlamaConfig(**sizes))
    network.save_pretrained(folder)


def plan_and_peak(task: Task) -> dict[str, Any]:
    """What the planner says that our side takes, and the TFLOP/s of a large product on the device."""
    import torch
    from _matrix_limit import timed

    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.training.footprint.program import answer
    from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
    from ftsdk.dataset.tokenize.render import render_rows

    rows, _ = render_rows(task.read_rows(), ChatTokenizer.from_folder(Path(task.model)))
    hardware = choose_hardware(task.device, "bf16" if task.dtype == "bf16" else "float32")
    plan = answer(
        {
            "folder": task.model,
            "config": None,
            "device": task.device,
            "dtype": task.dtype,
            "adapter": {"rank": task.lora.rank, "quantize": task.quantize},
            "card_bytes": None,
            "asked": {"longest": max(len(row) for row in rows), "rows": STEP_ROWS},
        }
    )
    items = plan["items"]
    outside = items.get("process and libraries", 0) + items.get("kept by the allocator", 0)
    wide = 8192 if hardware.on_cuda else 256
    one = torch.randn(wide, wide, device=hardware.device, dtype=hardware.dtype)
    timed(lambda: one @ one, hardware.device)
    best_s = min(timed(lambda: one @ one, hardware.device)[0] for _ in range(5))
    name = torch.cuda.get_device_name(hardware.device) if hardware.on_cuda else "cpu"
    return {
        "planned_bytes": sum(items.values()) - outside if items else math.nan,
        "tflops": 2 * wide**3 / best_s / 1e12,
        "device": name,
    }


if __name__ == "__main__":
    build(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3])
