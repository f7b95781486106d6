"""The order of rows, and how a step's rows become flat batches; a pure function of the seed.

A step takes `batch_size * gradient_accumulation_steps` rows in a random order. They run through
the model in micro-batches laid end to end without padding (`FlatBatch`); how they are cut changes
memory and speed and never the gradient, because the loss is divided by the number of trained
tokens of the whole step.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.dataset.tokenize.render import Rendered

if TYPE_CHECKING:
    import torch

__all__ = ["FlatBatch", "Order", "micro_batches", "read_rows"]


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file of the run directory; a record ends at the line feed only."""
    with path.open("rb") as handle:
        for line in handle:
            yield json.loads(line)


@dataclass(frozen=True, slots=True)
class FlatBatch:
    """Several rows laid end to end.

    `ids` and `positions` are [1, tokens]; `lengths` the rows' lengths in order. `keep` has the
    places whose next token is trained, and `targets` those next tokens, both [trained].
    """

    ids: torch.Tensor
    positions: torch.Tensor
    lengths: tuple[int, ...]
    keep: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def of(cls, rows: Sequence[Rendered], device: torch.device) -> FlatBatch:
        """Lay the rows end to end."""
        import torch

        ids: list[int] = []
        positions: list[int] = []
        keep: list[int] = []
        for row in rows:
            start = len(ids)
            ids.extend(row.ids)
            positions.extend(range(len(row)))
            keep.extend(start + k - 1 for k in range(1, len(row)) if row.trained[k])
        targets = [ids[place + 1] for place in keep]

        def tensor(values: list[int]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.long).to(device, non_blocking=True)

        return cls(
            ids=tensor(ids)[None],
            positions=tensor(positions)[None],
            lengths=tuple(len(row) for row in rows),
            keep=tensor(keep),
            targets=tensor(targets),
        )


@dataclass(frozen=True, slots=True)
class Order:
    """Which rows each step takes: epoch by epoch, shuffled by seed and epoch."""

    rows: int
    rows_per_step: int
    seed: int
    total_steps: int

    @classmethod
    def of(cls, rows: int, hyperparameters: Mapping[str, Any], seed: int) -> Order:
        """From `epochs` or `max_steps`, `batch_size` and `gradient_accumulation_steps`."""
        per_step = hyperparameters["batch_size"] * hyperparameters["gradient_accumulation_steps"]
        steps_per_epoch = math.ceil(rows / per_step)
        max_steps = hyperparameters.get("max_steps")
        total = max_steps or max(1, math.ceil(hyperparameters["epochs"] * steps_per_epoch))
        return cls(rows, per_step, seed, total)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see every row once; the last of them may be smaller."""
        return math.ceil(self.rows / self.rows_per_step)

    def epoch_at(self, step: int) -> float:
        """How many epochs are done after `step` steps."""
        return step / self.steps_per_epoch

    def ends_epoch(self, step: int) -> bool:
        """True when step number `step` (from 1) is the last of an epoch."""
        return step % self.steps_per_epoch == 0

    def steps_from(self, done: int) -> Iterator[tuple[int, list[int]]]:
        """Number (from 1) and row indices of each step after the first `done`."""
        epoch, order = -1, list[int]()
        for step in range(done, self.total_steps):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = list(range(self.rows))
                # To be repeatable is the whole point of this generator; it keeps no secret.
                random.Random(f"{self.seed}:{epoch}").shuffle(order)  # noqa: S311  # an order, not a secret
            start = (step % self.steps_per_epoch) * self.rows_per_step
            yield step + 1, order[start : start + self.rows_per_step]


def micro_batches(
    rows: Sequence[Rendered], batch_size: int, token_budget: int
) -> Iterator[list[Rendered]]:
    """Cut rows, longest first, into batches of at most `batch_size` rows and `token_budget` tokens.

    A row longer than the budget is a batch of its own. Rows of like length come together, which
    keeps the attention of a padded kernel close to the work that is needed.
    """
    batch: list[Rendered] = []
    tokens = 0
    for row in sorted(rows, key=len, reverse=True):
        if batch and (len(batch) == batch_size or tokens + len(row) > token_budget):
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += len(row)
    if batch:
        yield batch
