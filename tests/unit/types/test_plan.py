"""How often a plan trains on each row: by epochs, or by steps, which take precedence."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.client import Client


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({"epochs": 2}, 2.0),
        ({"epochs": 0.5}, 0.5),
        ({"epochs": 2, "max_steps": 3, "batch_size": 10}, 0.75),
        ({"max_steps": 8, "batch_size": 10}, 2.0),
        ({"max_steps": 3, "batch_size": 10, "gradient_accumulation_steps": 4}, 3.0),
    ],
)
def test_steps_are_converted_to_epochs(
    settings: dict[str, Any], epochs: float, client: Client, rows: Any
) -> None:
    plan = client.plan(rows(40), hyperparameters=settings)
    assert plan.planned_epochs() == epochs


def test_without_a_batch_size_steps_leave_the_epochs_unknown(client: Client, rows: Any) -> None:
    plan = client.plan(rows(40), hyperparameters={"max_steps": 3, "epochs": 2})
    fields = tuple(
        one.model_copy(update={"sent": None}) if one.name == "batch_size" else one
        for one in plan.fields
    )
    assert plan.model_copy(update={"fields": fields}).planned_epochs() is None
