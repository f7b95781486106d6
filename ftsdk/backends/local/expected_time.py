"""How long a job may take here, from the speed of matrix products that was measured on this machine."""

from __future__ import annotations

from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan
from ftsdk.types.plan import Plan

_FASTEST, _SLOWEST = 0.75, 0.3
"""Shares of the speed of matrix products that training reaches; the rest is attention, norms, the loss."""
_FORWARD, _THROUGH, _FOR_WEIGHTS = 2, 2, 2
"""Operations for each token and weight: forward, back to the inputs, and the gradient of the weight."""


def with_time(plan: Plan, found: MemoryPlan, *, trains_all: bool) -> Plan:
    """The plan with its duration, where it has none of an earlier run and its tokens are known."""
    epochs = plan.planned_epochs()
    if plan.duration_s is not None or plan.tokens is None or not epochs or not found.matrix_rate:
        return plan
    operations = _FORWARD + _THROUGH
    operations += _FOR_WEIGHTS if trains_all else 0
    operations += _FORWARD if found.gradient_checkpointing else 0
    at_best = plan.tokens * epochs * found.parameters * operations / found.matrix_rate
    rate = found.matrix_rate / 1e9
    return plan.model_copy(
        update={
            "duration_s": (at_best / _FASTEST, at_best / _SLOWEST),
            "notes": (
                *plan.notes,
                f"the time follows from {rate:,.0f} GFLOP/s, measured here; after a first run from its speed",
            ),
        }
    )
