"""Supervised fine-tuning and continued pretraining: the mean cross-entropy of the trained tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.backends.local.training.batches import micro_batches
from ftsdk.backends.local.training.encode_rows import is_text, load_rows, load_text
from ftsdk.backends.local.training.group import SINGLE, Group
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits, Share, Untrained
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.backends.local.training.row_path import BatchSize
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import Rendered


class Supervised:
    """Learns the assistant's turns of chat rows, or all of plain text; an example is a row.

    Text that is longer than `max_length` becomes more rows.
    """

    def __init__(self, hyperparameters: RunHyperparameters, options: RunOptions) -> None:
        self.max_length, self.options = hyperparameters.max_length, options

    def encode(self, path: Path, tokenizer: ChatTokenizer) -> list[Rendered]:
        if is_text(path):
            return load_text(
                path, tokenizer, max_length=self.max_length, packing=self.options.packing
            )
        if self.options.packing:
            raise Failed(
                f"{path.name} has chat rows, and packing is for plain text.",
                "unsupported",
                "leave the option packing out: short rows are laid end to end in any case",
            )
        return load_rows(
            path, tokenizer, max_length=self.max_length, truncate=self.options.truncate
        )

    def batch_size(self, examples: Sequence[Rendered], limits: MicroBatchLimits) -> BatchSize:
        return BatchSize.of([len(row) for row in examples], limits.examples, limits.tokens)

    def prepare(self, examples: list[Rendered], untrained: Untrained) -> list[Rendered]:
        return examples

    def micro_batches(
        self, examples: Sequence[Rendered], limits: MicroBatchLimits
    ) -> Iterator[list[Rendered]]:
        return micro_batches(examples, limits.examples, limits.tokens, padded=limits.padded)

    def begin(
        self,
        model: LoadedModel,
        examples: Sequence[Rendered],
        limits: MicroBatchLimits,
        group: Group = SINGLE,
    ) -> int:
        """The number of trained tokens."""
        return sum(row.trained_count for row in examples)

    def loss_of(self, model: LoadedModel, micro: Sequence[Rendered], common: int) -> Share:
        return Share(model.loss_sum(model.batch(micro)) / common)
