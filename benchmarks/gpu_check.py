"""What a machine with a CUDA device is asked, in under ten minutes; the answer is one JSON report.

    python benchmarks/gpu_check.py [--wheel FILE] [--device cpu --size toy] [--report gpu-check.json]

It needs no network: the models have random weights and are written by this script. It trains through
the public interface (LoRA in bf16 and float16, QLoRA on NF4, all weights, 8-bit averages, offloaded
activations), kills a trainer and resumes its run, chats with a result, and compares rows laid end to
end with the same rows alone, on the device. With `--wheel` all of that runs from the wheel, in place of what is installed. Without a GPU,
`--device cpu --size toy` runs every part at toy size, so that the check itself is known to work.

The exit status is 1 when a part failed or was left out, unless it was left out with `--parts`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))  # `-P` leaves it out
from _random_model import SIZES, Size, rows_of, shape, write_tokenizer

BUDGET_S = 600.0
"""The whole check; a part that would begin after `LAST_START_S` is left out."""
LAST_START_S = 540.0
PACKAGES = (
    "torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "triton",
    "liger-kernel", "flash-attn", "trl",
)  # fmt: skip
COMPARED = ("ftsdk", "TRL + FlashAttention")


@dataclass
class Check:
    """The state of one check: what it runs with, and what its parts found."""

    client: Any
    scratch: Path
    device: str
    size: Size
    model: Path = field(default_factory=Path)
    jobs: dict[str, Any] = field(default_factory=dict)
    deadline: float = field(default_factory=lambda: time.monotonic() + BUDGET_S)

    def train(self, name: str, *, steps: int | None = None, **options: Any) -> dict[str, Any]:
        """Train one job to its end; returns its figures. Raises when it does not succeed."""
        job = self.jobs[name] = self.start(name, steps=steps, **options)
        job.wait(timeout=BUDGET_S)
        return self.figures(job)

    def start(self, name: str, *, steps: int | None = None, **options: Any) -> Any:
        """Create the job; it trains in a process of its own."""
        more = options.pop("provider_options", {})
        return self.client.create_job(
            rows_of(self.size),
            provider="local",
            model=str(self.model),
            key=name,
            seed=7,
            hyperparameters={
                "max_steps": steps or self.size.steps,
                "batch_size": self.size.batch,
                "max_length": 4096,
                # All weights of a large model move too far at the rate of an adapter.
                "learning_rate": min(self.size.learning_rate, 3e-4)
                if options.get("adapter", "") is None and self.size.width > 256
                else self.size.learning_rate,
            },
            provider_options={
                "device": self.device,
                "processes": 1,
                "checkpoint_every_s": 3600.0,
                **more,
            },
            **options,
        )

    def folder(self, job: Any) -> Path:
        """The run directory of a job."""
        return self.scratch / "home" / "runs" / str(job.id)

    def event_lines(self, name: str) -> list[str]:
        """The lines of the event log of a job."""
        text = (self.folder(self.jobs[name]) / "events.jsonl").read_text("utf-8")
        return [line for line in text.split("\n") if line]

    def figures(self, job: Any) -> dict[str, Any]:
        """Losses, speed and memory of a finished job. Raises `AssertionError` when it learned nothing."""
        assert str(job.refresh().status) == "succeeded", f"{job.status}: {job.snapshot.message}"
        losses = [p.train_loss for p in job.metrics() if p.train_loss is not None]
        outcome = json.loads((self.folder(job) / "outcome.json").read_bytes())
        weights = json.loads((self.folder(job) / "result" / "ftsdk.json").read_bytes())["weights"]
        found = {
            "first_loss": losses[0],
            "last_loss": losses[-1],
            "steps": outcome["steps"],
            "tokens_per_s": round(outcome["trained_tokens"] / max(outcome["train_s"], 1e-9), 1),
            "train_s": outcome["train_s"],
            "peak_gpu_bytes": outcome.get("peak_gpu_bytes"),
            "peak_rss_bytes": outcome["peak_rss_bytes"],
            **weights,
        }
        assert losses[-1] < 0.8 * losses[0], f"the loss went from {losses[0]} to {losses[-1]}"
        assert found["flat_batches"] is True, found.get("row_by_row_because")
        on_gpu = self.device != "cpu"
        assert bool(found["peak_gpu_bytes"]) == on_gpu, "trained on another device than asked"
        return found


# --- the parts --------------------------------------------------------------------------------


def environment(check: Check) -> dict[str, Any]:
    """Versions, and the device."""
    import torch

    found: dict[str, Any] = {"device": check.device, "cpus": os.cpu_count()}
    if check.device != "cpu":
        assert torch.cuda.is_available(), "there is no CUDA device"
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "name": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "memory_bytes": properties.total_memory,
            "cuda": torch.version.cuda,
            "bf16": torch.cuda.is_bf16_supported(),
        }
    return found


def base_model(check: Check) -> dict[str, Any]:
    """Write the base model: a Llama with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = check.scratch / "model"
    torch.manual_seed(0)
    config = LlamaConfig(**shape(check.size, write_tokenizer(folder)))
    network = LlamaForCausalLM(config).to(torch.bfloat16)
    network.save_pretrained(folder)
    check.model = folder
    return {"parameters": sum(p.numel() for p in network.parameters())}


def rows_laid_end_to_end(check: Check) -> dict[str, Any]:
    """Loss and gradients of rows laid end to end are those of each row alone, on this device."""
    import torch

    found = {}
    for name in ("causal", "window", "chunk", "capped", "padded"):
        for dtype, allowed in ((torch.float32, 1e-3), (torch.bfloat16, 0.05)):
            error = flat_error(name, dtype, torch.device(check.device))
            found[f"{name}, {str(dtype).removeprefix('torch.')}"] = error
            assert error < allowed, f"{name} in {dtype}: gradients differ by {error:.2g}"
    return found


def lora_bf16(check: Check) -> dict[str, Any]:
    """LoRA on a bf16 base."""
    return check.train("lora", provider_options={"dtype": "bf16"})


def qlora_nf4(check: Check) -> dict[str, Any]:
    """QLoRA on an NF4 base, whose linear weights take about a quarter of those in bf16."""
    from ftsdk import LoRA

    found = check.train("qlora", adapter=LoRA(quantize="nf4"), provider_options={"dtype": "bf16"})
    plain = check.figures(check.jobs["lora"])["linear_weight_bytes"]
    found["share_of_bf16"] = round(found["linear_weight_bytes"] / plain, 4)
    assert found["share_of_bf16"] < 0.35, found["share_of_bf16"]
    return found


def full(check: Check) -> dict[str, Any]:
    """Full fine-tuning: all weights."""
    return check.train("full", adapter=None, provider_options={"dtype": "bf16"})


def float16(check: Check) -> dict[str, Any]:
    """LoRA in float16, whose loss is scaled, against the same run in bf16."""
    found = check.train("float16", provider_options={"dtype": "float16"})
    events = [json.loads(line) for line in check.event_lines("float16")]
    scales = [event["loss_scale"] for event in events if "loss_scale" in event]
    skipped = max(event.get("skipped_steps", 0) for event in events)
    assert skipped < found["steps"] // 4, f"{skipped} of {found['steps']} steps were skipped"
    other = check.figures(check.jobs["lora"])["last_loss"]
    assert abs(found["last_loss"] - other) / other < 0.2, f"bf16 ended at {other}"
    return {**found, "loss_scale": scales[-1], "skipped_steps": skipped}


def eight_bit_averages(check: Check) -> dict[str, Any]:
    """All weights with AdamW's averages in 8 bits, and on a GPU in pages."""
    kinds = ["adamw_8bit"] if check.device == "cpu" else ["adamw_8bit", "paged_adamw_8bit"]
    full = check.figures(check.jobs["full"])
    found: dict[str, Any] = {}
    for kind in kinds:
        settings = {"dtype": "bf16", "optimizer": kind}
        found[kind] = check.train(kind, adapter=None, provider_options=settings)
        change = abs(found[kind]["last_loss"] - full["last_loss"]) / full["last_loss"]
        assert change < 0.2, (
            f"{kind} ended at {found[kind]['last_loss']}, adamw at {full['last_loss']}"
        )
        if full["peak_gpu_bytes"]:
            saved = (full["peak_gpu_bytes"] - found[kind]["peak_gpu_bytes"]) / full["parameters"]
            found[kind]["saved_bytes_per_weight"] = round(saved, 2)
            assert saved > 4, f"{kind} saves {saved:.2f} bytes a weight"
    return found


def offload(check: Check) -> dict[str, Any]:
    """Inputs of layers in the machine's memory: less of the GPU's, and the same result."""
    if check.device == "cpu":
        from ftsdk.errors import Unsupported

        try:
            check.start("offloaded", provider_options={"offload_activations": True})
        except Unsupported as error:
            return {"refused": error.what}
        raise AssertionError("there is nothing to offload to, and it was not refused")
    found = {}
    for name, asked in (("kept", False), ("offloaded", True)):
        settings = {"dtype": "bf16", "gradient_checkpointing": True, "offload_activations": asked}
        found[name] = check.train(name, provider_options=settings)
    kept, away = found["kept"], found["offloaded"]
    saved = kept["peak_gpu_bytes"] - away["peak_gpu_bytes"]
    change = abs(away["last_loss"] - kept["last_loss"]) / kept["last_loss"]
    assert saved > 0, f"it takes {-saved} bytes more"
    assert change < 0.02, f"the last loss differs by {change:.2%}"
    facts = {"saved_bytes": saved, "loss_change": change}
    slower = away["train_s"] / kept["train_s"]
    return {**found, **facts, "slower": slower, "same_bits": same_bits(check, "kept", "offloaded")}


def copies_beside(check: Check) -> dict[str, Any]:
    """The copies of offloaded inputs have the bits of what was copied, in and out of order."""
    if check.device == "cpu":
        return {"left_out": "a processor has no streams"}
    import torch

    from ftsdk.backends.local.compute.offload import StreamCopies

    copies = StreamCopies(torch.device(check.device))
    for _ in range(20):
        tensors = [torch.randn(2048, 2048, device=check.device) for _ in range(8)]
        wanted = [tensor.sum().item() for tensor in tensors]
        stored = [copies.store(tensor) for tensor in tensors]
        del tensors
        torch.randn(4096, 4096, device=check.device).square_()  # takes the memory that is free
        for sum_before, one in list(zip(wanted, stored, strict=True))[::-1]:
            tensor, arrival = copies.fetch(one)
            copies.wait(arrival)
            assert tensor.sum().item() == sum_before, "a copy has other bits"
    return {"copies": 160}


def kill_and_resume(check: Check) -> dict[str, Any]:
    """A trainer that is killed and resumed ends where an undisturbed one does."""
    settings = {"dtype": "bf16", "checkpoint_every_steps": check.size.killed_steps // 6}
    steps = check.size.killed_steps
    undisturbed = check.train("undisturbed", steps=steps, provider_options=settings)
    job = check.jobs["killed"] = check.start("killed", steps=steps, provider_options=settings)
    until(lambda: bool(job.checkpoints()) or job.refresh().is_final, "a checkpoint")
    pid = trainer_of(check.folder(job))
    os.kill(pid, signal.SIGKILL)
    until(lambda: job.refresh().is_final, "the end of the killed run")
    assert str(job.status) == "failed", f"the killed run is {job.status}"
    job.resume().wait(timeout=BUDGET_S)
    found = check.figures(job)
    events = [e.message for e in job.events()]
    resumed = [message for message in events if message.startswith("Resumed from step")]
    assert resumed, "the run began again"
    change = abs(found["last_loss"] - undisturbed["last_loss"]) / undisturbed["last_loss"]
    equal = same_bits(check, "undisturbed", "killed")
    assert change < 0.02, f"the last loss differs by {change:.2%}"
    assert equal or check.device != "cpu", "the weights differ"
    return {**found, "resumed": resumed[0], "loss_change": change, "same_bits": equal}


def several_processes(check: Check) -> dict[str, Any]:
    """Two processes, on a GPU each, have the losses of one: dividing rows, and weights as well."""
    import torch

    if check.device != "cpu" and torch.cuda.device_count() < 2:
        return {"left_out": "there is one GPU"}
    found: dict[str, Any] = {}
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "ddp": ("lora", {}),
        "ddp again": ("lora", {}),
        "fsdp": ("full", {"adapter": None}),
    }
    for name, (alone, more) in ways.items():
        settings = {"dtype": "bf16", "processes": 2, "sharding": name.split()[0]}
        found[name] = check.train(name, provider_options=settings, **more)
        one = check.figures(check.jobs[alone])
        change = abs(found[name]["last_loss"] - one["last_loss"]) / one["last_loss"]
        found[name] |= {
            "loss_change": change,
            "faster": round(found[name]["tokens_per_s"] / one["tokens_per_s"], 2),
        }
        assert change < 0.1, f"{name}: the last loss differs by {change:.2%}"
    found["same_bits"] = same_bits(check, "ddp", "ddp again")
    assert found["same_bits"], "two runs of the same processes have other weights"
    return found


def chat(check: Check) -> dict[str, Any]:
    """Chat with the results of LoRA and of full fine-tuning, and with the base."""
    found: dict[str, Any] = {}
    [asked, wanted] = rows_of(check.size)[0]["messages"]
    for name in ("lora", "full"):
        model = check.jobs[name].result()
        model.chat([asked], max_tokens=4, device=check.device)  # loads the model
        started = time.perf_counter()
        answer = model.chat([asked], max_tokens=64, device=check.device)
        took_s = time.perf_counter() - started
        tokens = answer.usage["completion_tokens"]
        found[name] = {
            "text": answer.text[:200],
            "tokens": tokens,
            "tokens_per_s": round(tokens / took_s, 1),
            "begins_as_trained": wanted["content"].startswith(answer.text[:3]),
        }
        assert tokens, f"{name}: an empty answer"
    return found


def kernels(check: Check) -> dict[str, Any]:
    """Which kernels compute right on this device; each is compared with plain code, gradients too."""
    import torch

    from ftsdk.backends.local.compute import liger, varlen

    device = torch.device(check.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    heads = varlen.Heads(check.size.heads, check.size.heads // 2, 64, windows=True)
    found: dict[str, Any] = {"attention": varlen.choose(heads, device, dtype)[1]}
    if importlib.util.find_spec("liger_kernel") is not None:
        chosen = liger.choose(device, dtype)
        found |= {"liger": list(chosen.names), "liger_not_used": dict(chosen.differs)}
    return found


def speed(check: Check) -> dict[str, Any]:
    """LoRA in bf16 on a billion weights: tokens per second, MFU and memory, beside TRL's."""
    return compared(check, "1B, LoRA in bf16", COMPARED if check.device != "cpu" else None)


def planned_memory(check: Check) -> dict[str, Any]:
    """QLoRA on layers of an 8B: the memory that was planned, against what was used."""
    return compared(check, "layers of an 8B, QLoRA", ("ftsdk",))


def compared(check: Check, name: str, only: tuple[str, ...] | None) -> dict[str, Any]:
    """Train a model on these sides. Raises `AssertionError` when an aim is missed on a GPU."""
    from _gpu_sides import LAYERS_OF_8B, MODELS, TOY, compare, judge
    from _processes import Processes

    on_gpu = check.device != "cpu"
    model = {one.name: one for one in (*MODELS, LAYERS_OF_8B)}[name] if on_gpu else TOY
    folder = Path(tempfile.mkdtemp(dir=check.scratch))
    left_s = max(0.0, check.deadline - time.monotonic())
    found = compare(Processes(folder, left_s / 60), model, check.device, only)
    aims = list(judge(found, model))
    for aim in aims:
        print(f"       {aim}", flush=True)
    missed = [str(aim) for aim in aims if aim.reached is False]
    assert not (on_gpu and missed), "; ".join(missed)
    rates = {f"tokens per second, {one}": round(s.steady, 1) for one, s in found.sides.items()}
    return {aim.name: aim.value for aim in aims} | rates


PARTS: Mapping[str, Callable[[Check], dict[str, Any]]] = {
    "environment": environment,
    "base_model": base_model,
    "rows_laid_end_to_end": rows_laid_end_to_end,
    "lora_bf16": lora_bf16,
    "qlora_nf4": qlora_nf4,
    "full": full,
    "float16": float16,
    "eight_bit_averages": eight_bit_averages,
    "offload": offload,
    "copies_beside": copies_beside,
    "kill_and_resume": kill_and_resume,
    "several_processes": several_processes,
    "chat": chat,
    "kernels": kernels,
    "speed": speed,
    "planned_memory": planned_memory,
}


# --- what the parts use -----------------------------------------------------------------------


def flat_error(name: str, dtype: Any, device: Any) -> float:
    """How far the gradient of rows together is from that of each alone, relative to its norm."""
    import torch
    from transformers import (
        Gemma2Config,
        Gemma2ForCausalLM,
        Llama4ForCausalLM,
        Llama4TextConfig,
        MambaConfig,
        MambaForCausalLM,
        MistralConfig,
        MistralForCausalLM,
    )  # fmt: skip

    from ftsdk.backends.local.compute.varlen import choose_for
    from ftsdk.backends.local.training.batches import PackedBatch
    from ftsdk.backends.local.training.forward import next_token_logits
    from ftsdk.backends.local.training.row_path import BatchSize, choose_row_path
    from ftsdk.dataset.tokenize.render import Rendered

    small = shape(SIZES["toy"], 320, head_dim=16, initializer_range=0.1)
    torch.manual_seed(0)
    if name == "chunk":
        moe = {"intermediate_size_mlp": 64, "num_local_experts": 2, "pad_token_id": 0}
        config = Llama4TextConfig(**small | moe, attention_chunk_size=16)
        network = Llama4ForCausalLM(config)
    elif name == "capped":
        network = Gemma2ForCausalLM(Gemma2Config(**small, attn_logit_softcapping=2.0))
    elif name == "padded":
        config = MambaConfig(vocab_size=320, hidden_size=64, num_hidden_layers=2, state_size=8)
        network = MambaForCausalLM(config)
    else:
        window = 16 if name == "window" else None
        network = MistralForCausalLM(MistralConfig(**small, sliding_window=window))
    network = network.to(device, dtype)
    choose_for(network)
    source = random.Random(1)
    lengths = (70, 33, 16, 5)
    rows = [
        Rendered(array_of([source.randrange(3, 320) for _ in range(n)]), b"\1" * n) for n in lengths
    ]

    def gradient(batches: list[list[Rendered]]) -> torch.Tensor:
        network.zero_grad(set_to_none=True)
        for batch in batches:
            packed = PackedBatch.of(batch, device, padded=name == "padded")
            logits = next_token_logits(network, packed).float()
            torch.nn.functional.cross_entropy(logits, packed.targets, reduction="sum").backward()
        grads = [p.grad.flatten().float() for p in network.parameters() if p.grad is not None]
        return torch.cat(grads)

    alone = gradient([[row] for row in rows])
    path = choose_row_path(network, device, BatchSize.of(lengths, len(lengths), 4096))
    assert path.way == ("padded" if name == "padded" else "flat"), f"{name}: {path}"
    together = gradient([rows])
    return float((alone - together).norm() / alone.norm())


def array_of(values: list[int]) -> Any:
    """The token ids of a row, as `Rendered` keeps them."""
    from array import array

    return array("i", values)


def until(ready: Callable[[], bool], what: str, timeout_s: float = 180.0) -> None:
    """Wait until `ready()`; raises `AssertionError` when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(0.05)


def trainer_of(run: Path) -> int:
    """The process id of the trainer of a run. Raises `AssertionError` when it is not running."""
    supervisor = json.loads((run / "pid.json").read_bytes())["supervisor_pid"]
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
    found = children.read_text().split() if children.exists() else []
    assert found, "the trainer ended before it was killed"
    return int(found[0])


def same_bits(check: Check, one: str, other: str) -> bool:
    """True when two jobs wrote the same adapter."""
    from safetensors.torch import load_file

    files = [
        load_file(check.folder(check.jobs[name]) / "result" / "adapter_model.safetensors")
        for name in (one, other)
    ]
    return files[0].keys() == files[1].keys() and all(
        bool((files[0][name] == files[1][name]).all()) for name in files[0]
    )


# --- the check --------------------------------------------------------------------------------


def run_parts(check: Check, wanted: list[str], started: float) -> list[dict[str, Any]]:
    """Run the parts one after the other; a part that fails does not stop those that need it not."""
    found = []
    for name, part in PARTS.items():
        if name not in wanted:
            continue
        record: dict[str, Any] = {"part": name}
        begun = time.monotonic()
        if begun - started > LAST_START_S:
            record |= {"ok": False, "error": "left out: no time was left"}
        else:
            try:
                record |= {"ok": True, "found": part(check)}
            except Exception as error:  # noqa: BLE001  # each part's failure is one line of the report
                traceback.print_exc()
                record |= {"ok": False, "error": f"{type(error).__name__}: {error}"[:2000]}
        record["seconds"] = round(time.monotonic() - begun, 2)
        found.append(record)
        print(f"{'ok    ' if record['ok'] else 'FAILED'} {name:22} {record['seconds']:7.1f} s  "
              f"{record.get('error', '')[:200]}", flush=True)  # fmt: skip
    return found


def from_wheel(wheel: Path, arguments: list[str]) -> int:
    """Run this script again with the content of a wheel before everything that is installed."""
    with tempfile.TemporaryDirectory(prefix="ftsdk-wheel-") as folder:
        unpack = [sys.executable, "-m", "zipfile", "-e", str(wheel), folder]
        subprocess.run(unpack, check=True)
        environment = {**os.environ, "PYTHONPATH": folder, "FTSDK_GPU_CHECK_WHEEL": wheel.name}
        command = [sys.executable, "-P", str(Path(__file__).resolve()), *arguments]
        return subprocess.run(command, env=environment, check=False).returncode


def main() -> int:
    """Run the check, write the report; 1 when a part failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--wheel", type=Path, help="run from this wheel of ftsdk")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--size", default="gpu", choices=sorted(SIZES))
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--report", type=Path, default=Path("gpu-check.json"))
    given = parser.parse_args()
    if given.wheel is not None:
        rest = ["--device", given.device, "--size", given.size, "--report", str(given.report)]
        return from_wheel(given.wheel, [*rest, "--parts", *given.parts])
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    import ftsdk
    from ftsdk.config import Config

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ftsdk-gpu-check-") as folder:
        scratch = Path(folder)
        client = ftsdk.Client(home=scratch / "home", config=Config(env={}), env={})
        check = Check(client, scratch, given.device, SIZES[given.size])
        parts = run_parts(check, given.parts, started)
        client.close()
    report = {
        "ok": all(part["ok"] for part in parts),
        "ftsdk": ftsdk.__version__,
        "from": os.environ.get("FTSDK_GPU_CHECK_WHEEL", str(Path(ftsdk.__file__).parent)),
        "size": given.size,
        "python": platform.python_version(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "seconds": round(time.monotonic() - started, 1),
        "parts": parts,
    }
    given.report.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print(f"{'ok' if report['ok'] else 'FAILED'}: {report['seconds']} s, {given.report}")
    return 0 if report["ok"] else 1


def version_of(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
