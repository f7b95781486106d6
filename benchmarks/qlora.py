"""QLoRA against LoRA: the same rows with a bf16 base and with an NF4 base.

    python benchmarks/qlora.py [--data ../shared/data] [--model FOLDER] [--rows 128]

Trains SmolLM2-135M on GSM8K twice, with LoRA and with QLoRA (NF4, double quantization, bf16
compute), same rows, order and adapter. Then it reports

* how far the held-out loss fell in each. A small model loses much by 4 bits, so the loss starts
  higher; the aim is that it falls as far;
* the bytes of the base's linear weights, quantization constants included: about a quarter;
* how the adapter that was trained on the NF4 base does on the plain base: its loss there, and the
  share of answer tokens where both bases, with it, find the same token most likely.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, Literal

from _training import Scorer, model_folder, read, run_ours

from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.backends.local.runs.run_spec import RunAdapter

WANTED_SHARE = 0.27
WANTED_FALL = 0.8
WANTED_AGREEMENT = 0.8
"""Larger models agree more than this one of 135 million weights."""
WANTED_LOSS = 1.1


def main() -> int:
    """Train twice, score, print the table; 1 when an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", type=Path, help="folder of smollm2-135m")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--held-out", type=int, default=32)
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    model = model_folder(given.model)
    held_out = read(given.data / "gsm8k_test.jsonl", given.held_out)
    scorer = Scorer(model, held_out)
    with tempfile.TemporaryDirectory() as scratch:
        plain = one_run(Path(scratch) / "lora", None, given, model, held_out)
        packed = one_run(Path(scratch) / "qlora", "nf4", given, model, held_out)
        on_nf4, best_nf4 = scorer.score(packed["adapter"], quantize=True)
        on_plain, best_plain = scorer.score(packed["adapter"])
        lora_loss, _ = scorer.score(plain["adapter"])
    same = sum(a == b for a, b in zip(best_nf4, best_plain, strict=True)) / len(best_plain)
    share = packed["linear_bytes"] / plain["linear_bytes"]
    fall = (packed["first"] - packed["last"]) / (plain["first"] - plain["last"])
    print(f"held-out loss, LoRA on bf16    {plain['first']:.4f} -> {plain['last']:.4f}")
    print(f"held-out loss, QLoRA on NF4    {packed['first']:.4f} -> {packed['last']:.4f}")
    print(
        f"QLoRA's adapter                NF4 {on_nf4:.4f}, plain base {on_plain:.4f} "
        f"(LoRA's own {lora_loss:.4f})"
    )
    print(f"tokens/s                       {plain['rate']:.0f} and {packed['rate']:.0f}")
    rows = [
        ("bytes of linear weights", f"{share:.3f}", f"<= {WANTED_SHARE}", share <= WANTED_SHARE),
        ("fall of the loss", f"{fall:.2f}", f">= {WANTED_FALL}", fall >= WANTED_FALL),
        (
            "same most likely token",
            f"{same:.1%}",
            f">= {WANTED_AGREEMENT}",
            same >= WANTED_AGREEMENT,
        ),
        (
            "loss on the plain base",
            f"{on_plain / lora_loss:.3f}",
            f"<= {WANTED_LOSS}",
            on_plain / lora_loss <= WANTED_LOSS,
        ),
    ]
    for name, value, aim, reached in rows:
        print(f"{name:28} {value:>8}   {aim:10} {'' if reached else 'MISSED'}")
    return 0 if all(row[3] for row in rows) else 1


def one_run(
    path: Path,
    quantize: Literal["nf4"] | None,
    given: argparse.Namespace,
    model: Path,
    held_out: list[Any],
) -> dict[str, Any]:
    """Train once; returns first and last held-out loss, bytes of the base, tokens/s, and the result."""
    run, outcome = run_ours(
        path,
        model,
        read(given.data / "gsm8k_train.jsonl", given.rows),
        held_out,
        adapter=RunAdapter(rank=16, alpha=32, dropout=0.0, quantize=quantize),
        hyperparameters=RunHyperparameters(epochs=1.0, batch_size=8, learning_rate=5e-4),
        options=RunOptions(threads=given.threads),
    )
    events = run.read_events()
    losses = [event["validation_loss"] for event in events if "validation_loss" in event]
    facts = next(event for event in events if "linear_weight_bytes" in event)
    return {
        "first": losses[0],
        "last": losses[-1],
        "linear_bytes": facts["linear_weight_bytes"],
        "rate": outcome["trained_tokens"] / outcome["train_s"],
        "adapter": run.result_path,
    }


if __name__ == "__main__":
    raise SystemExit(main())
