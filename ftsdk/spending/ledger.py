"""What was spent: one line for each job and deployment, added up by day, provider or tag."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from ftsdk.errors import UsageError

__all__ = ["COLUMNS", "Line", "Total", "safe_cell", "to_csv", "totals"]

_FORMULA = frozenset("=+-@\t\r\n|%＝＋－＠")
"""What a spreadsheet may take for the beginning of a formula or a command (OWASP, CSV injection)."""


@dataclass(frozen=True)
class Line:
    """One job's training or one deployment's hosting.

    `low`/`high` is our estimate before the submit; `quoted` what the provider said before it;
    `actual` what was billed (None while unknown); `counted` what it weighs in a budget; `why` where
    that figure comes from. US dollars.
    """

    kind: Literal["training", "hosting"]
    id: str
    time: dt.datetime
    provider: str
    model: str
    status: str
    low: Decimal | None = None
    high: Decimal | None = None
    quoted: Decimal | None = None
    actual: Decimal | None = None
    counted: Decimal | None = None
    why: str = ""
    name: str | None = None
    profile: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def day(self) -> dt.date:
        """The day it was submitted, in UTC."""
        return self.time.astimezone(dt.UTC).date()

    @property
    def off(self) -> Decimal | None:
        """How far the bill lies outside of the estimate: above is positive; None when unknown."""
        return self._beyond(self.actual)

    @property
    def quote_off(self) -> Decimal | None:
        """How far the provider's quote lies outside of our estimate; None when unknown."""
        return self._beyond(self.quoted)

    def _beyond(self, told: Decimal | None) -> Decimal | None:
        if told is None or self.low is None or self.high is None:
            return None
        return told - self.high if told > self.high else min(Decimal(0), told - self.low)

    def to_dict(self) -> dict[str, Any]:
        """The line as `--json` prints it."""
        more = {"day": self.day, "off": self.off, "quote_off": self.quote_off}
        return {**vars(self), "tags": dict(self.tags), **more}


@dataclass(frozen=True)
class Total:
    """Lines added up. `unknown` counts those whose weight nobody knows; they are in no sum."""

    key: str
    lines: int
    low: Decimal
    high: Decimal
    quoted: Decimal | None
    actual: Decimal
    counted: Decimal
    billed: int
    unknown: int

    def to_dict(self) -> dict[str, Any]:
        """The sums as `--json` prints them."""
        return dict(vars(self))


def totals(lines: Iterable[Line], by: str) -> list[Total]:
    """Sums by `day`, `month`, `provider`, `model`, `profile`, `kind`, `status` or `tag:NAME`.

    Days run backwards, the rest by weight. Raises `UsageError` for another word.
    """
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(_key(line, by), []).append(line)
    found = [_total(key, group) for key, group in groups.items()]
    if by in ("day", "month"):
        return sorted(found, key=lambda one: one.key, reverse=True)
    return sorted(found, key=lambda one: (-one.counted, one.key))


def _key(line: Line, by: str) -> str:
    if by == "day":
        return line.day.isoformat()
    if by == "month":
        return f"{line.day:%Y-%m}"
    if by.startswith("tag:"):
        return line.tags.get(by.removeprefix("tag:"), "–")
    if by in ("provider", "model", "profile", "kind", "status"):
        return getattr(line, by) or "–"
    raise UsageError(
        f"Costs are not told by {by!r}",
        where="--by",
        hint="day, month, provider, model, profile, kind, status, or tag:NAME",
    )


def _total(key: str, group: Sequence[Line]) -> Total:
    quotes = [line.quoted for line in group if line.quoted is not None]

    def add(values: Iterable[Decimal | None]) -> Decimal:
        return sum((value for value in values if value is not None), Decimal(0))

    return Total(
        key=key,
        lines=len(group),
        low=add(line.low for line in group),
        high=add(line.high for line in group),
        quoted=add(quotes) if quotes else None,
        actual=add(line.actual for line in group),
        counted=add(line.counted for line in group),
        billed=sum(line.actual is not None for line in group),
        unknown=sum(line.counted is None for line in group),
    )


# --- a table for spreadsheets ----------------------------------------------------------------------

COLUMNS = (
    "day", "kind", "id", "name", "provider", "model", "profile", "status", "tags",
    "estimate_low_usd", "estimate_high_usd", "quoted_usd", "actual_usd", "counted_usd", "off_usd",
    "source",
)  # fmt: skip


def to_csv(lines: Iterable[Line]) -> str:
    """RFC 4180 text with a header. No cell that came from people can become a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in lines:
        tags = " ".join(f"{name}={value}" for name, value in sorted(line.tags.items()))
        words = (line.kind, line.id, line.name or "", line.provider, line.model)
        more = (line.profile or "", line.status, tags)
        money = (line.low, line.high, line.quoted, line.actual, line.counted, line.off)
        writer.writerow(
            (
                line.day.isoformat(),
                *(safe_cell(word) for word in (*words, *more)),
                *("" if one is None else f"{one:f}" for one in money),
                safe_cell(line.why),
            )
        )
    return out.getvalue()


def safe_cell(text: str) -> str:
    """`text` so that no spreadsheet runs it: control characters out, a `'` before what looks so."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    risky = text[:1] in _FORMULA or plain.lstrip()[:1] in _FORMULA
    return f"'{plain}" if risky else plain
