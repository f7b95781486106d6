"""Training speed: ftsdk and TRL's SFTTrainer on the same rows.

    python benchmarks/train.py [--data ../shared/data] [--model FOLDER] [--rows 256]

Each trains SmolLM2-135M with the same LoRA (rank 16, alpha 32, all linear layers) on the same rows
of GSM8K for one epoch, in a process of its own, one after the other. TRL keeps its defaults (bf16
autocast over float32 weights, gradient checkpointing, padding) except for what must be equal: batch
size 8, learning rate 2e-4, linear schedule without warm-up, gradient clipping at 1, no weight
decay, no saving. By default TRL would count the loss on prompts too; rows go in as prompt and
completion, which restricts it to the answer, as ftsdk does (plus one line feed that the template
writes after each answer).

tokens/s counts the tokens of the rows, without padding, over the time from the first step to the
last; ours includes writing a checkpoint. CPU seconds are reported too: on a machine with other work
their ratio is the more reliable one. Both adapters are scored by the same code on the same held-out
rows. The aim: 2.3 times TRL's tokens/s, no more memory, the loss within 1 %.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _training import Scorer, model_folder, read, run_ours

from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.backends.local.runs.run_spec import RunAdapter

ADAPTER = RunAdapter(rank=16, alpha=32, dropout=0.0, target_modules="all-linear")
LEARNING_RATE = 2e-4
BATCH_SIZE = 8
WANTED_RATIO = 2.3
WANTED_LOSS = 0.01


def main() -> int:
    """Run both, score both, print the table; 1 when an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", type=Path, help="folder of smollm2-135m")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--held-out", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are")
    parser.add_argument("--side", choices=("ftsdk", "trl"), help="(internal) run one side")
    parser.add_argument("--out", type=Path, help="(internal) where a side writes")
    given = parser.parse_args()
    if given.side:
        side = ours if given.side == "ftsdk" else theirs
        measured = side(given)
        (given.out / "measured.json").write_text(json.dumps(measured))
        return 0
    model = model_folder(given.model)
    scorer = Scorer(model, read(given.data / "gsm8k_test.jsonl", given.held_out))
    measured = {}
    with tempfile.TemporaryDirectory() as scratch:
        for side in ("ftsdk", "trl"):
            out = Path(scratch) / side
            out.mkdir()
            measured[side] = run_side(given, side, model, out)
            measured[side]["loss"], _ = scorer.score(Path(measured[side]["adapter"]))
            print(f"{side:6} {json.dumps(measured[side])}", flush=True)
    return compare(measured)


def run_side(given: argparse.Namespace, side: str, model: Path, out: Path) -> dict[str, Any]:
    """Run one side in a process of its own; returns what it measured."""
    command = [sys.executable, __file__, "--side", side, "--out", str(out), "--model", str(model)]
    command += ["--data", str(given.data), "--rows", str(given.rows)]
    environment = dict(os.environ)
    if given.threads:
        command += ["--threads", str(given.threads)]
        environment["OMP_NUM_THREADS"] = str(given.threads)
    log = out / "log"
    with log.open("wb") as handle:
        done = subprocess.run(command, env=environment, stdout=handle, stderr=handle, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n" + log.read_text()[-3000:])
    measured: dict[str, Any] = json.loads((out / "measured.json").read_text())
    return measured


def compare(measured: dict[str, dict[str, Any]]) -> int:
    """Print the ratios beside the aims; returns 1 when one is missed."""
    us, them = measured["ftsdk"], measured["trl"]
    speed = us["tokens_per_s"] / them["tokens_per_s"]
    cpu = them["cpu_s_per_1000_tokens"] / us["cpu_s_per_1000_tokens"]
    memory = us["peak_rss_bytes"] / them["peak_rss_bytes"]
    loss = us["loss"] / them["loss"] - 1
    rows = [
        ("tokens/s, ftsdk : TRL", f"{speed:.2f}", f">= {WANTED_RATIO}", speed >= WANTED_RATIO),
        ("the same by CPU seconds", f"{cpu:.2f}", "", True),
        ("peak memory, ftsdk : TRL", f"{memory:.2f}", "<= 1", memory <= 1),
        ("held-out loss, difference", f"{loss:+.2%}", "within 1 %", abs(loss) <= WANTED_LOSS),
    ]
    for name, value, aim, reached in rows:
        print(f"{name:28} {value:>8}   {aim:12} {'' if reached else 'MISSED'}")
    return 0 if all(row[3] for row in rows) else 1


# --- the two sides ----------------------------------------------------------------------------


def ours(given: argparse.Namespace) -> dict[str, Any]:
    """Our trainer, in its run directory."""
    rows = read(given.data / "gsm8k_train.jsonl", given.rows)
    hyperparameters = RunHyperparameters(
        epochs=1.0,
        learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        warmup_ratio=0.0,
        schedule="linear",
    )
    options = RunOptions(threads=given.threads or None)
    run, outcome = run_ours(
        given.out / "run",
        given.model,
        rows,
        None,
        adapter=ADAPTER,
        hyperparameters=hyperparameters,
        options=options,
    )
    events = run.read_events()
    began = at(next(e for e in events if e.get("status") == "running"))
    ended = at(next(e for e in events if e.get("status") == "finalizing"))
    tokens = outcome["trained_tokens"]
    return {
        "tokens": tokens,
        "seconds": ended - began,
        "tokens_per_s": tokens / (ended - began),
        "cpu_s_per_1000_tokens": 1000 * outcome["loop_cpu_s"] / tokens,
        "peak_rss_bytes": outcome["peak_rss_bytes"],
        "adapter": str(run.result_path),
    }


def at(event: dict[str, Any]) -> float:
    """The time of an event, in seconds since 1970."""
    return dt.datetime.fromisoformat(event["time"]).timestamp()


def theirs(given: argparse.Namespace) -> dict[str, Any]:
    """TRL's SFTTrainer with its defaults."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = read(given.data / "gsm8k_train.jsonl", given.rows)
    pairs = [{"prompt": r["messages"][:-1], "completion": r["messages"][-1:]} for r in rows]
    config = SFTConfig(
        output_dir=str(given.out / "trl"),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="linear",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=1.0,
        save_strategy="no",
        report_to="none",
        seed=0,
        use_cpu=True,
    )
    adapter = LoraConfig(
        task_type="CAUSAL_LM",
        r=ADAPTER.rank,
        lora_alpha=ADAPTER.alpha,
        lora_dropout=ADAPTER.dropout,
        target_modules=ADAPTER.target_modules,
    )
    tokenizer = AutoTokenizer.from_pretrained(given.model, trust_remote_code=False)
    trainer = SFTTrainer(
        model=str(given.model),
        args=config,
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer,
        peft_config=adapter,
    )
    tokens = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
    cpu, began = time.process_time(), time.monotonic()
    trainer.train()
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    trainer.save_model(str(given.out / "adapter"))
    return {
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_s": tokens / seconds,
        "cpu_s_per_1000_tokens": 1000 * cpu / tokens,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "adapter": str(given.out / "adapter"),
    }


if __name__ == "__main__":
    raise SystemExit(main())
