"""Supervised fine-tuning: the mean cross-entropy of the trained tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.training.batches import PackedBatch, micro_batches
from ftsdk.backends.local.training.encode_rows import load_rows
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits, Share
from ftsdk.backends.local.training.row_path import BatchSize
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import Rendered


class Supervised:
    """Learns the assistant's turns of chat rows; an example is a row."""

    def __init__(self, *, max_length: int, options: RunOptions) -> None:
        self.max_length, self.options = max_length, options

    def encode(self, path: Path, tokenizer: ChatTokenizer) -> list[Rendered]:
        return load_rows(
            path, tokenizer, max_length=self.max_length, truncate=self.options.truncate
        )

    def batch_size(self, examples: Sequence[Rendered], limits: MicroBatchLimits) -> BatchSize:
        return BatchSize.of([len(row) for row in examples], limits.examples, limits.tokens)

    def prepare(
        self,
        examples: list[Rendered],
        name: str,
        model: LoadedModel,
        run: Path,
    ) -> list[Rendered]:
        return examples

    def micro_batches(
        self, examples: Sequence[Rendered], limits: MicroBatchLimits
    ) -> Iterator[list[Rendered]]:
        return micro_batches(examples, limits.examples, limits.tokens)

    def begin(
        self,
        model: LoadedModel,
        examples: Sequence[Rendered],
        limits: MicroBatchLimits,
    ) -> int:
        """The number of trained tokens."""
        return sum(row.trained_count for row in examples)

    def loss_of(self, model: LoadedModel, micro: Sequence[Rendered], common: int) -> Share:
        return Share(model.loss_sum(PackedBatch.of(micro, model.device)) / common)
