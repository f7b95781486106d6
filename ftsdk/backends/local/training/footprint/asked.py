"""What decides the memory of a run, besides its model and its device; without torch.

The plan of a job and its trainer make it with one function, so that both come to the same settings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from typing import Literal, Self

from ftsdk.backends.local.models.tokenizer_files import TokenIds
from ftsdk.backends.local.optimizers import OptimizerName
from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.backends.local.training.batches import RowOrder
from ftsdk.dataset.findings.token_summary import RowLengths
from ftsdk.types.spec import Method

_NO_TOKENS = TokenIds()
_PAIRS = ("dpo", "orpo")


@dataclass(frozen=True)
class Asked:
    """What is trained: the longest sequence in tokens, the rows of a step, and the user's choices.

    `tokens`, `checkpointing` and `offload` are None where the planner chooses. `example` are the tokens of the
    longest example where that is a pair of sequences, `untrained` those of the longest sequence that
    the model sees without learning it. `data_tokens` are in memory as rows, and `step_tokens` go through
    the model in all steps. So many `processes` divide a step, and with `sharding="fsdp"` the weights; None
    where the planner chooses. `token_ids` are those whose rows of the embedding an adapter trains.
    """

    longest: int
    rows: int
    tokens: int | None = None
    checkpointing: bool | None = None
    method: Method = "sft"
    example: int | None = None
    untrained: int = 0
    data_tokens: int = 0
    step_tokens: int = 0
    noise: bool = False
    kernels: Literal["auto", "compiled", "plain"] = "plain"
    token_ids: TokenIds = field(default_factory=TokenIds)
    optimizer: OptimizerName = "adamw"
    offload: bool | None = None
    processes: int = 1
    sharding: Literal["ddp", "fsdp"] | None = None

    @classmethod
    def of(
        cls,
        method: Method,
        hyperparameters: RunHyperparameters,
        options: RunOptions,
        lengths: RowLengths,
        token_ids: TokenIds = _NO_TOKENS,
        train_rows: int | None = None,
    ) -> Self:
        """What a job asks for whose rows have these lengths; longer sequences are cut.

        `train_rows` are those without validation rows; all by default.
        """
        most = hyperparameters.max_length
        longest = min(lengths.sequence, most)
        example = min(lengths.row, 2 * most) if method in _PAIRS else longest
        return cls(
            longest,
            hyperparameters.rows_per_step,
            options.micro_batch_tokens,
            options.gradient_checkpointing,
            method=method,
            example=example,
            untrained=_untrained(method, longest, most),
            data_tokens=lengths.total,
            step_tokens=_step_tokens(hyperparameters, lengths, train_rows or lengths.rows),
            noise=options.neftune_alpha is not None,
            kernels=options.kernels,
            token_ids=token_ids,
            optimizer=options.optimizer,
            offload=False if options.sharding == "fsdp" else options.offload_activations,
        )

    @property
    def is_of_pairs(self) -> bool:
        """Whether an example is two sequences."""
        return self.method in _PAIRS

    @property
    def example_tokens(self) -> int:
        """The tokens of the longest example."""
        return self.example or (2 * self.longest if self.is_of_pairs else self.longest)


def lengths_of(examples: Sequence[Sized], longest_sequence: int) -> RowLengths:
    """The lengths of encoded examples, of which the longest sequence has so many tokens."""
    sizes = [len(one) for one in examples]
    return RowLengths(len(sizes), sum(sizes), max(sizes), min(longest_sequence, max(sizes)))


def _untrained(method: Method, longest: int, most: int) -> int:
    """The untrained model is asked about the answers of dpo and kto.

    Those of kto are also given to other prompts, which makes sequences of other lengths.
    """
    return {"dpo": longest, "kto": min(2 * longest, most)}.get(method, 0)


def packed(lengths: RowLengths, max_length: int) -> RowLengths:
    """The lengths of the pieces that all documents of plain text make, laid end to end."""
    # The first token of a piece is the last one of the piece before.
    pieces = max(1, math.ceil((lengths.total - 1) / max(1, max_length - 1)))
    full = min(lengths.total, max_length)
    return RowLengths(pieces, lengths.total + pieces - 1, full, full)


def _step_tokens(hyperparameters: RunHyperparameters, lengths: RowLengths, rows: int) -> int:
    order = RowOrder.of(rows, hyperparameters, 0)
    return round(lengths.total / lengths.rows * order.rows_per_step * order.total_steps)
