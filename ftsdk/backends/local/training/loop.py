"""The training loop's parts: one step, one evaluation, and when the next checkpoint is due."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Sequence

from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.training.batches import PackedBatch, RowOrder, micro_batches
from ftsdk.backends.local.training.checkpoint import TrainState
from ftsdk.backends.local.training.forward import evaluating
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.optimizer import FlatAdamW, learning_rate_at
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.backends.local.training.stop import StopRequests
from ftsdk.dataset.tokenize.render import Rendered

_MICRO_BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
_RATE_WINDOW_STEPS = 20
_PROGRESS_EVERY_S = 1.0


class Loop:
    """Trains and evaluates; reports to the event log, and keeps `state` current."""

    def __init__(
        self,
        model: LoadedModel,
        optimizer: FlatAdamW,
        hardware: Hardware,
        order: RowOrder,
        spec: RunSpec,
        events: EventWriter,
        state: TrainState,
        stop: StopRequests,
    ) -> None:
        self.model, self.optimizer, self.hardware, self.order = model, optimizer, hardware, order
        self.hyperparameters, self.seed = spec.hyperparameters, spec.seed
        self.events, self.state, self.stop = events, state, stop
        self.token_budget = token_budget(spec.options, hardware)
        self.batch_size = spec.hyperparameters.batch_size if model.path.flat else 1
        self.recent: deque[tuple[int, float]] = deque(maxlen=_RATE_WINDOW_STEPS)
        self.last_progress = -math.inf

    def step(self, step: int, rows: Sequence[Rendered]) -> None:
        """Forward and backward over the rows, then one optimizer step.

        Raises `Failed` for a loss or gradient norm that is not finite, and `Stopped`.
        """
        import torch

        started = time.perf_counter()
        torch.manual_seed(seed_of(self.seed, step))
        count = sum(row.trained_count for row in rows)
        self.optimizer.zero_gradient()
        total = torch.zeros((), device=self.hardware.device)
        for micro in micro_batches(rows, self.batch_size, self.token_budget):
            self.stop.check()
            loss = self.model.loss_sum(PackedBatch.of(micro, self.hardware.device)) / count
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
            self.optimizer.collect()
            total += loss.detach()
        loss_value = _finite(float(total), "loss", step)
        max_norm = self.hyperparameters.max_grad_norm
        norm = _finite(self.optimizer.clip(max_norm), "gradient norm", step)
        rate = learning_rate_at(step, self.order.total_steps, self.hyperparameters)
        self.optimizer.step(rate)
        tokens = sum(len(row) for row in rows)
        self._report(step, loss_value, rate, norm, tokens, time.perf_counter() - started)

    def _report(
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
        if step == total or now - self.last_progress >= _PROGRESS_EVERY_S:
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
        """Report the mean cross-entropy per trained token of the rows, in nats, as a metric event.

        Raises `Failed` when it is not finite, and `Stopped`.
        """
        count = sum(row.trained_count for row in rows)
        total = 0.0
        with evaluating(self.model.network):
            for micro in micro_batches(rows, self.batch_size, self.token_budget):
                self.stop.check()
                total += float(self.model.loss_sum(PackedBatch.of(micro, self.hardware.device)))
        loss = _finite(total / count, "validation loss", self.state.step)
        self.state.validation_loss = loss
        epoch = round(self.order.epoch_at(self.state.step), 6)
        self.events.write("metric", step=self.state.step, epoch=epoch, validation_loss=loss)
        print(f"step {self.state.step}  validation loss {loss:.4f}")  # noqa: T201  # the job's log


def token_budget(options: RunOptions, hardware: Hardware) -> int:
    """Tokens of one micro-batch."""
    return options.micro_batch_tokens or _MICRO_BATCH_TOKENS.get(hardware.device.type, 4096)


def seed_of(seed: int, step: int) -> int:
    """The seed of one step's dropout: 63 bits that differ between steps and between seeds."""
    digest = hashlib.sha256(f"{seed}:{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _finite(value: float, what: str, step: int) -> float:
    """Return the value; raise `Failed` when it is not a finite number."""
    if math.isfinite(value):
        return value
    message = f"The {what} became {value} at step {step}; the weights before it are kept."
    hint = "lower learning_rate (a tenth is a good try), raise warmup_ratio, or look at the rows"
    raise Failed(message, "non_finite_loss", hint, step=step)


def evaluation_is_due(step: int, order: RowOrder, options: RunOptions) -> bool:
    """At the end of each epoch, after the last step, and every `eval_every_steps` steps."""
    every = options.eval_every_steps
    return step == order.total_steps or order.ends_epoch(step) or bool(every and step % every == 0)


def checkpoint_is_due(step: int, order: RowOrder, options: RunOptions, since_s: float) -> bool:
    """After the last step, and every so many steps or seconds; else at the end of each epoch.

    `since_s` is the time since the last checkpoint, in seconds.
    """
    every = options.checkpoint_every_steps
    if step == order.total_steps or bool(every and step % every == 0):
        return True
    interval_s = options.checkpoint_interval_s
    if interval_s is not None and since_s >= interval_s:
        return True
    return not every and order.ends_epoch(step)
