"""How surprised a model is by the right answer: its loss per token, where the logits are ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ftsdk.backends.answer_losses import AnswerLoss
from ftsdk.dataset.row import Row
from ftsdk.evaluation.metrics.metric import Message, Metric, scored
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.evaluation import Score


class Loss(Metric):
    """The likelihood that a model gives each token of the reference, exp(−loss): higher is better.

    The loss itself, in nats per token, is in the detail of a score and in the summary. It looks at the
    row's own answer and not at what the model said. Losses per token compare only where both models
    split texts into the same tokens.
    """

    name = "loss"
    is_pass_or_fail = False

    def score(self, reference: Message, answer: ChatAnswer, row: Row) -> Score:
        """Return no score: an answer has no loss."""
        return Score(None)

    def score_of(self, loss: AnswerLoss | None) -> Score:
        """Return the score of a row's loss; none where the model cannot read the row."""
        if loss is None:
            return Score(None)
        return Score(
            math.exp(-loss.per_token), detail={"loss": loss.per_token, "tokens": loss.tokens}
        )

    def summary(self, scores: Sequence[Score]) -> dict[str, Any]:
        """Return the mean loss per token over all tokens, and the perplexity that it is."""
        found = [one.detail for one in scores if "loss" in one.detail]
        tokens = sum(one["tokens"] for one in found)
        loss = sum(one["loss"] * one["tokens"] for one in found) / tokens if tokens else None
        return {
            **super().summary(scores),
            "loss_per_token": loss,
            "perplexity": None if loss is None else math.exp(loss),
            "tokens": tokens,
            "rows": len(scored(scores)),
        }
