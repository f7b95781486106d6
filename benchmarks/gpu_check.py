"""What a machine with a CUDA device is asked, in under eight minutes; the answer is one JSON report.

    python benchmarks/gpu_check.py [--wheel FILE] [--device cpu --size toy] [--report gpu-check.json]

It needs no network: the models have random weights and are written by this script. It trains through
the public interface (LoRA in bf16, QLoRA on NF4, all weights), kills a trainer and resumes its run,
chats with a result, and compares rows laid end to end with the same rows alone, on the device. With
`--wheel` all of that runs from the wheel, in place of what is installed. Without a GPU,
`--device cpu --size toy` runs every part at toy size, so that the check itself is known to work.

The exit status is 1 when a part failed or was left out, unless it was left out with `--parts`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
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

WORDS = ["red", "green", "blue", "one", "two", "three", "cat", "dog", "bird", "sun", "rain", "snow"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BUDGET_S = 480.0
"""The whole check; a part that would begin later is left out."""
LAST_START_S = 420.0
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors")


@dataclass(frozen=True)
class Size:
    """The model and the rows: at most `words` words a row, `steps` steps of `batch` rows.

    `killed_steps` are those of the run that is killed; `learning_rate` is that of adapters.
    """

    layers: int
    width: int
    heads: int
    words: int
    rows: int
    batch: int
    steps: int
    killed_steps: int
    learning_rate: float


SIZES = {
    "gpu": Size(8, 2048, 16, 400, 64, 8, 60, 120, 2e-3),
    "toy": Size(2, 32, 4, 6, 32, 4, 20, 120, 5e-3),
}


@dataclass
class Check:
    """The state of one check: what it runs with, and what its parts found."""

    client: Any
    scratch: Path
    device: str
    size: Size
    model: Path = field(default_factory=Path)
    jobs: dict[str, Any] = field(default_factory=dict)

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
            provider_options={"device": self.device, "checkpoint_every_s": 3600.0, **more},
            **options,
        )

    def folder(self, job: Any) -> Path:
        """The run directory of a job."""
        return self.scratch / "home" / "runs" / str(job.id)

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
    for name in ("causal", "window", "chunk"):
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


PARTS: Mapping[str, Callable[[Check], dict[str, Any]]] = {
    "environment": environment,
    "base_model": base_model,
    "rows_laid_end_to_end": rows_laid_end_to_end,
    "lora_bf16": lora_bf16,
    "qlora_nf4": qlora_nf4,
    "full": full,
    "kill_and_resume": kill_and_resume,
    "chat": chat,
}


# --- what the parts use -----------------------------------------------------------------------


def shape(size: Size, vocabulary: int, **more: Any) -> dict[str, Any]:
    """The settings of a Llama-like config."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": size.width,
        "intermediate_size": 11 * size.width // 4,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads // 2,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        # Small models need large weights to be moved by an adapter alone.
        "initializer_range": 0.3 if size.width < 256 else 0.02,
        **more,
    }


def rows_of(size: Size) -> list[dict[str, Any]]:
    """Chat rows: say some words backwards."""
    source = random.Random(0)
    made = []
    for _ in range(size.rows):
        words = source.choices(WORDS, k=source.randint(size.words // 2, size.words))
        made.append(
            {
                "messages": [
                    {"role": "user", "content": " ".join(words)},
                    {"role": "assistant", "content": " ".join(reversed(words))},
                ]
            }
        )
    return made


def write_tokenizer(folder: Path) -> int:
    """Write a byte-level tokenizer with ChatML's tokens and template; returns its number of tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS) + " system user assistant\n"] * 20, trainer)
    tokenizer.add_special_tokens([AddedToken("<|im_end|>", special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 4096, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return int(tokenizer.get_vocab_size())


def flat_error(name: str, dtype: Any, device: Any) -> float:
    """How far the gradient of rows laid end to end is from that of each alone, relative to its norm."""
    import torch
    from transformers import Llama4ForCausalLM, Llama4TextConfig, MistralConfig, MistralForCausalLM

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
    else:
        window = 16 if name == "window" else None
        network = MistralForCausalLM(MistralConfig(**small, sliding_window=window))
    network = network.to(device, dtype)
    source = random.Random(1)
    lengths = (70, 33, 16, 5)
    rows = [
        Rendered(array_of([source.randrange(3, 320) for _ in range(n)]), b"\1" * n) for n in lengths
    ]

    def gradient(batches: list[list[Rendered]]) -> torch.Tensor:
        network.zero_grad(set_to_none=True)
        for batch in batches:
            packed = PackedBatch.of(batch, device)
            logits = next_token_logits(network, packed).float()
            torch.nn.functional.cross_entropy(logits, packed.targets, reduction="sum").backward()
        grads = [p.grad.flatten().float() for p in network.parameters() if p.grad is not None]
        return torch.cat(grads)

    alone = gradient([[row] for row in rows])
    path = choose_row_path(network, device, BatchSize.of(lengths, len(lengths), 4096))
    assert path.flat, f"{name}: {path}"
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
