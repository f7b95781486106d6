"""Pairs of a preferred and a rejected answer to one prompt, as token ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.method_options import BETA
from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.backends.local.training.batches import micro_batches
from ftsdk.backends.local.training.encode_rows import encode_each
from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits
from ftsdk.backends.local.training.row_path import BatchSize
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import Rendered, RowFault, fit, render_sequences

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt with its preferred and its rejected answer; only the answers are trained.

    `reference` are the log-probabilities of both answers by the untrained model, in nats, where the
    method needs them.
    """

    chosen: Rendered
    rejected: Rendered
    reference: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.chosen) + len(self.rejected)


class PairRows:
    """What the methods that train pairs have in common: their rows and micro-batches."""

    def __init__(self, hyperparameters: RunHyperparameters, options: RunOptions) -> None:
        self.max_length, self.options = hyperparameters.max_length, options
        self.beta = BETA if hyperparameters.beta is None else hyperparameters.beta

    def encode(self, path: Path, tokenizer: ChatTokenizer) -> list[Pair]:
        def one(row: Mapping[str, Any], number: int) -> list[Pair]:
            if "preferred_output" not in row:
                raise RowFault(number, "no_pair", "it has no preferred and rejected answer")
            chosen, rejected = (
                fit(part, number, self.max_length, truncate=self.options.truncate)
                for _, part in render_sequences(row, tokenizer, number=number)
            )
            return [Pair(chosen, rejected)]

        return encode_each(path, one, kind="preference")

    def batch_size(self, examples: Sequence[Pair], limits: MicroBatchLimits) -> BatchSize:
        longest = max(map(longer_of, examples))
        return BatchSize.of_examples(
            longest, max(map(len, examples)), limits.examples, limits.tokens
        )

    def micro_batches(
        self, examples: Sequence[Pair], limits: MicroBatchLimits
    ) -> Iterator[list[Pair]]:
        if not limits.padded:
            return micro_batches(examples, limits.examples, limits.tokens)
        # Both answers are as long as the longest of all.
        return micro_batches(
            examples, limits.examples, limits.tokens // 2, padded=True, length=longer_of
        )


def longer_of(pair: Pair) -> int:
    """The tokens of the longer answer, with its prompt."""
    return max(len(pair.chosen), len(pair.rejected))


def both(pairs: Sequence[Pair]) -> list[Rendered]:
    """The answers of the pairs in order, each preferred one before its rejected one."""
    return [answer for pair in pairs for answer in (pair.chosen, pair.rejected)]


def pair_metrics(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    chosen_rewards: torch.Tensor,
    rejected_rewards: torch.Tensor,
    count: int,
) -> dict[str, torch.Tensor]:
    """The shares of a micro-batch in the means over `count` pairs.

    `chosen` and `rejected` are log-probabilities, [pairs]; a reward is what the method makes of one.
    The accuracy is the share of pairs whose preferred answer has the higher reward.
    """
    means = {
        "rewards/chosen": chosen_rewards,
        "rewards/rejected": rejected_rewards,
        "rewards/margins": chosen_rewards - rejected_rewards,
        "rewards/accuracies": (chosen_rewards > rejected_rewards).float(),
        "logps/chosen": chosen,
        "logps/rejected": rejected,
    }
    return {name: values.detach().sum() / count for name, values in means.items()}
