"""The calendar of endings: each fine-tune one has, the day it dies, the last day to retrain."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ftsdk.catalogue.load import shipped
from ftsdk.catalogue.retirement import WITHIN_DAYS, Lifetime, Live, lifetime
from ftsdk.catalogue.schema import Catalogue
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

_GONE = frozenset({JobStatus.FAILED, JobStatus.CANCELLED})
State = Literal["ended", "soon", "later", "open"]
_ORDER: Mapping[str, int] = {"ended": 0, "soon": 1, "later": 2, "open": 3}


@dataclass(frozen=True)
class AccountModel:
    """A model that a provider's account lists: `base` names what it was tuned from."""

    provider: str
    id: str
    base: str | None = None
    ends_on: dt.date | None = None


@dataclass(frozen=True)
class Retirement:
    """One thing that lives somewhere, and until when. `subject` names it for acknowledging."""

    kind: Literal["fine-tune", "base"]
    provider: str
    model: str
    subject: str
    name: str
    state: State
    dies_on: dt.date | None
    retrain_by: dt.date | None
    days_left: int | None
    source: str
    as_of: dt.date | None
    confirmed: bool
    note: str
    acknowledged: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The row as the command line prints it with `--json`."""
        row = dict(vars(self))
        for field in ("dies_on", "retrain_by", "as_of"):
            row[field] = None if row[field] is None else row[field].isoformat()
        return row


@dataclass(frozen=True)
class Retirements:
    """All endings, the nearest first; `not_asked` says which providers could not be asked, and why."""

    today: dt.date
    within_days: int
    rows: tuple[Retirement, ...]
    not_asked: tuple[str, ...] = ()

    @property
    def pressing(self) -> tuple[Retirement, ...]:
        """What has ended or ends soon, and nobody has acknowledged."""
        return tuple(r for r in self.rows if r.state in ("ended", "soon") and not r.acknowledged)

    @property
    def exit_code(self) -> int:
        """0, or 7 (needs a decision) when something is pressing: for CI."""
        return 7 if self.pressing else 0


def retirements_of(
    jobs: Iterable[JobSnapshot],
    today: dt.date,
    *,
    account: Iterable[AccountModel] = (),
    live: Live | None = None,
    acknowledged: frozenset[str] = frozenset(),
    within_days: int = WITHIN_DAYS,
    catalogue: Catalogue | None = None,
) -> Retirements:
    """Every fine-tune and base of the journal and the account, with the day it dies.

    Failed and cancelled jobs made nothing and are left out. A job stands once, even where the
    account lists its model, too. Models of this machine have no end.
    """
    book = catalogue or shipped()
    account = list(account)
    told = {**(live or {}), **{(a.provider, a.id): a.ends_on for a in account if a.ends_on}}
    rows: dict[str, Retirement] = {}
    bases: set[tuple[str, str]] = set()

    def put(kind: Literal["fine-tune", "base"], life: Lifetime, subject: str, name: str) -> None:
        rows[subject] = _retirement(kind, life, subject, name, today, within_days, acknowledged)

    for job in jobs:
        if job.status in _GONE:
            continue
        life = lifetime(job.provider, job.model, catalogue=book, live=told)
        put("fine-tune", life, job.id, job.name or job.id)
        bases.add((job.provider, life.model))
    for one in account:
        life = lifetime(one.provider, one.base or one.id, catalogue=book, live=told)
        if one.base is None:
            bases.add((one.provider, life.model))
            continue
        own = lifetime(one.provider, one.id, catalogue=book, live=told)
        nearest = min((x for x in (own, life) if x.ends_on), key=_end, default=life)
        put("fine-tune", replace(nearest, model=life.model), f"{one.provider}:{one.id}", one.id)
        bases.add((one.provider, life.model))
    for provider, model in bases:
        life = lifetime(provider, model, catalogue=book, live=told)
        put("base", life, f"{provider}:{model}", model)
    ordered = sorted(rows.values(), key=_nearest_first)
    return Retirements(today, within_days, tuple(ordered))


def _end(life: Lifetime) -> dt.date:
    return life.ends_on or dt.date.max


def _nearest_first(row: Retirement) -> tuple[int, dt.date, str, str]:
    day = row.dies_on or row.retrain_by or dt.date.max
    return (_ORDER[row.state], day, row.kind, row.subject)


def _retirement(
    kind: Literal["fine-tune", "base"],
    life: Lifetime,
    subject: str,
    name: str,
    today: dt.date,
    within_days: int,
    acknowledged: frozenset[str],
) -> Retirement:
    nearest = min((d for d in (life.ends_on, life.retrain_by) if d is not None), default=None)
    if life.ends_on is not None and life.ends_on <= today:
        state: State = "ended"
    elif nearest is None:
        state = "open"
    else:
        state = "soon" if (nearest - today).days <= within_days else "later"
    return Retirement(
        kind,
        life.provider,
        life.model,
        subject,
        name,
        state,
        life.ends_on,
        life.retrain_by,
        None if life.ends_on is None else (life.ends_on - today).days,
        life.source,
        life.as_of,
        life.confirmed,
        life.note,
        subject in acknowledged,
    )


# --- the calendar file (RFC 5545) --------------------------------------------------------------


def calendar(found: Retirements, now: dt.datetime) -> str:
    """The endings as an iCalendar file: whole days, reminded of two weeks and one day before.

    Identities are stable, so that a second import moves an event instead of doubling it.
    """
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//ftsdk//radar//EN", "CALSCALE:GREGORIAN"]
    for row in found.rows:
        if row.dies_on is not None:
            lines += _event(row, "ends", row.dies_on, f"{row.name} ends at {row.provider}", now)
        if row.retrain_by is not None and row.kind == "base":
            text = f"Last day to train {row.model} at {row.provider}"
            lines += _event(row, "retrain", row.retrain_by, text, now)
    lines.append("END:VCALENDAR")
    return "".join(part + "\r\n" for line in lines for part in _folded(line))


def _event(row: Retirement, kind: str, day: dt.date, summary: str, now: dt.datetime) -> list[str]:
    identity = hashlib.sha256(f"{row.subject}\0{kind}".encode()).hexdigest()[:32]
    told = f"{row.kind} of {row.model}. Source: {row.source}"
    if row.as_of is not None:
        told += f", as of {row.as_of}"
    if not row.confirmed:
        told += " (UNCONFIRMED)"
    if row.note:
        told += f"\n{row.note}"
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
        f"DESCRIPTION:{_text(told)}",
        "TRANSP:TRANSPARENT",
        *alarms,
        "END:VEVENT",
    ]


def _text(value: str) -> str:
    """A value that cannot break out of its line: RFC 5545, 3.3.11; control characters are left out."""
    escaped = value.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    escaped = escaped.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")
    return "".join(c for c in escaped if c.isprintable())


def _folded(line: str) -> Iterator[str]:
    """Lines of at most 75 octets, the further ones with a space before them (RFC 5545, 3.1)."""
    part, size, limit = "", 0, 75
    for character in line:
        octets = len(character.encode())
        if size + octets > limit:
            yield part
            part, size = " ", 1
        part += character
        size += octets
    yield part
