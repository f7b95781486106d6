"""When each fine-tune and base model retires, and the last day to retrain it."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ftsdk.catalogue.load import shipped
from ftsdk.catalogue.retirement import WARNING_DAYS, Live, RetirementDates, retirement_dates
from ftsdk.catalogue.schema import Catalogue
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

_GONE = frozenset({JobStatus.FAILED, JobStatus.CANCELLED})
State = Literal["ended", "soon", "later", "open"]
_ORDER: Mapping[str, int] = {"ended": 0, "soon": 1, "later": 2, "open": 3}


@dataclass(frozen=True)
class AccountModel:
    """A model in a provider's account. `base` is the model that it was tuned from."""

    provider: str
    id: str
    base: str | None = None
    ends_on: dt.date | None = None


@dataclass(frozen=True)
class Retirement:
    """When one fine-tune or base model retires. `subject` identifies it for acknowledgements."""

    kind: Literal["fine-tune", "base"]
    provider: str
    model: str
    subject: str
    name: str
    state: State
    retires_on: dt.date | None
    retrain_by: dt.date | None
    days_left: int | None
    source: str
    as_of: dt.date | None
    confirmed: bool
    note: str
    acknowledged: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the row as the command line prints it with `--json`."""
        row = {"dies_on" if name == "retires_on" else name: v for name, v in vars(self).items()}
        for field in ("dies_on", "retrain_by", "as_of"):
            row[field] = None if row[field] is None else row[field].isoformat()
        return row


@dataclass(frozen=True)
class Retirements:
    """All retirements, soonest first; `not_asked` lists the providers that could not be asked, and why."""

    today: dt.date
    within_days: int
    rows: tuple[Retirement, ...]
    not_asked: tuple[str, ...] = ()

    @property
    def urgent(self) -> tuple[Retirement, ...]:
        """The rows that have ended or end soon and are not acknowledged."""
        return tuple(r for r in self.rows if r.state in ("ended", "soon") and not r.acknowledged)

    @property
    def exit_code(self) -> int:
        """0, or 7 (needs a decision) when something is urgent; for CI."""
        return 7 if self.urgent else 0


def retirements_of(
    jobs: Iterable[JobSnapshot],
    today: dt.date,
    *,
    account: Iterable[AccountModel] = (),
    live: Live | None = None,
    acknowledged: frozenset[str] = frozenset(),
    within_days: int = WARNING_DAYS,
    catalogue: Catalogue | None = None,
) -> Retirements:
    """Return every fine-tune and base model of the journal and the accounts with its end date.

    Failed and cancelled jobs are left out. A job appears once, even if the account lists its model
    too. Local models have no end date.
    """
    catalogue = catalogue or shipped()
    account = list(account)
    reported = {**(live or {}), **{(a.provider, a.id): a.ends_on for a in account if a.ends_on}}
    rows: dict[str, Retirement] = {}
    bases: set[tuple[str, str]] = set()

    def add(
        kind: Literal["fine-tune", "base"], dates: RetirementDates, subject: str, name: str
    ) -> None:
        rows[subject] = _retirement(kind, dates, subject, name, today, within_days, acknowledged)

    for job in jobs:
        if job.status in _GONE:
            continue
        dates = retirement_dates(job.provider, job.model, catalogue=catalogue, live=reported)
        add("fine-tune", dates, job.id, job.name or job.id)
        bases.add((job.provider, dates.model))
    for one in account:
        dates = retirement_dates(
            one.provider, one.base or one.id, catalogue=catalogue, live=reported
        )
        if one.base is None:
            bases.add((one.provider, dates.model))
            continue
        own = retirement_dates(one.provider, one.id, catalogue=catalogue, live=reported)
        nearest = min((x for x in (own, dates) if x.ends_on), key=_end, default=dates)
        add("fine-tune", replace(nearest, model=dates.model), f"{one.provider}:{one.id}", one.id)
        bases.add((one.provider, dates.model))
    for provider, model in bases:
        dates = retirement_dates(provider, model, catalogue=catalogue, live=reported)
        add("base", dates, f"{provider}:{model}", model)
    ordered = sorted(rows.values(), key=_nearest_first)
    return Retirements(today, within_days, tuple(ordered))


def _end(dates: RetirementDates) -> dt.date:
    return dates.ends_on or dt.date.max


def _nearest_first(row: Retirement) -> tuple[int, dt.date, str, str]:
    day = row.retires_on or row.retrain_by or dt.date.max
    return (_ORDER[row.state], day, row.kind, row.subject)


def _retirement(
    kind: Literal["fine-tune", "base"],
    dates: RetirementDates,
    subject: str,
    name: str,
    today: dt.date,
    within_days: int,
    acknowledged: frozenset[str],
) -> Retirement:
    nearest = min((d for d in (dates.ends_on, dates.retrain_by) if d is not None), default=None)
    if dates.ends_on is not None and dates.ends_on <= today:
        state: State = "ended"
    elif nearest is None:
        state = "open"
    else:
        state = "soon" if (nearest - today).days <= within_days else "later"
    return Retirement(
        kind,
        dates.provider,
        dates.model,
        subject,
        name,
        state,
        dates.ends_on,
        dates.retrain_by,
        None if dates.ends_on is None else (dates.ends_on - today).days,
        dates.source,
        dates.as_of,
        dates.confirmed,
        dates.note,
        subject in acknowledged,
    )


# --- the calendar file (RFC 5545) --------------------------------------------------------------


def calendar(found: Retirements, now: dt.datetime) -> str:
    """Return the dates as an iCalendar file: all-day events with reminders 14 days and 1 day before.

    Event ids are stable, so a second import updates events instead of duplicating them.
    """
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//ftsdk//radar//EN", "CALSCALE:GREGORIAN"]
    for row in found.rows:
        if row.retires_on is not None:
            lines += _event(row, "ends", row.retires_on, f"{row.name} ends at {row.provider}", now)
        if row.retrain_by is not None and row.kind == "base":
            text = f"Last day to train {row.model} at {row.provider}"
            lines += _event(row, "retrain", row.retrain_by, text, now)
    lines.append("END:VCALENDAR")
    return "".join(part + "\r\n" for line in lines for part in _folded(line))


def _event(row: Retirement, kind: str, day: dt.date, summary: str, now: dt.datetime) -> list[str]:
    identity = hashlib.sha256(f"{row.subject}\0{kind}".encode()).hexdigest()[:32]
    description = f"{row.kind} of {row.model}. Source: {row.source}"
    if row.as_of is not None:
        description += f", as of {row.as_of}"
    if not row.confirmed:
        description += " (UNCONFIRMED)"
    if row.note:
        description += f"\n{row.note}"
    alarms = [
        line
        for trigger in ("-P14D", "-P1D")
        for line in (
            "BEGIN:VALARM",
            "ACTION:DISPLAY",
            f"DESCRIPTION:{_text(summary)}",
            f"TRIGGER:{trigger}",
            "END:VALARM",
        )
    ]
    return [
        "BEGIN:VEVENT",
        f"UID:{identity}@ftsdk",
        f"DTSTAMP:{now.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}",
        f"DTSTART;VALUE=DATE:{day:%Y%m%d}",
        f"DTEND;VALUE=DATE:{day + dt.timedelta(days=1):%Y%m%d}",
        f"SUMMARY:{_text(summary)}",
        f"DESCRIPTION:{_text(description)}",
        "TRANSP:TRANSPARENT",
        *alarms,
        "END:VEVENT",
    ]


def _text(value: str) -> str:
    """Escape a text value (RFC 5545, 3.3.11) and drop control characters."""
    escaped = value.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    escaped = escaped.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")
    return "".join(c for c in escaped if c.isprintable())


def _folded(line: str) -> Iterator[str]:
    """Fold a line into parts of at most 75 octets; later parts start with a space (RFC 5545, 3.1)."""
    part, size, limit = "", 0, 75
    for character in line:
        octets = len(character.encode())
        if size + octets > limit:
            yield part
            part, size = " ", 1
        part += character
        size += octets
    yield part
