"""The order of rows, and how the rows of a step become packed batches; a function of the seed.

A step takes `batch_size * gradient_accumulation_steps` rows in a random order. They run through
the model in micro-batches (`PackedBatch`), laid end to end without padding, or padded. How the rows are divided
changes memory and speed but not the gradient, because the loss is divided by the number of trained
tokens of the whole step.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
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
    """Several rows, laid end to end or padded.

    `ids` and `positions` (within each row) are [1, tokens], or [rows, longest] where each row is
    filled up with token 0 behind its end, at which no earlier one looks; `lengths` are those of the
    rows, in order. `loss_positions` are the places, counted through all rows, whose next token is
    trained, and `targets` those next tokens, both [trained].
    """

    ids: torch.Tensor
    positions: torch.Tensor
    lengths: tuple[int, ...]
    loss_positions: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def of(
        cls, rows: Sequence[Rendered], device: torch.device, *, padded: bool = False
    ) -> PackedBatch:
        """Lay the rows end to end, or fill each up to the longest, on `device`.

        On a GPU the copy goes on while the processor prepares what comes next.
        """
        import torch

        lengths = tuple(len(row) for row in rows)
        width = max(lengths) if padded else 0
        gaps = [max(0, width - length) for length in lengths]
        ids = bytearray().join(
            part
            for row, gap in zip(rows, gaps, strict=True)
            for part in (row.ids, bytes(row.ids.itemsize * gap))
        )
        # The first token of a row is never predicted.
        trained = bytearray().join(
            part
            for row, gap in zip(rows, gaps, strict=True)
            for part in (b"\x00", row.trained[1:], bytes(gap))
        )
        tokens = torch.frombuffer(ids, dtype=torch.int32).long()
        predicted = torch.frombuffer(trained, dtype=torch.uint8).nonzero()[:, 0]
        lines = len(rows) if padded else 1
        places = torch.cat([torch.arange(max(width, length)) for length in lengths])

        def there(tensor: torch.Tensor) -> torch.Tensor:
            if device.type == "cuda":
                tensor = tensor.pin_memory()
            return tensor.to(device, non_blocking=True)

        return cls(
            ids=there(tokens.view(lines, -1)),
            positions=there(places.view(lines, -1)),
            lengths=lengths,
            loss_positions=there(predicted - 1),
            targets=there(tokens[predicted]),
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
        per_step = hyperparameters.rows_per_step
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


def micro_batches(
    rows: Sequence[Row],
    most_rows: int,
    token_budget: int,
    *,
    padded: bool = False,
    length: Callable[[Row], int] = len,
) -> Iterator[list[Row]]:
    """Divide rows, longest first, into batches of at most `most_rows` rows and `token_budget` tokens.

    A row longer than the budget is a batch of its own. Rows of similar length come together, so
    `padded` rows, each of which counts as long as the longest, have little padding.
    """
    batch: list[Row] = []
    tokens = 0
    for row in sorted(rows, key=length, reverse=True):
        count = length(batch[0] if batch and padded else row)
        if batch and (len(batch) == most_rows or tokens + count > token_budget):
            yield batch
            batch, tokens = [], 0
            count = length(row)
        batch.append(row)
        tokens += count
    if batch:
        yield batch
