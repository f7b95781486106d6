"""Which doors are closed, which close soon, and until when a fine-tune answers.

Providers name the day of an end, and seldom say whether that day still counts. It is read with care
both ways: the last safe day is the one before, on the day itself a job is tried with a warning, and
from the day after it is refused here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from ftsdk.catalogue.load import Entry, lookup, shipped
from ftsdk.catalogue.schema import Catalogue, Dated

__all__ = [
    "WITHIN_DAYS",
    "Lifetime",
    "Live",
    "closed",
    "ends_on",
    "last_safe_day",
    "lifetime",
    "warnings",
]

WITHIN_DAYS = 60
"""How near an end must be to be warned of."""

Live = Mapping[tuple[str, str], dt.date]
"""Ends that a provider told just now, by (provider, model id); they are preferred."""


@dataclass(frozen=True)
class Lifetime:
    """The days that matter for one model at one provider. None: no day is known."""

    provider: str
    model: str
    no_new_jobs_from: dt.date | None = None
    ends_on: dt.date | None = None
    retrain_by: dt.date | None = None
    source: str = ""
    as_of: dt.date | None = None
    confirmed: bool = True
    note: str = ""
    replacement: str = ""


def lifetime(
    provider: str, model: str, *, catalogue: Catalogue | None = None, live: Live | None = None
) -> Lifetime:
    """The ends of `model` at `provider`: what the provider told just now, else the catalogue."""
    book = catalogue or shipped()
    entry = lookup(provider, model, book)
    told = _told(provider, model, entry, live)
    if entry is None:
        asked = f"{provider}, asked now" if told else ""
        before = last_safe_day(told)
        return Lifetime(provider, model, ends_on=told, retrain_by=before, source=asked)
    new_jobs = _earliest(
        entry.facts.no_new_jobs_from, entry.model.no_new_jobs_from if entry.model else None
    )
    end = _earliest(entry.facts.ends_on, entry.model.ends_on if entry.model else None)
    last = end.day if end is not None and told is None else told
    figure = end if told is None and end is not None else new_jobs
    source = book.source(figure) if figure is not None else None
    return Lifetime(
        provider,
        entry.model_id or model,
        no_new_jobs_from=new_jobs.day if new_jobs else None,
        ends_on=last,
        retrain_by=last_safe_day(new_jobs.day if new_jobs else None, last),
        source=f"{provider}, asked now" if told else source.title if source else "",
        as_of=None if told or source is None else source.day,
        confirmed=told is not None or figure is None or figure.confirmed,
        note="" if figure is None else figure.note,
        replacement=entry.model.replacement if entry.model else "",
    )


def _told(provider: str, model: str, entry: Entry | None, live: Live | None) -> dt.date | None:
    if not live:
        return None
    ids = [model, *([entry.model_id] if entry is not None and entry.model_id else [])]
    return next((live[provider, one] for one in ids if (provider, one) in live), None)


def _earliest(*days: Dated | None) -> Dated | None:
    known = [day for day in days if day is not None]
    return min(known, key=lambda one: one.day) if known else None


def last_safe_day(*named: dt.date | None) -> dt.date | None:
    """The last day on which a new job is surely taken: the one before the first day named."""
    known = [day for day in named if day is not None]
    return min(known) - dt.timedelta(days=1) if known else None


def ends_on(
    provider: str, model: str, *, catalogue: Catalogue | None = None, live: Live | None = None
) -> dt.date | None:
    """The day on which `model` and every fine-tune of it stop answering, where one is known."""
    return lifetime(provider, model, catalogue=catalogue, live=live).ends_on


def closed(
    provider: str,
    model: str,
    today: dt.date,
    *,
    catalogue: Catalogue | None = None,
    live: Live | None = None,
) -> str | None:
    """Why no new job can be made here today, as one sentence; None while the door is open."""
    book = catalogue or shipped()
    entry = lookup(provider, model, book)
    life = lifetime(provider, model, catalogue=book, live=live)
    if life.ends_on is not None and life.ends_on <= today:
        return f"{life.model} ended at {_title(entry, provider)} on {life.ends_on}{_doubt(life)}"
    if entry is None:
        return None
    title = entry.facts.title
    for figure, whom in (
        (entry.facts.no_new_jobs_from, title),
        (entry.model.no_new_jobs_from if entry.model else None, f"{title} for {life.model}"),
    ):
        if figure is not None and figure.day < today:
            day = f"{figure.day}" + ("" if figure.confirmed else f" (UNCONFIRMED: {figure.note})")
            return f"{whom} takes no new jobs since {day}"
    return None


def _title(entry: Entry | None, provider: str) -> str:
    return provider if entry is None else entry.facts.title


def _doubt(life: Lifetime) -> str:
    return "" if life.confirmed else f" (UNCONFIRMED: {life.note})"


def warnings(
    provider: str,
    model: str,
    today: dt.date,
    *,
    within_days: int = WITHIN_DAYS,
    catalogue: Catalogue | None = None,
    live: Live | None = None,
) -> tuple[str, ...]:
    """What ends within `within_days`, and doors that are closed to some accounts; may be empty."""
    book = catalogue or shipped()
    entry = lookup(provider, model, book)
    life = lifetime(provider, model, catalogue=book, live=live)
    title, said = _title(entry, provider), list[str]()
    if entry is not None:
        for figure in (
            entry.facts.closed_to_new_accounts_on,
            entry.model.closed_to_new_accounts_on if entry.model else None,
        ):
            if figure is not None and figure.day <= today:
                whom = figure.note or "accounts without earlier jobs"
                said.append(f"{title} is closed since {figure.day} to some accounts ({whom})")
    if life.no_new_jobs_from is not None:
        left = (life.no_new_jobs_from - today).days
        if left == 0:
            said.append(f"{title} takes no new jobs from today on; it may refuse already")
        elif 0 < left <= within_days:
            day = life.no_new_jobs_from
            said.append(
                f"{title} takes no new jobs from {day}, in {_days(left)}; "
                f"the last safe day is {last_safe_day(day)}"
            )
    if life.ends_on is not None and 0 < (left := (life.ends_on - today).days) <= within_days:
        after = f"; named replacement: {life.replacement}" if life.replacement else ""
        said.append(
            f"{life.model} and every fine-tune of it end on {life.ends_on}, "
            f"in {_days(left)}{after}{_doubt(life)}"
        )
    return tuple(said)


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
