"""The losses of the models of an evaluation on the rows, where each has logits of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftsdk.backends.answer_losses import AnswerLoss, HasAnswerLosses
from ftsdk.dataset.row import Row
from ftsdk.errors import UsageError
from ftsdk.evaluation.participants import AskedModel, Participant

Losses = Mapping[str, Sequence[AnswerLoss | None]]


def require_losses(people: Sequence[Participant]) -> None:
    """Refuse to compare losses per token of models that do not have any, or not of the same tokens.

    Raises `UsageError` that names the models.
    """
    without = [one.name for one in people if _backend_of(one) is None]
    if without:
        raise UsageError(
            f"The loss of {', '.join(without)} cannot be computed: its logits are not here",
            where="the metric loss",
            hint="compare models on this machine, without a prompt, or choose another metric",
        )
    names: dict[str, list[str]] = {}
    for one in people:
        backend = _backend_of(one)
        if backend is not None and isinstance(one, AskedModel):
            key = backend.tokenizer_of(one.model.handle, base=one.model.is_base)
            names.setdefault(key, []).append(one.name)
    if len(names) > 1:
        groups = " and ".join(", ".join(group) for group in names.values())
        raise UsageError(
            f"Losses per token do not compare between different tokenizers: {groups}",
            where="the metric loss",
            hint="compare models of one base, or choose another metric",
        )


def losses_of(people: Sequence[Participant], rows: Sequence[Row]) -> Losses:
    """Return the loss of each row for each model, by name. Call `require_losses` before."""
    found: dict[str, list[AnswerLoss | None]] = {}
    for one in people:
        backend = _backend_of(one)
        if backend is not None and isinstance(one, AskedModel):
            losses = backend.answer_losses(one.model.handle, rows, base=one.model.is_base)
            found[one.name] = list(losses)
    return found


def _backend_of(one: Participant) -> HasAnswerLosses | None:
    """Return the backend that computes the losses of a model; None for a prompt, whose rows differ."""
    if not isinstance(one, AskedModel) or one.is_prompt:
        return None
    backend = one.model.backend
    return backend if isinstance(backend, HasAnswerLosses) else None
