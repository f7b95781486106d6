"""The log-probabilities of whole answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.dataset.tokenize.render import Rendered

if TYPE_CHECKING:
    import torch


def token_log_probs(model: LoadedModel, rows: Sequence[Rendered]) -> list[torch.Tensor]:
    """The log-probabilities of each row's trained tokens, in nats; float32 [trained] for each row.

    The rows go through the model together, or one by one where it cannot compute so.
    """
    import torch

    batches = [rows] if model.path.together else [[row] for row in rows]
    found: list[torch.Tensor] = []
    for batch in batches:
        log_probs = model.log_probs(model.batch(batch))
        found.extend(torch.split(log_probs, [row.trained_count for row in batch]))
    return found


def answer_log_probs(model: LoadedModel, rows: Sequence[Rendered]) -> torch.Tensor:
    """The log-probability of each row's trained tokens together, in nats; float32 [rows]."""
    import torch

    return torch.stack([part.sum() for part in token_log_probs(model, rows)])
