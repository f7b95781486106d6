"""The plan of a job: what would be sent, field by field, and what it may cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from ftsdk.types.cost import Cost
from ftsdk.types.record import Record

__all__ = ["BudgetLine", "Plan", "PlannedField"]


class PlannedField(Record):
    """One field of a plan: what was asked, what is sent, under which name, and why."""

    name: str
    asked: Any = None
    sent: Any = None
    sent_as: str | None = None
    note: str = ""


class BudgetLine(Record):
    """One limit a job is held against, and what is left of it before the job. US dollars.

    `scope` is `job`, `month`, or `month of profile NAME`; `spent` is final, `reserved` is held for
    what still runs, and `unknown` counts earlier jobs and deployments whose cost nobody knows.
    """

    scope: str
    limit: Decimal
    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    left: Decimal
    unknown: int = 0
    fits: bool
    where: str = ""


def _short(value: Any) -> str:
    """3.0 as 3."""
    return f"{value:g}" if isinstance(value, float) else str(value)


class Plan(Record):
    """What would happen, field by field, before anything is sent."""

    provider: str
    model: str
    method: str
    fields: tuple[PlannedField, ...] = ()
    rows: int | None = None
    tokens: int | None = None
    tokens_basis: Literal["exact", "estimated", "unknown"] = "unknown"
    duration_s: tuple[float, float] | None = None
    memory_bytes: int | None = None
    cost: Cost = Field(default_factory=Cost)
    budget: tuple[BudgetLine, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def sent(self) -> dict[str, Any]:
        """What goes out, by our field names."""
        return {field.name: field.sent for field in self.fields}

    def explain(self) -> str:
        """Asked → sent, a line for each field; then what should be known besides."""
        told = [f"{self.provider} · {self.model} · {self.method} · {self.cost}"]
        for field in self.fields:
            asked = "(not asked)" if field.asked is None else _short(field.asked)
            sent = "not sent" if field.sent is None else _short(field.sent)
            name = f" as {field.sent_as}" if field.sent_as not in (None, field.name) else ""
            note = f"   ({field.note})" if field.note else ""
            told.append(f"{field.name}: {asked} → {sent}{name}{note}")
        return "\n".join([*told, *self.notes, *(f"! {warning}" for warning in self.warnings)])
