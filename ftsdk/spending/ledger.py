"""The ledger: one line for each job, deployment and row of chats, with totals by day, provider or tag."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from ftsdk.errors import UsageError
from ftsdk.session import Session
from ftsdk.store.accounting import Charge, Reservation, charge_for, month_bounds, months_of
from ftsdk.store.chat_costs import ChatCosts, all_rows
from ftsdk.store.job_rows import UnreadableJob
from ftsdk.store.leases import Lease, Leases
from ftsdk.store.reservations import Reservations
from ftsdk.types.job import JobSnapshot
from ftsdk.util.names import plural

_FORMULA = frozenset("=+-@\t\r\n|%＝＋－＠")
"""Characters that can start a formula in a spreadsheet (OWASP, CSV injection)."""


@dataclass(frozen=True)
class Line:
    """One job's training, one deployment's hosting, or the chats of one run or model in a month.

    Amounts are in US dollars: `low` and `high` are our estimate, `quoted` is the provider's quote,
    `actual` the bill (None while unknown), and `counted` what it counts for in a budget. `why` says
    where `counted` comes from.
    """

    kind: Literal["training", "hosting", "chat"]
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
        """How far the bill is outside of the estimate; positive when above, None when unknown."""
        return self._beyond(self.actual)

    @property
    def quote_off(self) -> Decimal | None:
        """How far the quote is outside of the estimate; positive when above, None when unknown."""
        return self._beyond(self.quoted)

    def _beyond(self, amount: Decimal | None) -> Decimal | None:
        if amount is None or self.low is None or self.high is None:
            return None
        return amount - self.high if amount > self.high else min(Decimal(0), amount - self.low)

    def to_dict(self) -> dict[str, Any]:
        """Return the line as `--json` prints it."""
        more = {"day": self.day, "off": self.off, "quote_off": self.quote_off}
        return {**vars(self), "tags": dict(self.tags), **more}


@dataclass(frozen=True)
class Total:
    """The sums of several lines. `unknown` counts lines without a known charge; no sum includes them."""

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
        """Return the sums as `--json` prints them."""
        return dict(vars(self))


def totals(lines: Iterable[Line], by: str) -> list[Total]:
    """Return sums by `day`, `month`, `provider`, `model`, `profile`, `kind`, `status` or `tag:NAME`.

    Days are newest first, the rest by charge. Raises `UsageError` for any other value.
    """
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(_key(line, by), []).append(line)
    found = [_total(key, group) for key, group in groups.items()]
    if by in ("day", "month"):
        return sorted(found, key=lambda total: total.key, reverse=True)
    return sorted(found, key=lambda total: (-total.counted, total.key))


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
        f"Costs cannot be grouped by {by!r}",
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


def ledger(
    session: Session, *, since: dt.date | None = None, until: dt.date | None = None
) -> list[Line]:
    """Return a line for each job, deployment and run of chats from `since` to `until` inclusive.

    The newest is first. A deployment or a run that spans several calendar months has a line in each.
    """
    now = session.clock.now()
    money = Reservations(session.journal)
    lines = [
        _training_line(job, reservation, money.charge(job, reservation, now))
        if isinstance(job, JobSnapshot)
        else _unreadable_line(job, reservation, now)
        for job, reservation in money.all()
    ]
    for lease in Leases(session.journal).list():
        lines += _hosting_lines(lease, now)
    lines += [_chat_line(row) for row in all_rows(session.journal)]
    wanted = [
        line
        for line in lines
        if (since is None or line.day >= since) and (until is None or line.day <= until)
    ]
    return sorted(wanted, key=lambda line: line.time, reverse=True)


def line_of(session: Session, job: JobSnapshot) -> Line:
    """Return the ledger line of one job's training."""
    money = Reservations(session.journal)
    reservation = money.get(job.id)
    return _training_line(job, reservation, money.charge(job, reservation, session.clock.now()))


def _hosting_lines(lease: Lease, now: dt.datetime) -> list[Line]:
    lines: list[Line] = []
    for month in months_of(lease.started_at, lease.closed_at or max(lease.ends_at, now)):
        begins = max(lease.started_at, month_bounds(month)[0])
        counted = lease.charge(now, month)
        if counted == 0 and lines:
            continue  # it ended at the end of the previous month
        lines.append(
            Line(
                kind="hosting",
                id=lease.id,
                time=begins,
                provider=lease.provider,
                model=lease.model,
                status=lease.state,
                actual=lease.cost(now, month) if lease.state == "closed" else None,
                counted=counted,
                why=lease.why or f"until {lease.ends_at:%Y-%m-%d %H:%M} UTC",
                profile=lease.profile,
            )
        )
    return lines


def _chat_line(row: ChatCosts) -> Line:
    """Return the line of some chats. What is of unknown price makes the whole charge unknown."""
    known = not row.unknown
    calls = plural(row.calls, "call")
    if row.unknown:
        calls += f", {row.unknown:,} of unknown price; ${row.spent:f} for the rest"
    elif row.source:
        calls += f" at {row.source}"
    return Line(
        kind="chat",
        id=row.id,
        time=row.created_at,
        provider=row.provider,
        model=row.model,
        status="open" if row.is_open else "closed",
        low=row.low,
        high=row.high,
        actual=row.spent if known and not row.is_open else None,
        counted=row.counted if known else None,
        why=f"{calls}; ${row.held:.2f} is held for the rest" if row.held else calls,
        name=row.what,
        profile=row.profile,
    )


def _unreadable_line(job: UnreadableJob, reservation: Reservation | None, now: dt.datetime) -> Line:
    """Return the line of a job whose row cannot be read: what its columns and its reservation say."""
    charge = charge_for(job, reservation)
    return Line(
        kind="training",
        id=job.id,
        time=job.created_at or now,
        provider=job.provider,
        model="",
        status="unreadable",
        low=reservation.cost.low if reservation is not None else None,
        high=reservation.cost.high if reservation is not None else None,
        quoted=reservation.quoted if reservation is not None else None,
        actual=charge.usd if charge.is_known else None,
        counted=charge.usd,
        why=charge.why,
        profile=None if reservation is None else reservation.profile,
    )


def _training_line(job: JobSnapshot, reservation: Reservation | None, charge: Charge) -> Line:
    return Line(
        kind="training",
        id=job.id,
        time=job.submitted_at or job.created_at,
        provider=job.provider,
        model=job.model,
        status=job.status.value,
        low=reservation.cost.low if reservation is not None else None,
        high=reservation.cost.high if reservation is not None else None,
        quoted=reservation.quoted if reservation is not None else None,
        actual=charge.usd if charge.is_known else None,
        counted=charge.usd,
        why=charge.why,
        name=job.name,
        profile=job.profile,
        tags=job.tags,
    )


# --- a table for spreadsheets ----------------------------------------------------------------------

COLUMNS = (
    "day", "kind", "id", "name", "provider", "model", "profile", "status", "tags",
    "estimate_low_usd", "estimate_high_usd", "quoted_usd", "actual_usd", "counted_usd", "off_usd",
    "source",
)  # fmt: skip


def to_csv(lines: Iterable[Line]) -> str:
    """Return the lines as CSV (RFC 4180) with a header; text cells cannot become formulas."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in lines:
        tags = " ".join(f"{name}={value}" for name, value in sorted(line.tags.items()))
        texts = (line.kind, line.id, line.name or "", line.provider, line.model)
        more = (line.profile or "", line.status, tags)
        amounts = (line.low, line.high, line.quoted, line.actual, line.counted, line.off)
        writer.writerow(
            (
                line.day.isoformat(),
                *(safe_cell(text) for text in (*texts, *more)),
                *("" if amount is None else f"{amount:f}" for amount in amounts),
                safe_cell(line.why),
            )
        )
    return out.getvalue()


def safe_cell(text: str) -> str:
    """Return `text` without control characters, and with `'` before anything like a formula."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    risky = text[:1] in _FORMULA or plain.lstrip()[:1] in _FORMULA
    return f"'{plain}" if risky else plain
