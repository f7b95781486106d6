"""The training loop's parts: one step, one evaluation, and when the next one is due."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.training.batches import RowOrder
from ftsdk.backends.local.training.checkpoint import TrainState
from ftsdk.backends.local.training.footprint.bound import MICRO_BATCH_TOKENS
from ftsdk.backends.local.training.footprint.retry import lacks_memory, release
from ftsdk.backends.local.training.forward import evaluating
from ftsdk.backends.local.training.memory import memory_bytes
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits, Objective, Share
from ftsdk.backends.local.training.optimizer import FlatAdamW
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.backends.local.training.schedules import learning_rate_at
from ftsdk.backends.local.training.selection import validation_name
from ftsdk.backends.local.training.stop import StopRequests

if TYPE_CHECKING:
    import torch

_RATE_WINDOW_STEPS = 20
_PROGRESS_EVERY_S = 1.0


class Loop:
    """Trains and evaluates; reports to the event log, and keeps `state` current."""

    def __init__(
        self,
        objective: Objective[Any],
        model: LoadedModel,
        optimizer: FlatAdamW,
        hardware: Hardware,
        order: RowOrder,
        spec: RunSpec,
        events: EventWriter,
        state: TrainState,
        stop: StopRequests,
        on_fewer_tokens: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.on_fewer_tokens = on_fewer_tokens
        self.objective, self.model, self.optimizer = objective, model, optimizer
        self.hardware, self.order = hardware, order
        self.hyperparameters, self.seed = spec.hyperparameters, spec.seed
        self.events, self.state, self.stop = events, state, stop
        size = spec.hyperparameters.batch_size if model.path.flat else 1
        self.limits = MicroBatchLimits(size, token_budget(spec.options, hardware))
        self.recent: deque[tuple[int, float]] = deque(maxlen=_RATE_WINDOW_STEPS)
        self.last_progress = -math.inf

    def step(self, step: int, rows: Sequence[Any]) -> None:
        """Forward and backward over the rows, then one optimizer step.

        Where memory runs out, the step is computed again with half the tokens at once. Raises
        `Failed` for a loss or gradient norm that is not finite, and `Stopped`.
        """
        started = time.perf_counter()
        before = self.limits
        while (total := self._gradient(step, rows)) is None:
            release()
        if self.limits != before:
            self._report_fewer(step, before)
        loss_value = _finite(total.loss, "loss", step)
        max_norm = self.hyperparameters.max_grad_norm
        norm = _finite(self.optimizer.clip(max_norm), "gradient norm", step)
        rate = learning_rate_at(step, self.order.total_steps, self.hyperparameters)
        self.optimizer.step(rate)
        tokens = sum(len(row) for row in rows)
        state = self.state
        state.step, state.loss, state.metrics = step, loss_value, total.metrics
        self._report(rate, norm, tokens, time.perf_counter() - started)

    def _gradient(self, step: int, rows: Sequence[Any]) -> Sums | None:
        """Compute the gradient of a step; None where memory ran out, and the limits are halved.

        Raises the error of the allocator when a micro-batch is one example already.
        """
        import torch

        torch.manual_seed(seed_of(self.seed, step))
        self.optimizer.zero_gradient()
        total = Sums()
        try:
            for share in self._shares(rows):
                share.loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
                self.optimizer.collect()
                total.add(share)
        except (RuntimeError, MemoryError) as error:
            fewer = self._halved(rows) if lacks_memory(error) else None
            if fewer is None:
                raise
            self.limits = fewer
            return None
        return total

    def _halved(self, rows: Sequence[Any]) -> MicroBatchLimits | None:
        """Limits of half the tokens; None when each micro-batch of these rows is one example."""
        micros = list(self.objective.micro_batches(rows, self.limits))
        if all(len(micro) == 1 for micro in micros):
            return None
        fullest = max(sum(len(row) for row in micro) for micro in micros if len(micro) > 1)
        return MicroBatchLimits(self.limits.examples, max(1, fullest // 2))

    def _report_fewer(self, step: int, before: MicroBatchLimits) -> None:
        tokens = self.limits.tokens
        self.on_fewer_tokens(tokens)
        self.events.write(
            "warning",
            message=f"Memory ran out in step {step} with up to {before.tokens:,} tokens at once; it "
            f"was computed again with {tokens:,}, and so are the next ones.",
            step=step,
            micro_batch_tokens=tokens,
        )

    def _shares(self, rows: Sequence[Any]) -> Iterator[Share]:
        """Yield the share of each micro-batch in the loss of the rows. Raises `Stopped`."""
        common = self.objective.begin(self.model, rows, self.limits)
        for micro in self.objective.micro_batches(rows, self.limits):
            self.stop.check()
            yield self.objective.loss_of(self.model, micro, common)

    def _report(self, rate: float, norm: float, tokens: int, took_s: float) -> None:
        state = self.state
        step, loss = state.step, state.loss
        state.trained_tokens += tokens
        state.train_s += took_s
        self.recent.append((tokens, took_s))
        recent_s = sum(seconds for _, seconds in self.recent)
        tokens_per_s = sum(count for count, _ in self.recent) / max(recent_s, 1e-9)
        epoch = self.order.epoch_at(step)
        total = self.order.total_steps
        eta_s = round((total - step) * recent_s / len(self.recent), 1)
        self.events.write(
            "metric",
            step=step,
            epoch=round(epoch, 6),
            train_loss=loss,
            **state.metrics,
            learning_rate=rate,
            grad_norm=norm,
            tokens_per_s=round(tokens_per_s, 1),
            eta_s=eta_s,
            memory_bytes=memory_bytes(self.hardware.device),
        )
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
                eta_s=eta_s,
                trained_tokens=state.trained_tokens,
                train_s=round(state.train_s, 3),
            )

    def evaluate(self, rows: Sequence[Any]) -> None:
        """Report the loss of the rows, and the objective's metrics, as a metric event.

        Raises `Failed` when the loss is not finite, and `Stopped`.
        """
        total = Sums()
        with evaluating(self.model.network):
            for share in self._shares(rows):
                total.add(share)
        state = self.state
        loss = _finite(total.loss, "validation loss", state.step)
        state.validation_loss, state.validation_metrics = loss, total.metrics
        self.events.write(
            "metric",
            step=state.step,
            epoch=round(self.order.epoch_at(state.step), 6),
            validation_loss=loss,
            **{validation_name(name): value for name, value in total.metrics.items()},
        )
        print(f"step {state.step}  validation loss {loss:.4f}")  # noqa: T201  # the job's log


class Sums:
    """The loss and the metrics of a step, summed up over its micro-batches."""

    def __init__(self) -> None:
        self._parts: dict[str, torch.Tensor] = {}

    def add(self, share: Share) -> None:
        """Add the share of one micro-batch; nothing is copied from the device before it is read."""
        for name, part in {"loss": share.loss.detach(), **share.metrics}.items():
            self._parts[name] = self._parts[name] + part if name in self._parts else part

    @property
    def loss(self) -> float:
        """The loss."""
        return float(self._parts["loss"])

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the objective, by name."""
        return {name: float(part) for name, part in self._parts.items() if name != "loss"}


def token_budget(options: RunOptions, hardware: Hardware) -> int:
    """Tokens of one micro-batch."""
    return options.micro_batch_tokens or MICRO_BATCH_TOKENS.get(hardware.device.type, 4096)


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
