"""Direct preference optimization (Rafailov et al., 2023), and losses of its family.

A reward is `beta` times how much more likely an answer has become than it was for the untrained
model, in nats. The losses are those of TRL: `sigmoid`, `hinge` (SLiC), `ipo` (with mean
log-probabilities a token) and `robust` (with the expected share of wrong labels). `rpo_alpha` adds
the mean cross-entropy of the preferred answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ftsdk.backends.local.training.group import SINGLE, Group
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.objectives.log_probs import answer_log_probs
from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits, Share, Untrained
from ftsdk.backends.local.training.objectives.pairs import Pair, PairRows, both, pair_metrics
from ftsdk.backends.local.training.objectives.reference import reference_log_probs

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Counts:
    """What the means of a step are divided by: pairs, and tokens of preferred answers."""

    pairs: int
    chosen_tokens: int


class DirectPreference(PairRows):
    """Learns pairs against the untrained model; an example is a pair."""

    def prepare(self, examples: list[Pair], untrained: Untrained) -> list[Pair]:
        found = reference_log_probs(examples, both, untrained)
        return [
            replace(pair, reference=(found[2 * k], found[2 * k + 1]))
            for k, pair in enumerate(examples)
        ]

    def begin(
        self,
        model: LoadedModel,
        examples: Sequence[Pair],
        limits: MicroBatchLimits,
        group: Group = SINGLE,
    ) -> Counts:
        return Counts(len(examples), sum(pair.chosen.trained_count for pair in examples))

    def loss_of(self, model: LoadedModel, micro: Sequence[Pair], common: Counts) -> Share:
        log_probs = answer_log_probs(model, both(micro))
        chosen, rejected = log_probs[0::2], log_probs[1::2]
        chosen_gain, rejected_gain = (log_probs - reference_of(micro, log_probs)).view(-1, 2).T
        if self.options.loss_type == "ipo":
            lengths = lengths_of(micro, log_probs)
            advantage = chosen_gain / lengths[0] - rejected_gain / lengths[1]
        else:
            advantage = chosen_gain - rejected_gain
        loss = self._losses(advantage).sum() / common.pairs
        if self.options.rpo_alpha:
            loss = loss - self.options.rpo_alpha * chosen.sum() / common.chosen_tokens
        rewards = self.beta * chosen_gain, self.beta * rejected_gain
        return Share(loss, pair_metrics(chosen, rejected, *rewards, common.pairs))

    def _losses(self, advantage: torch.Tensor) -> torch.Tensor:
        """The loss of each pair, by how much more its preferred answer has gained, [pairs]."""
        from torch.nn.functional import logsigmoid

        scaled = self.beta * advantage
        match self.options.loss_type:
            case "hinge":
                return (1 - scaled).relu()
            case "ipo":
                return (advantage - 1 / (2 * self.beta)) ** 2
            case "robust":
                wrong = self.options.label_smoothing
                right = (1 - wrong) * logsigmoid(scaled) - wrong * logsigmoid(-scaled)
                return -right / (1 - 2 * wrong)
            case _:
                return -logsigmoid(scaled)


def reference_of(pairs: Sequence[Pair], like: torch.Tensor) -> torch.Tensor:
    """The log-probabilities by the untrained model, in the order of `both`, [2 x pairs]."""
    return like.new_tensor([value for pair in pairs for value in pair.reference or ()])


def lengths_of(pairs: Sequence[Pair], like: torch.Tensor) -> torch.Tensor:
    """The trained tokens of the preferred and of the rejected answers, [2, pairs]."""
    counts = [[p.chosen.trained_count, p.rejected.trained_count] for p in pairs]
    return like.new_tensor(counts).T
