"""The plan of a job: the fields that would be sent, and the cost."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from ftsdk.types.cost import Cost
from ftsdk.types.record import Record
from ftsdk.util import card
from ftsdk.util.names import plural

__all__ = ["BudgetLine", "DataNotice", "Plan", "PlannedField"]


class PlannedField(Record):
    """One field of a plan: the requested value, the sent value, the name it is sent as, and why."""

    name: str
    asked: Any = None
    sent: Any = None
    sent_as: str | None = None
    note: str = ""


class BudgetLine(Record):
    """One spending limit that applies to a job, and what is left of it before the job. US dollars.

    `scope` is `job`, `month`, or `month of profile NAME`. `spent` is final, `reserved` is for jobs
    and deployments that are running, and `unknown` counts those whose cost is unknown.
    """

    scope: str
    limit: Decimal
    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    left: Decimal
    unknown: int = 0
    fits: bool
    where: str = ""


class DataNotice(Record):
    """Something that a person should know of the rows: its code, how many rows, and the first line."""

    code: str
    rows: int
    line: int = 0
    message: str
    hint: str = ""


def _short(value: Any) -> str:
    """Format a value; 3.0 becomes 3."""
    return f"{value:g}" if isinstance(value, float) else str(value)


class Plan(Record):
    """What `create_job` would send and what it may cost. Nothing has been sent."""

    provider: str
    model: str
    method: str
    fields: tuple[PlannedField, ...] = ()
    rows: int | None = None
    tokens: int | None = None
    tokens_basis: Literal["exact", "estimated", "unknown"] = "unknown"
    duration_s: tuple[float, float] | None = None
    memory_bytes: int | None = None
    memory: Mapping[str, int] = Field(default_factory=dict)
    """The memory at its peak by item, in bytes, where it is trained here."""
    memory_room_bytes: int | None = None
    """What the device has for it."""
    memory_free_bytes: int | None = None
    """What is free of that now, where it is known."""
    tokens_at_once: int | None = None
    """The most tokens that go through the model at once."""
    cost: Cost = Field(default_factory=Cost)
    budget: tuple[BudgetLine, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    data: tuple[DataNotice, ...] = ()
    """The notices about the rows, what costs most first."""

    def sent(self) -> dict[str, Any]:
        """Return the values that would be sent, by ftsdk's field names."""
        return {field.name: field.sent for field in self.fields}

    def planned_epochs(self) -> float | None:
        """Return how often each row is trained on, or None where the provider chooses.

        Steps take precedence over epochs, as they do in training: they are converted by the batch
        size and the number of rows.
        """
        sent = self.sent()
        steps, batch = sent.get("max_steps"), sent.get("batch_size")
        if isinstance(steps, int):
            if not (isinstance(batch, int) and batch and self.rows):
                return None
            return float(steps * batch * (sent.get("gradient_accumulation_steps") or 1) / self.rows)
        epochs = sent.get("epochs")  # may be "auto"
        return float(epochs) if isinstance(epochs, int | float) else None

    def explain(self) -> str:
        """Return the plan as text: a line `asked → sent` for each field, then notes and warnings."""
        lines = [f"{self.provider} · {self.model} · {self.method} · {self.cost}"]
        for field in self.fields:
            asked = "(not asked)" if field.asked is None else plain(field.asked)
            sent = _sent(field)
            name = f" as {field.sent_as}" if field.sent_as not in (None, field.name) else ""
            note = f"   ({field.note})" if field.note else ""
            lines.append(f"{field.name}: {asked} → {sent}{name}{note}")
        data = (f"! {one.code}  {one.rows:,} × {one.message}" for one in self.data)
        return "\n".join([*lines, *self.notes, *(f"! {w}" for w in self.warnings), *data])

    def _repr_html_(self) -> str:
        """Return a card for notebooks: what would be sent, what it may cost, what to know first."""
        rows = [(f.name, _asked(f), _sent(f), _sent_as(f), f.note) for f in self.fields]
        tokens = (
            "" if self.tokens is None else f"{plural(self.tokens, 'token')} {self.tokens_basis}"
        )
        limits = [(b.scope, f"${b.limit:.2f}", f"${b.left:.2f}", "yes" if b.fits else "no") for b in self.budget]  # fmt: skip
        return card.card(
            card.head(f"Plan: {self.method} of {self.model} at {self.provider}", self.cost),
            card.line(
                [
                    "" if self.rows is None else plural(self.rows, "row"),
                    tokens,
                    "nothing was sent",
                ]
            ),
            card.lines((f"! {text}" for text in self.warnings), "warn"),
            card.lines((f"! {d.code} {d.rows:,} × {d.message}" for d in self.data), "warn"),
            card.table(("field", "asked", "sent", "as", ""), rows),
            card.table(("limit", "amount", "left", "fits"), limits, numbers=(1, 2)),
            card.lines(self.notes, "soft"),
        )


def _asked(field: PlannedField) -> str:
    return "–" if field.asked is None else plain(field.asked)


def _sent(field: PlannedField) -> str:
    return "not sent" if field.sent is None else plain(field.sent)


def _sent_as(field: PlannedField) -> str:
    return "" if field.sent_as in (None, field.name) else str(field.sent_as)


def plain(value: Any) -> str:
    """Return a value for people: `rank 16, alpha 32` for a table, `yes`, `3`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        given = ((k, v) for k, v in value.items() if v is not None)
        return ", ".join(f"{k} {plain(v)}" for k, v in given)
    if isinstance(value, list | tuple):
        return ", ".join(plain(one) for one in value)
    return _short(value)
