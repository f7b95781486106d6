"""The trainer: `python -m ftsdk.backends.local.training.train RUN_DIR`, to be read from top to bottom.

Config, data, model, loop, save. It knows the run directory and nothing of the application that
made it. Everything that chooses numbers is a function of the spec: order of rows, dropout,
schedule. So a run that was killed and resumed ends in the same bits as one that was not (on the
same processor, with the same versions).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import os
import shutil
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ftsdk.backends.local.options import complete
from ftsdk.backends.local.runs.crash_report import HINT_DISK
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.backends.local.runs.run_dir import RunDir, ended
from ftsdk.backends.local.runs.supervisor import EXIT_INTERRUPTED
from ftsdk.backends.local.training.batches import FlatBatch, Order, micro_batches
from ftsdk.backends.local.training.checkpoint import Checkpoints, TrainState
from ftsdk.backends.local.training.encode_rows import load_rows, tokenizer_folder_of
from ftsdk.backends.local.training.export import (
    ADAPTER_FILE,
    FULL_FILE,
    result_facts,
    save_config,
    save_result,
    versions,
)
from ftsdk.backends.local.training.hardware import Hardware, choose
from ftsdk.backends.local.training.model import LoadedModel, evaluating, load_for_training
from ftsdk.backends.local.training.optimizer import FlatAdamW, learning_rate_at
from ftsdk.backends.local.training.outcome import Failed, Stopped, conclude, failure, totals
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import Rendered
from ftsdk.util import files

MICRO_BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
RATE_WINDOW_STEPS = 20
PROGRESS_EVERY_S = 1.0


class Stop:
    """Looks whether the run was asked to stop."""

    def __init__(self, run: RunDir) -> None:
        self._cancel = run.path / "cancel"
        self._terminated = False

    def listen(self) -> None:
        """From now on SIGTERM asks politely; before, it simply ends the process."""
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        self._terminated = True

    def check(self) -> None:
        """Raise `Stopped` if so."""
        if self._cancel.exists():
            raise Stopped(cancelled=True)
        if self._terminated:
            raise Stopped(cancelled=False)


# --- from top to bottom ---------------------------------------------------------------------------


def train(run: RunDir, events: EventWriter, state: TrainState) -> dict[str, Any]:
    """Run the whole training; gives the outcome. `state` is kept current for who catches."""
    import torch

    stop = Stop(run)
    stop.check()
    spec = complete(run.spec)
    hyper, options, seed = spec["hyperparameters"], spec["options"], int(spec["seed"])
    events.write("status", status="validating", message="Reading the data.")

    # data
    tokenizer_folder = tokenizer_folder_of(run, spec)
    created = dt.datetime.fromisoformat(spec["created_at"])
    tokenizer = ChatTokenizer.from_folder(tokenizer_folder, now=created)
    train_rows = load_rows(run.path / spec["train"], tokenizer, spec)
    validation_rows = None
    if spec["validation"]:
        validation_rows = load_rows(run.path / spec["validation"], tokenizer, spec)
    stop.check()

    # model
    hardware = choose(options)
    events.write("log", message=f"Training on {hardware.why}.", device=str(hardware.device))
    events.write("status", status="validating", message="Loading the model.")
    torch.manual_seed(seed)
    model = load_for_training(spec, hardware)
    optimizer = FlatAdamW(model.owner.named_parameters(), hyper)
    events.write("log", message=describe(model, spec), **model.facts)
    order = Order.of(len(train_rows), hyper, seed)
    preflight(run, optimizer, model, spec)

    # where to begin
    checkpoints = Checkpoints(
        run.path / "checkpoints", identity_of(run, spec), int(options["keep_checkpoints"])
    )
    resume(checkpoints, optimizer, state, events, hardware)

    # loop
    loop = Loop(model, optimizer, hardware, order, spec, events, state, stop)
    weights_file = FULL_FILE if spec["adapter"] is None else ADAPTER_FILE

    def save_checkpoint() -> None:
        if state.step == 0:
            return
        facts = {
            "epoch": order.epoch_at(state.step),
            "data_position": {
                "epoch": state.step // order.steps_per_epoch,
                "row": (state.step % order.steps_per_epoch) * order.rows_per_step,
            },
            "rng": {"seed": seed, "rule": "each step seeds from seed and step"},
            "versions": versions(),
            "threads": hardware.threads,
        }
        path = checkpoints.save(
            state, optimizer, lambda folder: save_config(model, spec, folder), weights_file, facts
        )
        events.write("checkpoint", step=state.step, path=str(path.relative_to(run.path)))
        events.sync()

    stop.listen()
    cpu_before = time.process_time()
    events.write("status", status="running", message="Training.")
    try:
        stop.check()
        if validation_rows is not None and state.step == 0:
            loop.evaluate(validation_rows)
        last_saved = time.monotonic()
        for step, indices in order.steps_from(state.step):
            loop.step(step, [train_rows[i] for i in indices])
            if validation_rows is not None and evaluation_is_due(step, order, options):
                loop.evaluate(validation_rows)
            if checkpoint_is_due(step, order, options, time.monotonic() - last_saved):
                save_checkpoint()
                last_saved = time.monotonic()
            stop.check()
    except Stopped:
        # The step under way is dropped; its weights were not touched yet.
        save_checkpoint()
        raise

    # save
    events.write("status", status="finalizing", message="Writing the result.")
    facts = result_facts(spec, tokenizer, model, state, order, hardware)
    save_result(run.result_path, model, optimizer, spec, tokenizer_folder, facts)
    message = f"Trained {state.step} steps on {state.trained_tokens:,} tokens."
    cpu_s = round(time.process_time() - cpu_before, 3)
    return ended("succeeded", message, exit_code=0, loop_cpu_s=cpu_s, **totals(state))


class Loop:
    """One step, and one look at the validation rows."""

    def __init__(
        self,
        model: LoadedModel,
        optimizer: FlatAdamW,
        hardware: Hardware,
        order: Order,
        spec: Mapping[str, Any],
        events: EventWriter,
        state: TrainState,
        stop: Stop,
    ) -> None:
        self.model, self.optimizer, self.hardware, self.order = model, optimizer, hardware, order
        self.hyper, self.seed, self.events = spec["hyperparameters"], int(spec["seed"]), events
        self.state, self.stop = state, stop
        budget = spec["options"]["micro_batch_tokens"]
        self.budget = int(budget or MICRO_BATCH_TOKENS.get(hardware.device.type, 4096))
        self.batch_size = int(self.hyper["batch_size"]) if model.flat else 1
        self.recent: deque[tuple[int, float]] = deque(maxlen=RATE_WINDOW_STEPS)
        self.last_progress = -math.inf

    def step(self, step: int, rows: Sequence[Rendered]) -> None:
        """Forward and backward over the rows, and one optimizer step."""
        import torch

        started = time.perf_counter()
        torch.manual_seed(seed_of(self.seed, step))
        count = sum(row.trained_count for row in rows)
        self.optimizer.zero_gradient()
        total = torch.zeros((), device=self.hardware.device)
        for micro in micro_batches(rows, self.batch_size, self.budget):
            self.stop.check()
            loss = self.model.loss_sum(FlatBatch.of(micro, self.hardware.device)) / count
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self.optimizer.collect()
            total += loss.detach()
        loss_value = finite(float(total), "loss", step)
        norm = finite(self.optimizer.clip(self.hyper["max_grad_norm"]), "gradient norm", step)
        rate = learning_rate_at(step, self.order.total_steps, self.hyper)
        self.optimizer.step(rate)
        tokens = sum(len(row) for row in rows)
        self._tell(step, loss_value, rate, norm, tokens, time.perf_counter() - started)

    def _tell(
        self, step: int, loss: float, rate: float, norm: float, tokens: int, took_s: float
    ) -> None:
        state = self.state
        state.step, state.loss = step, loss
        state.trained_tokens += tokens
        state.train_s += took_s
        self.recent.append((tokens, took_s))
        recent_s = sum(seconds for _, seconds in self.recent)
        tokens_per_s = sum(count for count, _ in self.recent) / max(recent_s, 1e-9)
        epoch = self.order.epoch_at(step)
        self.events.write(
            "metric",
            step=step,
            epoch=round(epoch, 6),
            train_loss=loss,
            learning_rate=rate,
            grad_norm=norm,
            tokens_per_s=round(tokens_per_s, 1),
        )
        total = self.order.total_steps
        print(f"step {step}/{total}  loss {loss:.4f}  {tokens_per_s:.0f} tokens/s")  # noqa: T201  # the job's log
        now = time.monotonic()
        if step == total or now - self.last_progress >= PROGRESS_EVERY_S:
            self.last_progress = now
            self.events.write(
                "progress",
                step=step,
                total_steps=total,
                epoch=round(epoch, 6),
                fraction=step / total,
                tokens_per_s=round(tokens_per_s, 1),
                eta_s=round((total - step) * recent_s / len(self.recent), 1),
                trained_tokens=state.trained_tokens,
                train_s=round(state.train_s, 3),
            )

    def evaluate(self, rows: Sequence[Rendered]) -> None:
        """Mean cross-entropy per trained token of the validation rows, as a metric event."""
        count = sum(row.trained_count for row in rows)
        total = 0.0
        with evaluating(self.model.network):
            for micro in micro_batches(rows, self.batch_size, self.budget):
                self.stop.check()
                total += float(self.model.loss_sum(FlatBatch.of(micro, self.hardware.device)))
        loss = finite(total / count, "validation loss", self.state.step)
        self.state.validation_loss = loss
        epoch = round(self.order.epoch_at(self.state.step), 6)
        self.events.write("metric", step=self.state.step, epoch=epoch, validation_loss=loss)
        print(f"step {self.state.step}  validation loss {loss:.4f}")  # noqa: T201  # the job's log


# --- the pieces -------------------------------------------------------------------------------


def identity_of(run: RunDir, spec: Mapping[str, Any]) -> dict[str, str]:
    """What a checkpoint must agree on to belong to this run: its spec and its rows."""
    names = {"spec": "spec.json", "train": spec["train"]}
    return {key: files.sha256_file(run.path / name) for key, name in names.items()}


def resume(
    checkpoints: Checkpoints,
    optimizer: FlatAdamW,
    state: TrainState,
    events: EventWriter,
    hardware: Hardware,
) -> None:
    """Take up the newest sound checkpoint, if any, and say which were passed over and why."""
    folder, manifest, skipped = checkpoints.find()
    for reason in skipped:
        events.write("warning", message=f"Passed over a checkpoint that is not sound: {reason}.")
    if folder is None:
        if skipped:
            events.write("warning", message="No sound checkpoint is left; starting anew.")
        return
    state.__dict__.update(vars(checkpoints.load(folder, manifest, optimizer)))
    events.write("log", message=f"Resumed from step {state.step}.", step=state.step)
    changed = {**manifest["versions"], "threads": manifest["threads"]}
    now = {**versions(), "threads": hardware.threads}
    different = sorted(name for name in now if now[name] != changed.get(name))
    if different:
        what = ", ".join(f"{name} {changed.get(name)} → {now[name]}" for name in different)
        events.write("warning", message=f"Since the checkpoint {what}; the bits may differ.")


def preflight(
    run: RunDir, optimizer: FlatAdamW, model: LoadedModel, spec: Mapping[str, Any]
) -> None:
    """Refuse to start when the disk has no room for two checkpoints and the result."""
    weights = optimizer.master.numel()
    result = weights * 4 if spec["adapter"] else model.facts["parameters"] * 4
    needed = 2 * weights * 12 + result + (16 << 20)
    free = shutil.disk_usage(run.path).free
    if free < needed:
        message = (
            f"The disk has {free / 1e9:.2f} GB free; two checkpoints and the result "
            f"need {needed / 1e9:.2f} GB."
        )
        raise Failed(message, "disk_full", HINT_DISK)


def seed_of(seed: int, step: int) -> int:
    """The seed of one step's dropout: 63 bits that differ between steps and between seeds."""
    digest = hashlib.sha256(f"{seed}:{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def finite(value: float, what: str, step: int) -> float:
    """The value, or the end of the run when it is not a finite number."""
    if math.isfinite(value):
        return value
    message = f"The {what} became {value} at step {step}; the weights before it are kept."
    hint = "lower learning_rate (a tenth is a good try), raise warmup_ratio, or look at the rows"
    raise Failed(message, "non_finite_loss", hint, step=step)


def evaluation_is_due(step: int, order: Order, options: Mapping[str, Any]) -> bool:
    """At the end of each epoch, at the end, and every so many steps when asked."""
    every = options["eval_every_steps"]
    return step == order.total_steps or order.ends_epoch(step) or bool(every and step % every == 0)


def checkpoint_is_due(step: int, order: Order, options: Mapping[str, Any], since_s: float) -> bool:
    """At the end of each epoch, at the end, and every so many steps or seconds."""
    every = options["checkpoint_every_steps"]
    if step == order.total_steps or bool(every and step % every == 0):
        return True
    seconds = options["checkpoint_every_s"]
    if seconds is not None and since_s >= seconds:
        return True
    return not every and order.ends_epoch(step)


def describe(model: LoadedModel, spec: Mapping[str, Any]) -> str:
    """One line on what is trained."""
    facts = model.facts
    share = f"{facts['trainable_parameters']:,} of {facts['parameters']:,} weights"
    adapter = spec["adapter"]
    if adapter is None:
        return f"Full fine-tuning: {share}."
    kind = "QLoRA on an NF4 base" if adapter.get("quantize") else "LoRA"
    return f"{kind}, rank {adapter['rank']}: {share}."


# --- the ends ---------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """Train the run directory named on the command line; gives the exit status."""
    run = RunDir(Path(argv[0]))
    events = EventWriter(run.path / "events.jsonl")
    state = TrainState()
    try:
        conclude(run, train(run, events, state))
    except Stopped as stopped:
        if not stopped.cancelled:
            return EXIT_INTERRUPTED
        message = f"Cancelled after step {state.step}; a checkpoint of it is kept."
        if state.step == 0:
            message = "Cancelled before the first step."
        conclude(run, ended("cancelled", message, exit_code=0, **totals(state)))
    except Exception as error:  # noqa: BLE001  # the process ends here, and its end must be told
        traceback.print_exc()
        message, record = failure(error)
        tail = run.log_tail(40)
        facts = {"error": record, "exit_code": 1, "log_tail": tail, **totals(state)}
        conclude(run, ended("failed", message, **facts))
        return 1
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # The outcome is on disk. Tearing down gigabytes of tensors and thread pools one by one is
    # time for nothing, and a crash there would only look like one of the training.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
