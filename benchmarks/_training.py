"""Shared by the training benchmarks: rows, one run of our trainer, and scoring."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.runs.run_spec import BaseModelRef, RunAdapter, RunSpec
from ftsdk.types.spec import Method

Row = dict[str, Any]


def read(path: Path, count: int) -> list[Row]:
    """The first `count` rows of a file; only a line feed ends a record."""
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


def make_run(
    path: Path,
    model: Path,
    train: Sequence[Row],
    validation: Sequence[Row] | None,
    *,
    adapter: RunAdapter | None,
    hyperparameters: RunHyperparameters,
    options: RunOptions,
    method: Method = "sft",
) -> RunDir:
    """Write a run of our trainer; nothing is started."""
    spec = RunSpec(
        job_id="benchmark",
        base_model=BaseModelRef(path=model, name=model.name),
        method=method,
        adapter=adapter,
        hyperparameters=hyperparameters,
        options=options,
    )
    return RunDir.create(path, spec, train=train, validation=validation)


def run_ours(
    path: Path,
    model: Path,
    train: Sequence[Row],
    validation: Sequence[Row] | None,
    **settings: Any,
) -> tuple[RunDir, dict[str, Any]]:
    """Train once, with the settings of `make_run`; exits when the run fails.

    Returns the run and its outcome.
    """
    run = make_run(path, model, train, validation, **settings)
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
        """The loss in nats, and the most likely token at each position of the answers."""
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        from ftsdk.backends.local.training.batches import PackedBatch
        from ftsdk.backends.local.training.forward import next_token_logits

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
        total, count, best = 0.0, 0, []
        with torch.no_grad():
            for row in self._rows:
                batch = PackedBatch.of([row], torch.device("cpu"))
                logits = next_token_logits(network, batch)
                total += float(
                    torch.nn.functional.cross_entropy(logits, batch.targets, reduction="sum")
                )
                count += len(batch.targets)
                best += logits.argmax(-1).tolist()
        return total / count, best
