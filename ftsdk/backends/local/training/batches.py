"""The order of rows, and how the rows of a step become packed batches; a function of the seed.

A step takes `batch_size * gradient_accumulation_steps` rows in a random order. They run through
the model in micro-batches laid end to end without padding (`PackedBatch`). How the rows are divided
changes memory and speed but not the gradient, because the loss is divided by the number of trained
tokens of the whole step.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ftsdk.backends.local.options import RunHyperparameters
from ftsdk.dataset.tokenize.render import Rendered

if TYPE_CHECKING:
    from collections.abc import Sized

    import torch

Row = TypeVar("Row", bound="Sized")


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Several rows laid end to end.

    `ids` and `positions` (within each row) are [1, tokens]; `lengths` are those of the rows, in
    order. `loss_positions` are the places whose next token is trained, and `targets` those next
    tokens, both [trained].
    """

    ids: torch.Tensor
    positions: torch.Tensor
    lengths: tuple[int, ...]
    loss_positions: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def of(cls, rows: Sequence[Rendered], device: torch.device) -> PackedBatch:
        """Lay the rows end to end, on `device`."""
        import torch

        ids: list[int] = []
        positions: list[int] = []
        loss_positions: list[int] = []
        for row in rows:
            start = len(ids)
            ids.extend(row.ids)
            positions.extend(range(len(row)))
            loss_positions.extend(start + k - 1 for k in range(1, len(row)) if row.trained[k])
        targets = [ids[place + 1] for place in loss_positions]

        def tensor(values: list[int]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.long).to(device, non_blocking=True)

        return cls(
            ids=tensor(ids)[None],
            positions=tensor(positions)[None],
            lengths=tuple(len(row) for row in rows),
            loss_positions=tensor(loss_positions),
            targets=tensor(targets),
        )


@dataclass(frozen=True, slots=True)
class RowOrder:
    """Which rows each step takes: epoch by epoch, shuffled by seed and epoch."""

    rows: int
    rows_per_step: int
    seed: int
    total_steps: int

    @classmethod
    def of(cls, rows: int, hyperparameters: RunHyperparameters, seed: int) -> RowOrder:
        """The order of `rows` rows; `max_steps` steps, or as many as `epochs` takes."""
        per_step = hyperparameters.batch_size * hyperparameters.gradient_accumulation_steps
        steps_per_epoch = math.ceil(rows / per_step)
        by_epochs = max(1, math.ceil(hyperparameters.epochs * steps_per_epoch))
        return cls(rows, per_step, seed, hyperparameters.max_steps or by_epochs)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that use every row once; the last of them may have fewer rows."""
        return math.ceil(self.rows / self.rows_per_step)

    def epoch_at(self, step: int) -> float:
        """The epochs completed after `step` steps, as a fraction."""
        return step / self.steps_per_epoch

    def ends_epoch(self, step: int) -> bool:
        """True when step number `step` (from 1) is the last of an epoch."""
        return step % self.steps_per_epoch == 0

    def steps_from(self, done: int) -> Iterator[tuple[int, list[int]]]:
        """Yield number (from 1) and row indices of each step after the first `done`."""
        epoch, order = -1, list[int]()
        for step in range(done, self.total_steps):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = list(range(self.rows))
                # It must be repeatable, and it protects no secret.
                random.Random(f"{self.seed}:{epoch}").shuffle(order)  # noqa: S311  # an order, not a secret
            start = (step % self.steps_per_epoch) * self.rows_per_step
            yield step + 1, order[start : start + self.rows_per_step]


def micro_batches(rows: Sequence[Row], batch_size: int, token_budget: int) -> Iterator[list[Row]]:
    """Divide rows, longest first, into batches of at most `batch_size` rows and `token_budget` tokens.

    A row longer than the budget is a batch of its own. Rows of similar length come together, which
    keeps a padded attention kernel from computing much padding.
    """
    batch: list[Row] = []
    tokens = 0
    for row in sorted(rows, key=len, reverse=True):
        if batch and (len(batch) == batch_size or tokens + len(row) > token_budget):
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += len(row)
    if batch:
        yield batch
