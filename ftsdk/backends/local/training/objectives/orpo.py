"""Odds-ratio preference optimization (Hong et al., 2024): pairs without a reference model.

The loss is the mean cross-entropy of the prompts with their preferred answers, and `beta` times the
log-sigmoid of the odds ratio of both answers, as in TRL. The probability of an answer is the
geometric mean of those of its tokens; a reward is `beta` times its logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftsdk.backends.local.training.group import SINGLE, Group
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.backends.local.training.objectives.dpo import Counts
from ftsdk.backends.local.training.objectives.log_probs import token_log_probs
from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits, Share, Untrained
from ftsdk.backends.local.training.objectives.pairs import Pair, PairRows, pair_metrics
from ftsdk.dataset.tokenize.render import Rendered

if TYPE_CHECKING:
    import torch

_LOG_HALF = -0.6931471805599453


class OddsRatio(PairRows):
    """Learns pairs by their odds ratio; an example is a pair."""

    def prepare(self, examples: list[Pair], untrained: Untrained) -> list[Pair]:
        return examples

    def begin(
        self,
        model: LoadedModel,
        examples: Sequence[Pair],
        limits: MicroBatchLimits,
        group: Group = SINGLE,
    ) -> Counts:
        return Counts(len(examples), sum(len(pair.chosen) - 1 for pair in examples))

    def loss_of(self, model: LoadedModel, micro: Sequence[Pair], common: Counts) -> Share:
        import torch
        from torch.nn.functional import logsigmoid

        rows = [row for pair in micro for row in (all_trained(pair.chosen), pair.rejected)]
        log_probs = token_log_probs(model, rows)
        whole, rejected_tokens = log_probs[0::2], log_probs[1::2]
        chosen = torch.stack(
            [part[answer_of(p.chosen)].mean() for part, p in zip(whole, micro, strict=True)]
        )
        rejected = torch.stack([part.mean() for part in rejected_tokens])
        log_odds = (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))
        entropy = -torch.cat(whole).sum() / common.chosen_tokens
        ratio = logsigmoid(log_odds).sum() / common.pairs
        metrics = pair_metrics(
            chosen, rejected, self.beta * chosen, self.beta * rejected, common.pairs
        )
        metrics["nll_loss"] = entropy.detach()
        metrics["log_odds_ratio"] = ratio.detach()
        return Share(entropy - self.beta * ratio, metrics)


def all_trained(row: Rendered) -> Rendered:
    """The row with every token trained, its prompt included."""
    return Rendered(row.ids, b"\x01" * len(row))


def answer_of(row: Rendered) -> list[int]:
    """The places of the answer among the tokens that are predicted: all but the first."""
    return [k - 1 for k in range(1, len(row)) if row.trained[k]]


def log1mexp(value: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(value)) of negative values, without cancellation near 0."""
    import torch

    near = value > _LOG_HALF
    # The other branch must be finite too: its gradient is multiplied by zero.
    close = torch.log(-torch.expm1(torch.where(near, value, _LOG_HALF)))
    far = torch.log1p(-torch.exp(torch.where(near, _LOG_HALF, value)))
    return torch.where(near, close, far)
