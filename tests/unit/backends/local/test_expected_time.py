"""How long a job may take, from a measured speed of matrix products."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.backends.local.expected_time import with_time
from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan
from ftsdk.types.plan import Plan, PlannedField


def planned(**changes: Any) -> Plan:
    given = {"provider": "local", "model": "m", "method": "sft", "rows": 10, "tokens": 1000}
    return Plan(**{**given, "fields": (PlannedField(name="epochs", sent=2.0),), **changes})


def found(**changes: Any) -> MemoryPlan:
    return MemoryPlan(**{"parameters": 10**9, "matrix_rate": 1e12, **changes})


def test_the_time_follows_from_tokens_weights_and_the_measured_speed() -> None:
    low, high = with_time(planned(), found(), trains_all=False).duration_s or (0, 0)
    at_best = 2 * 1000 * 1e9 * 4 / 1e12
    assert at_best < low < high < 5 * at_best
    assert low == pytest.approx(at_best / 0.75)
    whole = with_time(planned(), found(), trains_all=True).duration_s or (0, 0)
    again = with_time(planned(), found(gradient_checkpointing=True), trains_all=False)
    assert whole[0] == pytest.approx(1.5 * low)
    assert (again.duration_s or (0, 0))[0] == pytest.approx(1.5 * low)
    assert "1,000 GFLOP/s" in again.notes[-1]


@pytest.mark.parametrize(
    ("plan", "memory"),
    [
        (planned(duration_s=(1.0, 2.0)), found()),  # an earlier run says more
        (planned(tokens=None), found()),
        (planned(fields=()), found()),
        (planned(), found(matrix_rate=None)),
    ],
)
def test_what_is_known_better_or_not_at_all_stays(plan: Plan, memory: MemoryPlan) -> None:
    assert with_time(plan, memory, trains_all=False) == plan
