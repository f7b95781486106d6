"""Kahneman-Tversky optimization (Ethayarajh et al., 2024): single answers, each good or bad.

A reward is `beta` times how much more likely an answer has become than it was for the untrained
model. It is compared with the same gain of answers to other prompts (an estimate of the KL
divergence from the untrained model, at least 0). Each row is given the answer of an earlier row
with another prompt for that, once; the estimate of a step is the mean over all its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.method_options import BETA
from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.backends.local.training.batches import micro_batches
from ftsdk.backends.local.training.division import rounds_of
from ftsdk.backends.local.training.encode_rows import encode_each
from ftsdk.backends.local.training.forward import evaluating
from ftsdk.backends.local.training.group import SINGLE, Group
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.objectives.log_probs import answer_log_probs
from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits, Share, Untrained
from ftsdk.backends.local.training.objectives.reference import reference_log_probs
from ftsdk.backends.local.training.row_path import BatchSize
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import Rendered, RowFault, fit, render_row

if TYPE_CHECKING:
    import torch

_TRIED = 8
"""Earlier rows whose answers are tried until one fits another prompt."""
_LABELS = ("label", "kto_tag")


@dataclass(frozen=True, slots=True)
class Labelled:
    """One answer and whether it is a good one.

    `other` is the same prompt with the answer of another row; None where none fits. `reference` are
    the log-probabilities of both by the untrained model, in nats.
    """

    answer: Rendered
    is_good: bool
    other: Rendered | None = None
    reference: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.answer)


@dataclass(frozen=True, slots=True)
class Common:
    """What a step's micro-batches have in common: the number of answers, and the KL estimate."""

    good: int
    bad: int
    divergence: float

    @property
    def rows(self) -> int:
        """All answers of the step."""
        return self.good + self.bad


class KahnemanTversky:
    """Learns labelled answers against the untrained model; an example is an answer."""

    def __init__(self, hyperparameters: RunHyperparameters, options: RunOptions) -> None:
        self.max_length, self.options = hyperparameters.max_length, options
        self.beta = BETA if hyperparameters.beta is None else hyperparameters.beta

    # --- rows ---

    def encode(self, path: Path, tokenizer: ChatTokenizer) -> list[Labelled]:
        earlier: list[Mapping[str, Any]] = []

        def one(row: Mapping[str, Any], number: int) -> list[Labelled]:
            found = Labelled(self._answer(row, tokenizer, number), label_of(row, number))
            other = self._with_another_answer(row, earlier, tokenizer)
            earlier.insert(0, row)
            del earlier[_TRIED:]
            return [replace(found, other=other)]

        return encode_each(path, one, kind="labelled")

    def _answer(self, row: Mapping[str, Any], tokenizer: ChatTokenizer, number: int) -> Rendered:
        rendered = render_row(only_last(row, number), tokenizer, number=number)
        return fit(rendered, number, self.max_length, truncate=self.options.truncate)

    def _with_another_answer(
        self, row: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]], tokenizer: ChatTokenizer
    ) -> Rendered | None:
        """The prompt of the row with the newest earlier answer to another prompt that fits it."""
        asked = row["messages"][:-1]
        for one in earlier:
            if one["messages"][:-1] == asked:
                continue
            mixed = {**row, "messages": [*asked, one["messages"][-1]]}
            try:
                rendered = render_row(only_last(mixed, 0), tokenizer)
                return fit(rendered, 0, self.max_length, truncate=True)
            except RowFault:  # a template may refuse a call where there are no tools
                continue
        return None

    def batch_size(self, examples: Sequence[Labelled], limits: MicroBatchLimits) -> BatchSize:
        lengths = [len(row) for row in sequences(examples)]
        return BatchSize.of(lengths, limits.examples, limits.tokens)

    def micro_batches(
        self, examples: Sequence[Labelled], limits: MicroBatchLimits
    ) -> Iterator[list[Labelled]]:
        return micro_batches(examples, limits.examples, limits.tokens, padded=limits.padded)

    # --- losses ---

    def prepare(self, examples: list[Labelled], untrained: Untrained) -> list[Labelled]:
        found = iter(reference_log_probs(examples, sequences, untrained))
        return [
            replace(one, reference=tuple(next(found) for _ in sequences([one]))) for one in examples
        ]

    def begin(
        self,
        model: LoadedModel,
        examples: Sequence[Labelled],
        limits: MicroBatchLimits,
        group: Group = SINGLE,
    ) -> Common:
        good = sum(one.is_good for one in examples)
        mismatched = [(one.other, one.reference[1]) for one in examples if one.other is not None]
        if not mismatched:
            return Common(good, len(examples) - good, 0.0)
        total = 0.0
        by_row = {id(row): reference for row, reference in mismatched}

        def cut(rows: Sequence[Rendered]) -> Iterator[list[Rendered]]:
            return micro_batches(rows, limits.examples, limits.tokens, padded=limits.padded)

        with evaluating(model.network):
            rows = [row for row, _ in mismatched]
            for one in rounds_of(rows, cut, group, fills=model.is_sharded):
                if not one.micro:
                    continue
                log_probs = answer_log_probs(model, one.micro)
                if not one.filler:
                    total += float(log_probs.sum()) - sum(by_row[id(row)] for row in one.micro)
        total = sum(group.gather(total))
        return Common(good, len(examples) - good, max(0.0, total / len(mismatched)))

    def loss_of(self, model: LoadedModel, micro: Sequence[Labelled], common: Common) -> Share:
        log_probs = answer_log_probs(model, [one.answer for one in micro])
        gain = log_probs - log_probs.new_tensor([one.reference[0] for one in micro])
        is_good = log_probs.new_tensor([one.is_good for one in micro])
        sign, weight = 2 * is_good - 1, self._weights(is_good)
        surplus = gain - common.divergence
        losses = weight * (1 - (self.beta * sign * surplus).sigmoid())
        right = (sign * surplus > 0).float()
        metrics = _metrics(log_probs.detach(), self.beta * gain.detach(), is_good, common)
        metrics["rewards/accuracies"] = right.sum() / common.rows
        metrics["kl"] = log_probs.new_tensor(common.divergence * len(micro) / common.rows)
        return Share(losses.sum() / common.rows, metrics)

    def _weights(self, is_good: torch.Tensor) -> torch.Tensor:
        good, bad = self.options.desirable_weight, self.options.undesirable_weight
        return good * is_good + bad * (1 - is_good)


def _metrics(
    log_probs: torch.Tensor, rewards: torch.Tensor, is_good: torch.Tensor, common: Common
) -> dict[str, torch.Tensor]:
    """The shares of the means over the good and over the bad answers, where there are any."""
    found = {}
    for name, which, count in (
        ("chosen", is_good, common.good),
        ("rejected", 1 - is_good, common.bad),
    ):
        if count:
            found[f"rewards/{name}"] = (rewards * which).sum() / count
            found[f"logps/{name}"] = (log_probs * which).sum() / count
    if common.good and common.bad:
        found["rewards/margins"] = found["rewards/chosen"] - found["rewards/rejected"]
    return found


def sequences(examples: Sequence[Labelled]) -> list[Rendered]:
    """What the untrained model is asked about: each answer, and the other one where there is one."""
    return [row for one in examples for row in (one.answer, one.other) if row is not None]


def label_of(row: Mapping[str, Any], number: int) -> bool:
    """Whether the row's answer is a good one. Raises `RowFault` where it does not say."""
    label = next((row[key] for key in _LABELS if type(row.get(key)) is bool), None)
    if label is None:
        raise RowFault(number, "no_label", "it has no label (true or false)")
    return bool(label)


def only_last(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The row with its last message alone trained, which must be an answer. Raises `RowFault`."""
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages or messages[-1].get("role") != "assistant":
        raise RowFault(number, "no_assistant", "it does not end with an answer")
    last = len(messages) - 1
    return {
        **row,
        "messages": [
            {**message, "weight": int(place == last)} if message["role"] == "assistant" else message
            for place, message in enumerate(messages)
        ],
    }
