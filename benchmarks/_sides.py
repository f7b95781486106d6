"""One side of a training benchmark, in a process of its own: `python benchmarks/_sides.py TASK`.

TASK is a file: `Task` as JSON. The process writes `measured.json` beside it: `begun` and `ended` are
marks around the training, without what comes before (imports, loading, tokenizing) and after
(saving), and `steps` has one after each step. A mark is [tokens trained so far, seconds, CPU seconds
of the process].
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from _training import Scorer, make_run, read

from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.runs.run_spec import RunAdapter

LEARNING_RATE = 2e-4
STEP_ROWS = 8
"""Rows of one optimizer step, on every side."""


@dataclass(frozen=True)
class Task:
    """What a side trains: `rows` rows of `data`, from the one number `skip`, once.

    `dtype` is `bf16` or `float32`; `layout` is how TRL lays out `batch` rows of a forward pass:
    `padded`, `grouped` (by length), `padding_free` or `packed`. `settings` go to our options, or to
    TRL's config. TRL ends after `limit_s` seconds of training.
    """

    side: str
    model: str
    data: str
    out: str
    rows: int
    skip: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    quantize: str | None = None
    batch: int = STEP_ROWS
    layout: str = "padded"
    settings: Mapping[str, Any] = field(default_factory=dict)
    attention: str | None = None
    limit_s: float = math.inf
    adapter: str = ""
    learning_rate: float = LEARNING_RATE

    def read_rows(self) -> list[dict[str, Any]]:
        """The rows."""
        return read(Path(self.data), self.skip + self.rows)[self.skip :]

    def of_side(self, side: str) -> Task:
        """The same for another side."""
        return dataclasses.replace(self, side=side)

    @property
    def lora(self) -> RunAdapter:
        """The adapter of every side."""
        quantize: Any = self.quantize
        return RunAdapter(
            rank=16, alpha=32, dropout=0.0, target_modules="all-linear", quantize=quantize
        )


class Marks:
    """The marks of a side."""

    def __init__(self, device: str) -> None:
        self._on_cuda = device.startswith("cuda")
        self.steps: list[list[float]] = []
        self.begun: list[float] | None = None
        self.ended: list[float] | None = None

    def here(self, tokens: float) -> list[float]:
        """A mark of now, when the device has done what it was given."""
        if self._on_cuda:
            import torch

            torch.cuda.synchronize()
        return [tokens, time.monotonic(), time.process_time()]


def main() -> int:
    """Run the side, and write what it measured."""
    given = json.loads(Path(sys.argv[1]).read_text())
    task = Task(**{**given, "limit_s": given.get("limit_s") or math.inf})
    measured = SIDES[task.side](task)
    Path(sys.argv[1]).with_name("measured.json").write_text(json.dumps(measured))
    return 0


def measured(marks: Marks, adapter: Path, losses: list[float], **more: Any) -> dict[str, Any]:
    """What a side writes. Raises `SystemExit` for a loss that is not finite."""
    if not losses or not all(map(math.isfinite, losses)):
        raise SystemExit(f"losses that are not finite: {losses}")
    return {
        "begun": marks.begun,
        "ended": marks.ended,
        "steps": marks.steps,
        "adapter": str(adapter),
        "last_loss": losses[-1],
        **more,
    }


# --- ftsdk ------------------------------------------------------------------------------------


def our_run(task: Task, **more: Any) -> RunDir:
    """A run of our trainer; `more` are hyperparameters."""
    return make_run(
        Path(task.out) / "run",
        Path(task.model),
        task.read_rows(),
        None,
        adapter=task.lora,
        hyperparameters=RunHyperparameters(
            epochs=1.0,
            learning_rate=task.learning_rate,
            batch_size=task.batch,
            gradient_accumulation_steps=STEP_ROWS // task.batch,
            warmup_ratio=0.0,
            schedule="linear",
            max_length=4096,
            **more,
        ),
        options=RunOptions(
            device=task.device,
            dtype="bf16" if task.dtype == "bf16" else "float32",
            **task.settings,
        ),
    )


def train_run(run: RunDir) -> None:
    """Train in this process. Raises `SystemExit` with the end of the log when that fails."""
    from ftsdk.backends.local.training import train as trainer

    if trainer.main([str(run.path)]):
        outcome = json.loads((run.path / "outcome.json").read_bytes())
        raise SystemExit(outcome["message"])


def ours(task: Task) -> dict[str, Any]:
    """Our trainer, as its supervisor starts it, with a mark after each step."""
    from ftsdk.backends.local.training import train as trainer
    from ftsdk.backends.local.training.loop import Loop

    run, marks = our_run(task), Marks(task.device)
    names, loop = vars(trainer), cast("Any", Loop)
    step, pieces, save = Loop.step, names["with_pieces"], names["save_result"]

    def timed_step(self: Loop, number: int, rows: Any) -> None:
        step(self, number, rows)
        marks.steps.append(marks.here(self.state.trained_tokens))

    def timed_pieces(*given: Any, **named: Any) -> Any:
        marks.begun = marks.here(0)
        return pieces(*given, **named)

    def timed_save(*given: Any, **named: Any) -> None:
        marks.ended = marks.here(marks.steps[-1][0])
        save(*given, **named)

    loop.step = timed_step
    names["with_pieces"], names["save_result"] = timed_pieces, timed_save
    train_run(run)
    outcome = json.loads((run.path / "outcome.json").read_bytes())
    events = run.read_events()
    losses = [event["train_loss"] for event in events if "train_loss" in event]
    compiled = any(event.get("compiled") for event in events)
    peak = outcome.get("peak_gpu_bytes")
    return measured(marks, run.result_path, losses, compiled=compiled, peak_gpu_bytes=peak)


def share(task: Task) -> dict[str, Any]:
    """How near the second step of our trainer comes to its matrix products alone."""
    import torch
    from _matrix_limit import share_of

    from ftsdk.backends.local.training.loop import Loop

    run, found = our_run(task, max_steps=2), dict[str, Any]()
    step, loop = Loop.step, cast("Any", Loop)

    def measured_step(self: Loop, number: int, rows: Any) -> None:
        step(self, number, rows)
        if number == 2:
            compute = functools.partial(step, self, number, rows)
            found.update(share_of(compute, torch.device(task.device)))
            found["compiled"] = self.model.pieces is not None

    loop.step = measured_step
    train_run(run)
    return found


# --- TRL --------------------------------------------------------------------------------------


def trl(task: Task) -> dict[str, Any]:
    """TRL's SFTTrainer; what is equal on every side is set, the rest are its defaults or `settings`."""
    from peft import LoraConfig
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(task.model, trust_remote_code=False)
    adapter = LoraConfig(
        task_type="CAUSAL_LM",
        r=task.lora.rank,
        lora_alpha=task.lora.alpha,
        lora_dropout=task.lora.dropout,
        target_modules=task.lora.target_modules,
    )
    return _train_with_trl(task, loaded(task), tokenizer, peft_config=adapter)


def _train_with_trl(task: Task, model: Any, tokenizer: Any, **more: Any) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    marks = Marks(task.device)
    pairs = [
        {"prompt": r["messages"][:-1], "completion": r["messages"][-1:]} for r in task.read_rows()
    ]

    class Counting(SFTTrainer):  # type: ignore[misc]  # TRL has no types
        seen = 0

        def training_step(self, model: Any, inputs: Any, *given: Any, **named: Any) -> Any:
            mask = inputs.get("attention_mask")
            ids = inputs["input_ids"]
            Counting.seen += ids.numel() if mask is None else int(mask.sum())
            return super().training_step(model, inputs, *given, **named)

    class Marking(TrainerCallback):  # type: ignore[misc]  # transformers types it as Any
        def on_step_end(self, *given: Any, **_: Any) -> Any:
            control = given[2]
            marks.steps.append(marks.here(Counting.seen))
            begun = marks.begun or marks.steps[0]
            control.should_training_stop |= marks.steps[-1][1] - begun[1] > task.limit_s
            return control

    trainer = Counting(
        model=model,
        args=SFTConfig(**trl_settings(task, pairs, tokenizer)),
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer,
        callbacks=[Marking()],
        **more,
    )
    wanted = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
    _reset_peak(task)
    marks.begun = marks.here(0)
    trainer.train()
    marks.ended = marks.here(Counting.seen)
    trainer.save_model(str(Path(task.out) / "adapter"))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return measured(
        marks,
        Path(task.out) / "adapter",
        losses,
        cut_short=Counting.seen < 0.99 * wanted,
        peak_gpu_bytes=_peak(task),
    )


def trl_settings(task: Task, pairs: list[Any], tokenizer: Any) -> dict[str, Any]:
    """The arguments of `SFTConfig`."""
    equal = {
        "output_dir": str(Path(task.out) / "trl"),
        "num_train_epochs": 1,
        "learning_rate": task.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 1,
        "seed": 0,
        "use_cpu": task.device == "cpu",
        "bf16": task.dtype == "bf16",
        "per_device_train_batch_size": task.batch,
        "gradient_accumulation_steps": STEP_ROWS // task.batch,
        "max_length": None,
    }
    layouts: dict[str, dict[str, Any]] = {
        "padded": {},
        "grouped": {"train_sampling_strategy": "group_by_length"},
        "padding_free": {"padding_free": True},
    }
    if task.layout == "packed":
        # One sequence of as many tokens as the rows of a step have on average.
        lengths = [
            len(tokenizer.apply_chat_template(p["prompt"] + p["completion"])["input_ids"])
            for p in pairs
        ]
        most = max(max(lengths) + 8, STEP_ROWS * sum(lengths) // len(lengths))
        one = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
        return {**equal, **one, "packing": True, "max_length": most, **task.settings}
    return {**equal, **layouts[task.layout], **task.settings}


def loaded(task: Task) -> Any:
    """The base model for TRL, in the number format of its settings."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    weights = torch.float32
    if task.dtype == "bf16" and task.settings:
        weights = torch.bfloat16  # its defaults keep float32 and compute in bf16
    more: dict[str, Any] = {"attn_implementation": task.attention} if task.attention else {}
    if task.quantize:
        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
        weights = torch.bfloat16
    if task.device != "cpu":
        more["device_map"] = {"": task.device}
    return AutoModelForCausalLM.from_pretrained(
        task.model, dtype=weights, trust_remote_code=False, **more
    )


def _reset_peak(task: Task) -> None:
    if task.device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats()


def _peak(task: Task) -> int | None:
    if task.device == "cpu":
        return None
    import torch

    return int(torch.cuda.max_memory_allocated())


# --- Unsloth ----------------------------------------------------------------------------------


def unsloth(task: Task) -> dict[str, Any]:
    """Unsloth's model in TRL's trainer, as its documentation shows."""
    from unsloth import FastLanguageModel

    model, tokenizer = FastLanguageModel.from_pretrained(
        task.model, max_seq_length=4096, load_in_4bit=bool(task.quantize)
    )
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = FastLanguageModel.get_peft_model(
        model,
        r=task.lora.rank,
        lora_alpha=task.lora.alpha,
        lora_dropout=0,
        target_modules=targets,
        bias="none",
        use_gradient_checkpointing=task.settings.get("gradient_checkpointing", False),
    )
    return _train_with_trl(task, model, tokenizer)


def has(package: str) -> bool:
    """Whether a package is installed."""
    return importlib.util.find_spec(package) is not None


# --- scoring ----------------------------------------------------------------------------------


def score(task: Task) -> dict[str, Any]:
    """The mean loss of an adapter on the first rows of the data, in nats per answer token."""
    loss, _ = Scorer(Path(task.model), task.read_rows()).score(Path(task.adapter))
    return {"loss": loss}


def plan(task: Task) -> dict[str, Any]:
    """The memory that our side is planned to take."""
    from _gpu_sides import plan_and_peak

    return plan_and_peak(task)


SIDES: dict[str, Callable[[Task], dict[str, Any]]] = {
    "ftsdk": ours,
    "trl": trl,
    "unsloth": unsloth,
    "score": score,
    "share": share,
    "plan": plan,
}

if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # freeing gigabytes one by one is no part of training
