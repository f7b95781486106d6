"""What the training benchmarks share: rows, one run of our trainer, and one way to score."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftsdk.backends.local.runs.run_dir import RunDir

Row = dict[str, Any]


def read(path: Path, count: int) -> list[Row]:
    """The first `count` chat rows of a file; a record ends at the line feed only."""
    with path.open("rb") as handle:
        return [json.loads(line) for line, _ in zip(handle, range(count), strict=False)]


def model_folder(given: Path | None) -> Path:
    """The folder of smollm2-135m: the one given, or the one that was pulled."""
    if given is not None:
        return given
    from ftsdk.config import Config

    home = Config().home
    folder = Path(home) / "models" / "smollm2-135m"
    if not (folder / "config.json").is_file():
        raise SystemExit("smollm2-135m is not here: `ftsdk models pull smollm2-135m`, or --model")
    return folder


def run_ours(
    path: Path,
    model: Path,
    train: Sequence[Row],
    validation: Sequence[Row] | None,
    *,
    adapter: Mapping[str, Any],
    hyperparameters: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[RunDir, dict[str, Any]]:
    """One run to its end; gives it and its outcome, or ends the program."""
    spec = {
        "job_id": "benchmark",
        "base_model": {"path": str(model), "name": model.name, "revision": None},
        "method": "sft",
        "adapter": dict(adapter),
        "hyperparameters": dict(hyperparameters),
        "seed": 0,
        "options": dict(options),
    }
    run = RunDir.create(path, spec, train=train, validation=validation)
    run.start()
    while not run.read_state().is_final:
        time.sleep(0.5)
    outcome = json.loads((run.path / "outcome.json").read_bytes())
    if outcome["outcome"] != "succeeded":
        raise SystemExit(f"{outcome['message']}\n" + "\n".join(run.log_tail(20)))
    return run, outcome


class Scorer:
    """Mean cross-entropy per answer token of an adapter on a plain bf16 or float32 base."""

    def __init__(self, model: Path, rows: Sequence[Row]) -> None:
        from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
        from ftsdk.dataset.tokenize.render import render_rows

        self._model = model
        self._rows, faults = render_rows(rows, ChatTokenizer.from_folder(model))
        if faults:
            raise SystemExit(str(faults[0]))

    def score(self, adapter: Path, *, quantize: bool = False) -> tuple[float, list[int]]:
        """The loss, and the most likely token at each place of the answers."""
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        from ftsdk.backends.local.training.batches import FlatBatch
        from ftsdk.backends.local.training.model import LoadedModel

        settings = {}
        if quantize:
            settings["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.float32,
            )
        base = AutoModelForCausalLM.from_pretrained(
            self._model, dtype=torch.float32, trust_remote_code=False, **settings
        )
        network = PeftModel.from_pretrained(base, str(adapter)).get_base_model().eval()
        plain = LoadedModel(network, network, flat=False, plain_head=False, facts={})
        total, count, best = 0.0, 0, []
        with torch.no_grad():
            for row in self._rows:
                batch = FlatBatch.of([row], torch.device("cpu"))
                logits = plain.logits(batch)
                total += float(
                    torch.nn.functional.cross_entropy(logits, batch.targets, reduction="sum")
                )
                count += len(batch.targets)
                best += logits.argmax(-1).tolist()
        return total / count, best
