"""The training loop's parts: one step, one evaluation, and when the next one is due."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.training.batches import RowOrder
from ftsdk.backends.local.training.checkpoint import TrainState
from ftsdk.backends.local.training.division import divide, rounds_of
from ftsdk.backends.local.training.footprint.bound import MICRO_BATCH_TOKENS
from ftsdk.backends.local.training.footprint.retry import lacks_memory, release
from ftsdk.backends.local.training.forward import evaluating
from ftsdk.backends.local.training.group import SINGLE, Group
from ftsdk.backends.local.training.loss_scale import describe_skip, finite, loss_scale
from ftsdk.backends.local.training.memory import memory_bytes
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits, Objective, Share
from ftsdk.backends.local.training.optimizer import FlatAdamW
from ftsdk.backends.local.training.outcome import StartAgain
from ftsdk.backends.local.training.schedules import learning_rate_at
from ftsdk.backends.local.training.selection import validation_name
from ftsdk.backends.local.training.stop import PeerLacksMemory, StopRequests

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
        limits: MicroBatchLimits,
        order: RowOrder,
        spec: RunSpec,
        events: EventWriter,
        state: TrainState,
        stop: StopRequests,
        on_fewer_tokens: Callable[[int], None] = lambda _: None,
        group: Group = SINGLE,
    ) -> None:
        self.on_fewer_tokens, self.group = on_fewer_tokens, group
        self.objective, self.model, self.optimizer = objective, model, optimizer
        self.hardware, self.order = hardware, order
        self.hyperparameters, self.seed = spec.hyperparameters, spec.seed
        self.events, self.state, self.stop = events, state, stop
        self.limits = limits
        self.scale = loss_scale(hardware, state, group)
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
        self.optimizer.reduce(self.group)
        figures = self._gathered(total)
        rate = learning_rate_at(step, self.order.total_steps, self.hyperparameters)
        known = self._change_weights(step, figures, rate)
        tokens = sum(len(row) for row in rows)
        self._report(known, tokens, time.perf_counter() - started, figures.memory_bytes)

    def _change_weights(self, step: int, figures: Figures, rate: float) -> Mapping[str, Any]:
        """One step of the optimizer; returns the metrics of the step. In float16 it may skip."""
        state, loss = self.state, figures.loss
        may_skip = self.scale.facts()
        if not may_skip:
            finite(loss, "loss", step)
        norm = self.scale.step(self.optimizer, self.hyperparameters.max_grad_norm, rate)
        state.step = step
        if norm is None:
            self.events.write("log", message=describe_skip(step, state), step=step)
            return {"learning_rate": rate, **self.scale.facts()}
        state.loss, state.metrics = finite(loss, "loss", step), figures.metrics
        return {
            "train_loss": state.loss,
            **state.metrics,
            "learning_rate": rate,
            "grad_norm": norm,
            **self.scale.facts(),
        }

    def _gradient(self, step: int, rows: Sequence[Any]) -> Sums | None:
        """Compute the gradient of a step; None where memory ran out, and the limits are halved.

        Raises the error of the allocator when a micro-batch is one example already.
        """
        import torch

        torch.manual_seed(seed_of(self.seed, step) + self.group.rank)
        self.optimizer.zero_gradient()
        total = Sums()
        try:
            for share in self._shares(rows):
                self.scale.scaled(share.loss).backward()  # type: ignore[no-untyped-call]  # torch has no types for it
                self.optimizer.collect()
                total.add(share)
        except (RuntimeError, MemoryError) as error:
            fewer = self._halved(rows) if lacks_memory(error) else None
            if fewer is None:
                raise
            if self.model.is_sharded:  # the others wait inside this pass for what does not come
                self.on_fewer_tokens(fewer.tokens)
                raise StartAgain(fewer.tokens) from error
            if not isinstance(error, PeerLacksMemory):
                self.stop.lacks_memory()
            self.limits = fewer
            return None
        return total

    def _gathered(self, total: Sums) -> Figures:
        """The figures of the whole group, by rank, so that each rank has the same."""
        own = {"loss": total.loss, **total.metrics}
        parts = self.group.gather([own, memory_bytes(self.hardware.device)])
        summed: dict[str, float] = {}
        for part, _ in parts:
            for name, value in part.items():
                summed[name] = summed[name] + value if name in summed else value
        loss = summed.pop("loss")
        return Figures(loss, summed, max(memory for _, memory in parts))

    def _halved(self, rows: Sequence[Any]) -> MicroBatchLimits | None:
        """Limits of half the tokens; None when each micro-batch of these rows is one example."""
        shares = divide([len(row) for row in rows], self.group.size)
        micros = [
            micro
            for share in shares
            for micro in self.objective.micro_batches([rows[k] for k in share], self.limits)
        ]
        if all(len(micro) == 1 for micro in micros):
            return None
        fullest = max(sum(len(row) for row in micro) for micro in micros if len(micro) > 1)
        return replace(self.limits, tokens=max(1, fullest // 2))

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
        common = self.objective.begin(self.model, rows, self.limits, self.group)

        def cut(part: Sequence[Any]) -> Iterator[list[Any]]:
            return self.objective.micro_batches(part, self.limits)

        for one in rounds_of(rows, cut, self.group, fills=self.model.is_sharded):
            self.stop.check()
            if one.micro:
                share = self.objective.loss_of(self.model, one.micro, common)
                yield Share(share.loss * 0.0) if one.filler else share
        self.stop.agree()

    def _report(
        self, known: Mapping[str, Any], tokens: int, took_s: float, most_bytes: int
    ) -> None:
        state = self.state
        step = state.step
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
            **known,
            tokens_per_s=round(tokens_per_s, 1),
            eta_s=eta_s,
            memory_bytes=most_bytes,
        )
        loss = f"loss {known['train_loss']:.4f}" if "train_loss" in known else "skipped"
        print(f"step {step}/{total}  {loss}  {tokens_per_s:.0f} tokens/s")  # noqa: T201  # the job's log
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
        state, figures = self.state, self._gathered(total)
        loss = finite(figures.loss, "validation loss", state.step)
        state.validation_loss, state.validation_metrics = loss, figures.metrics
        self.events.write(
            "metric",
            step=state.step,
            epoch=round(self.order.epoch_at(state.step), 6),
            validation_loss=loss,
            **{validation_name(name): value for name, value in figures.metrics.items()},
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
        """The loss; 0 where nothing was added."""
        return float(self._parts.get("loss", 0.0))

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the objective, by name."""
        return {name: float(part) for name, part in self._parts.items() if name != "loss"}


@dataclass(frozen=True, slots=True)
class Figures:
    """The loss and the metrics of a step over all ranks, and the memory of the fullest one."""

    loss: float
    metrics: Mapping[str, float]
    memory_bytes: int


def token_budget(options: RunOptions, hardware: Hardware) -> int:
    """Tokens of one micro-batch."""
    return options.micro_batch_tokens or MICRO_BATCH_TOKENS.get(hardware.device.type, 4096)


def seed_of(seed: int, step: int) -> int:
    """The seed of one step's dropout: 63 bits that differ between steps and between seeds."""
    digest = hashlib.sha256(f"{seed}:{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def evaluation_is_due(step: int, order: RowOrder, options: RunOptions) -> bool:
    """At the end of each epoch, after the last step, and every `eval_every_steps` steps."""
    every = options.eval_every_steps
    return step == order.total_steps or order.ends_epoch(step) or bool(every and step % every == 0)
