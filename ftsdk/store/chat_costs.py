"""What chats cost, and what is reserved for runs of many: rows of the journal, one for each month.

A run has the id that its caller gave it. Chats outside of a run are counted in one row for each
provider, model and profile. `held` is reserved for what is still to come; what was spent moves from
there to `spent`.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation

from ftsdk.errors import StoreError
from ftsdk.store.accounting import month_of
from ftsdk.store.journal import Journal

_ZERO = Decimal(0)


@dataclass(frozen=True)
class ChatTokens:
    """The tokens of some calls; `cached` are part of `prompt`."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0


@dataclass(frozen=True)
class ChatCosts:
    """The chats of one run, or those of one model outside of runs, in one month.

    Amounts are in US dollars. `low` and `high` are the estimate of the run, and `unknown` counts
    calls of unknown price, which no amount includes.
    """

    id: str
    month: str
    profile: str | None
    provider: str
    model: str
    what: str
    created_at: dt.datetime
    updated_at: dt.datetime
    held: Decimal = _ZERO
    cap: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    source: str = ""
    spent: Decimal = _ZERO
    calls: int = 0
    unknown: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    is_open: bool = False

    @property
    def counted(self) -> Decimal:
        """What counts against a limit: spent and held."""
        return self.spent + self.held

    def plus(
        self, usd: Decimal | None, calls: int, tokens: ChatTokens, now: dt.datetime
    ) -> ChatCosts:
        """Return the row with more calls, at `usd` for all of them; None where that is not known."""
        known = usd or _ZERO
        return replace(
            self,
            held=max(_ZERO, self.held - known),
            spent=self.spent + known,
            calls=self.calls + calls,
            unknown=self.unknown + (calls if usd is None else 0),
            prompt_tokens=self.prompt_tokens + tokens.prompt,
            cached_tokens=self.cached_tokens + tokens.cached,
            completion_tokens=self.completion_tokens + tokens.completion,
            updated_at=now,
        )

    def renewed(self, fresh: ChatCosts) -> ChatCosts:
        """Return the row with the reservation of `fresh` in place of its own."""
        kept = {"month", "created_at", "spent", "calls", "unknown", "prompt_tokens",
                "cached_tokens", "completion_tokens"}  # fmt: skip
        new = {name: getattr(fresh, name) for name in _COLUMNS if name not in kept}
        return replace(self, **new)

    def in_month(self, now: dt.datetime) -> ChatCosts:
        """Return the row for the month of `now`: this one, or an empty one with what is held."""
        month = month_of(now)
        if month == self.month:
            return self
        return replace(
            self,
            month=month, created_at=now, spent=_ZERO, calls=0, unknown=0,
            prompt_tokens=0, cached_tokens=0, completion_tokens=0,
        )  # fmt: skip


_COLUMNS = tuple(field.name for field in fields(ChatCosts))
_WRITE = (
    f"INSERT INTO chats ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608  # our own names
    "ON CONFLICT (id, month) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in ("id", "month"))
)


def write_row(cursor: sqlite3.Cursor, row: ChatCosts) -> None:
    """Insert or replace a row."""
    cursor.execute(_WRITE, tuple(_stored(getattr(row, name)) for name in _COLUMNS))


def _stored(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat()
    return int(value) if isinstance(value, bool) else value


def rows_of(cursor: sqlite3.Cursor, run_id: str) -> list[ChatCosts]:
    """Return the rows of a run, the newest month first."""
    found = cursor.execute("SELECT * FROM chats WHERE id = ? ORDER BY month DESC", (run_id,))
    return [_row(one) for one in found.fetchall()]


def all_rows(journal: Journal) -> list[ChatCosts]:
    """Return every row of a journal, the oldest month first."""
    return [_row(one) for one in journal.read("SELECT * FROM chats ORDER BY month, created_at, id")]


def _row(row: sqlite3.Row) -> ChatCosts:
    try:
        return _parsed(row)
    except (ValueError, InvalidOperation) as error:
        raise StoreError(
            f"The journal's record of chats {row['id']!r} cannot be read: {error}",
            where=f"{row['provider']}, {row['model']}, {row['month']}",
            hint="a newer ftsdk may have written it: pip install -U ftsdk",
        ) from error


def _parsed(row: sqlite3.Row) -> ChatCosts:
    values = {name: row[name] for name in _COLUMNS}
    for name in ("held", "spent", "cap", "low", "high"):
        values[name] = None if values[name] is None else Decimal(values[name])
    for name in ("created_at", "updated_at"):
        values[name] = dt.datetime.fromisoformat(values[name])
    return ChatCosts(**{**values, "is_open": bool(values["is_open"])})
