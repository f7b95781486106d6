"""The cards of results in a notebook: what would be sent, what it costs, what can be called."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.types.plan import BudgetLine, DataNotice, Plan, PlannedField, plain

COST = Cost(
    basis=CostBasis.ESTIMATED,
    low=Decimal(1),
    high=Decimal(4),
    hosting_usd_per_hour=Decimal("5.49"),
    source="prices",
    as_of=dt.date(2026, 11, 23),
    assumptions=("× 3 epochs",),
)
EVIL = "<img src=x onerror=alert(1)>"


def test_a_cost_says_how_it_is_known() -> None:
    shown = COST._repr_html_()
    for words in ("$1.00 – 4.00", "estimated", "hosting $5.49 an hour", "× 3 epochs", "2026-11-23"):
        assert words in shown
    assert ">unknown<" in Cost()._repr_html_()


def test_a_plan_shows_fields_limits_and_what_to_know() -> None:
    plan = Plan(
        provider="together", model=EVIL, method="sft", rows=240, tokens=31_406, cost=COST,
        fields=(PlannedField(name="adapter", asked={"rank": 16, "dropout": 0.0, "quantize": None}, sent=True),
                PlannedField(name="seed", sent_as="random_seed", note="not taken")),
        warnings=("a date is near",), notes=("a note",),
        data=(DataNotice(code="FT301", rows=3, message="same question"),),
        budget=(BudgetLine(scope="month", limit=Decimal(10), left=Decimal("6.5"), fits=False),),
    )  # fmt: skip
    shown = plan._repr_html_()
    for words in ("240 rows · 31,406 tokens", "rank 16, dropout 0", ">yes<", "random_seed", "not sent",
                  "! a date is near", "! FT301 3 × same question", "$6.50", ">no<", "a note"):  # fmt: skip
        assert words in shown
    assert "<img" not in shown
    assert "adapter: rank 16, dropout 0 → yes" in plan.explain()


def test_a_column_without_values_is_left_out_and_one_thing_is_no_plural() -> None:
    fields = (PlannedField(name="epochs", asked=3, sent=3), PlannedField(name="seed", sent=0))
    shown = Plan(
        provider="fake", model="any", method="sft", rows=1, tokens=1, fields=fields, cost=COST
    )._repr_html_()
    assert "1 row · 1 token" in shown
    assert ">as<" not in shown
    assert shown.count("<th>") == 3
    named = (*fields, PlannedField(name="rate", sent=1, sent_as="lr"))
    shown = Plan(
        provider="fake", model="any", method="sft", rows=2, fields=named, cost=COST
    )._repr_html_()
    assert "2 rows" in shown
    assert "<th>as</th>" in shown


def test_a_value_is_shown_without_python_marks() -> None:
    assert (
        plain({"type": "Lora", "modules": ["q", "v"], "on": False})
        == "type Lora, modules q, v, on no"
    )
    assert plain(3.0) == "3"


def test_a_model_says_whether_it_can_be_called() -> None:
    model = ModelHandle(
        kind=ModelKind.NEEDS_DEPLOYMENT, provider="together", id=EVIL, base_model="Qwen/Qwen3-8B",
        adapter={"rank": 16}, retires_on=dt.date(2027, 1, 14),
    )  # fmt: skip
    shown = model._repr_html_()
    for words in ("needs deployment model at together", "not callable", "Qwen/Qwen3-8B", "rank 16", "2027-01-14",
                  "model.deploy()"):  # fmt: skip
        assert words in shown
    assert "<img" not in shown
    ready = model.model_copy(update={"callable_now": True})._repr_html_()
    assert ">ready<" in ready
    assert "model.chat(" in ready
