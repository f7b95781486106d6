"""Preference tuning: ftsdk's `dpo` and TRL's DPOTrainer on the same pairs, from the same weights.

    python benchmarks/preferences.py [--data ../shared/data] [--model FOLDER] [--pairs 64]

Each trains SmolLM2-135M with the same LoRA (rank 16, alpha 32, all linear layers, the same first
weights) on the same pairs of GSM8K answers, right and wrong ones, in the same order, in float32: in a
process of its own, one after the other. TRL's rows are those of its own tokenization; it also
counts the line feed that the template writes after each answer.

Both adapters are scored by the same plain code on the same held-out pairs: the share whose
preferred answer has gained more than the other, against the base model, with its 95 % interval
(Wilson). Only short pairs are used, so that the whole takes minutes on two cores. The aims: above
60 %, not below TRL's beyond its interval, losses of each step within 0.02 of TRL's.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _training import Row, model_folder, read, run_ours

from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.backends.local.runs.run_spec import RunAdapter
from ftsdk.backends.local.training.batches import RowOrder
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import Rendered, render_sequences

ADAPTER = RunAdapter(rank=16, alpha=32, dropout=0.0, target_modules="all-linear")
WANTED = 0.6
WANTED_LOSS = 0.02
SEED = 0


def main() -> int:
    """Run both, score both, print the table; 1 when an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", type=Path, help="folder of smollm2-135m")
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--held-out", type=int, default=48)
    parser.add_argument("--longest", type=int, default=320, help="tokens of a pair, both answers")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--side", choices=("ftsdk", "trl"), help="(internal) run one side")
    parser.add_argument("--out", type=Path, help="(internal) where a side writes")
    given = parser.parse_args()
    if given.side:
        side = ours if given.side == "ftsdk" else theirs
        (given.out / "measured.json").write_text(json.dumps(side(given)))
        return 0
    given.model = model_folder(given.model)
    _, held_out = split(given)
    measured = {}
    with tempfile.TemporaryDirectory() as scratch:
        for side in ("ftsdk", "trl"):
            out = Path(scratch) / side
            out.mkdir()
            measured[side] = run_side(side, out)
            print(f"{side:6} {json.dumps(measured[side])}", flush=True)
        gains = scored(given.model, held_out, [Path(m["adapter"]) for m in measured.values()])
    return compare(measured, dict(zip(measured, gains, strict=True)))


def split(given: argparse.Namespace) -> tuple[list[Row], list[Row]]:
    """The training pairs and the held-out ones: the first short ones of the file."""
    tokenizer = ChatTokenizer.from_folder(given.model)
    short = [
        row
        for row in read(given.data / "gsm8k_preferences.jsonl", 1_000_000)
        if sum(len(one) for _, one in render_sequences(row, tokenizer)) <= given.longest
    ]
    wanted = given.pairs + given.held_out
    if len(short) < wanted:
        raise SystemExit(f"only {len(short)} pairs of at most {given.longest} tokens")
    return short[: given.pairs], short[given.pairs : wanted]


def run_side(side: str, out: Path) -> dict[str, Any]:
    """Run one side in a process of its own; returns what it measured."""
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--out", str(out)]
    log = out / "log"
    with log.open("wb") as handle:
        done = subprocess.run(
            command, env=dict(os.environ), stdout=handle, stderr=handle, check=False
        )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n" + log.read_text()[-3000:])
    measured: dict[str, Any] = json.loads((out / "measured.json").read_text())
    return measured


def compare(measured: dict[str, dict[str, Any]], gains: dict[str, list[float]]) -> int:
    """Print both sides beside the aims; returns 1 when one is missed."""
    rates = {}
    for side, found in gains.items():
        right, count = sum(gain > 0 for gain in found), len(found)
        low, high = wilson(right, count)
        rates[side] = (right / count, low)
        print(
            f"{side:6} reward accuracy {right}/{count} = {right / count:.1%} "
            f"({low:.1%} to {high:.1%}), mean gain {sum(found) / count:+.2f} nats, "
            f"{measured[side]['seconds']:.0f} s, {measured[side]['cpu_s']:.0f} CPU s"
        )
    losses = [measured[side]["losses"] for side in ("ftsdk", "trl")]
    apart = max(abs(a - b) for a, b in zip(*losses, strict=True))
    (us, _), (_, their_low) = rates["ftsdk"], rates["trl"]
    rows = [
        ("held-out reward accuracy", f"{us:.1%}", f"> {WANTED:.0%}", us > WANTED),
        ("not below TRL's interval", f"{us:.1%}", f">= {their_low:.1%}", us >= their_low),
        ("losses of steps, largest gap", f"{apart:.4f}", f"<= {WANTED_LOSS}", apart <= WANTED_LOSS),
    ]
    for name, value, aim, reached in rows:
        print(f"{name:30} {value:>8}   {aim:10} {'' if reached else 'MISSED'}")
    return 0 if all(row[3] for row in rows) else 1


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    z, share = 1.96, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - half / (1 + z * z / count), middle + half / (1 + z * z / count)


def scored(model: Path, pairs: list[Row], adapters: list[Path]) -> list[list[float]]:
    """For each adapter, how much more the preferred answer of each pair has gained, in nats."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    tokenizer = ChatTokenizer.from_folder(model)
    rows = [[one for _, one in render_sequences(row, tokenizer)] for row in pairs]

    def margins(network: Any) -> Iterator[float]:
        with torch.no_grad():
            for chosen, rejected in rows:
                yield answer(network, chosen) - answer(network, rejected)

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    before = list(margins(base))
    found = []
    for adapter in adapters:
        tuned = PeftModel.from_pretrained(base, str(adapter)).eval()
        found.append([now - then for now, then in zip(margins(tuned), before, strict=True)])
        base = tuned.unload()
    return found


def answer(network: Any, row: Rendered) -> float:
    """The log-probability of the row's answer, in nats."""
    import torch

    ids = torch.tensor([list(row.ids)])
    wanted = [k for k in range(1, len(row)) if row.trained[k]]
    logits = network(input_ids=ids, use_cache=False).logits[0, [k - 1 for k in wanted]].float()
    return -float(torch.nn.functional.cross_entropy(logits, ids[0, wanted], reduction="sum"))


# --- the two sides ----------------------------------------------------------------------------


def settings(given: argparse.Namespace) -> RunHyperparameters:
    """The hyperparameters of both sides."""
    return RunHyperparameters(
        epochs=given.epochs,
        learning_rate=given.learning_rate,
        batch_size=8,
        warmup_ratio=0.0,
        schedule="linear",
        beta=given.beta,
    )


def ours(given: argparse.Namespace) -> dict[str, Any]:
    """Our trainer, in its run directory."""
    began = time.monotonic()
    run, outcome = run_ours(
        given.out / "run",
        given.model,
        split(given)[0],
        None,
        method="dpo",
        adapter=ADAPTER,
        hyperparameters=settings(given),
        options=RunOptions(dtype="float32"),
    )
    losses = [event["train_loss"] for event in run.read_events() if "train_loss" in event]
    seconds = time.monotonic() - began
    return {
        "losses": losses,
        "seconds": seconds,
        "cpu_s": outcome["loop_cpu_s"],
        "adapter": str(run.result_path),
    }


def theirs(given: argparse.Namespace) -> dict[str, Any]:
    """TRL's DPOTrainer on the rows in our order, beginning with the adapter that ours begins with."""
    import torch
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from ftsdk.backends.local.compute.adapters import put_adapter

    class InOrder(DPOTrainer):  # type: ignore[misc]  # TRL has no types
        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return SequentialSampler(self.train_dataset if dataset is None else dataset)

    hyperparameters, rows = settings(given), split(given)[0]
    order = RowOrder.of(len(rows), hyperparameters, SEED)
    taken = [rows[k] for _, indices in order.steps_from(0) for k in indices]
    began = time.monotonic()
    torch.manual_seed(SEED)
    base = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32)
    model = put_adapter(base, ADAPTER, base_name=str(given.model), revision=None)
    config = DPOConfig(
        output_dir=str(given.out / "trl"),
        max_steps=order.total_steps,
        per_device_train_batch_size=hyperparameters.batch_size,
        learning_rate=hyperparameters.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=hyperparameters.max_grad_norm,
        beta=given.beta,
        bf16=False,
        gradient_checkpointing=False,
        precompute_ref_log_probs=True,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        seed=SEED,
        use_cpu=True,
    )
    pairs = [
        {
            "prompt": row["input"]["messages"],
            "chosen": row["preferred_output"],
            "rejected": row["non_preferred_output"],
        }
        for row in taken
    ]
    trainer = InOrder(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(pairs),
        processing_class=AutoTokenizer.from_pretrained(given.model, trust_remote_code=False),
    )
    cpu = time.process_time()
    trainer.train()
    cpu = time.process_time() - cpu
    trainer.save_model(str(given.out / "adapter"))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    adapter = given.out / "adapter"
    return {
        "losses": losses,
        "seconds": time.monotonic() - began,
        "cpu_s": cpu,
        "adapter": str(adapter),
    }


if __name__ == "__main__":
    raise SystemExit(main())
