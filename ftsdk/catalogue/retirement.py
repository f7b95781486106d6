"""When a provider stops taking jobs for a model, and when a fine-tune stops working.

Providers publish an end date, and seldom say whether that day still counts. So the last safe day is
the one before; on the day itself a job is sent with a warning; from the day after it is refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from ftsdk.catalogue.load import Entry, lookup, shipped
from ftsdk.catalogue.schema import Catalogue, Dated

WARNING_DAYS = 60
"""How many days before an end date a warning is given."""

Live = Mapping[tuple[str, str], dt.date]
"""End dates that providers just reported, by (provider, model id); they take precedence."""


@dataclass(frozen=True)
class RetirementDates:
    """The end dates of one model at one provider. None means that no date is known."""

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


def retirement_dates(
    provider: str, model: str, *, catalogue: Catalogue | None = None, live: Live | None = None
) -> RetirementDates:
    """Return the end dates of `model` at `provider`: as just reported, else from the catalogue."""
    catalogue = catalogue or shipped()
    entry = lookup(provider, model, catalogue)
    reported = _reported(provider, model, entry, live)
    if entry is None:
        source_title = f"{provider}, asked now" if reported else ""
        before = last_safe_day(reported)
        return RetirementDates(
            provider, model, ends_on=reported, retrain_by=before, source=source_title
        )
    new_jobs = _earliest(
        entry.facts.no_new_jobs_from, entry.model.no_new_jobs_from if entry.model else None
    )
    end = _earliest(entry.facts.ends_on, entry.model.ends_on if entry.model else None)
    last = end.day if end is not None and reported is None else reported
    figure = end if reported is None and end is not None else new_jobs
    source = catalogue.source(figure) if figure is not None else None
    return RetirementDates(
        provider,
        entry.model_id or model,
        no_new_jobs_from=new_jobs.day if new_jobs else None,
        ends_on=last,
        retrain_by=last_safe_day(new_jobs.day if new_jobs else None, last),
        source=f"{provider}, asked now" if reported else source.title if source else "",
        as_of=None if reported or source is None else source.day,
        confirmed=reported is not None or figure is None or figure.confirmed,
        note="" if figure is None else figure.note,
        replacement=entry.model.replacement if entry.model else "",
    )


def _reported(provider: str, model: str, entry: Entry | None, live: Live | None) -> dt.date | None:
    if not live:
        return None
    ids = [model, *([entry.model_id] if entry is not None and entry.model_id else [])]
    return next((live[provider, name] for name in ids if (provider, name) in live), None)


def _earliest(*days: Dated | None) -> Dated | None:
    known = [day for day in days if day is not None]
    return min(known, key=lambda date: date.day) if known else None


def last_safe_day(*named: dt.date | None) -> dt.date | None:
    """Return the last day on which a new job is sure to be accepted: the one before the first date."""
    known = [day for day in named if day is not None]
    return min(known) - dt.timedelta(days=1) if known else None


def ends_on(
    provider: str, model: str, *, catalogue: Catalogue | None = None, live: Live | None = None
) -> dt.date | None:
    """Return the day on which `model` and its fine-tunes stop working, if one is known."""
    return retirement_dates(provider, model, catalogue=catalogue, live=live).ends_on


def closed_reason(
    provider: str,
    model: str,
    today: dt.date,
    *,
    catalogue: Catalogue | None = None,
    live: Live | None = None,
) -> str | None:
    """Return why no new job is accepted today, as one sentence; None when jobs are accepted."""
    catalogue = catalogue or shipped()
    entry = lookup(provider, model, catalogue)
    dates = retirement_dates(provider, model, catalogue=catalogue, live=live)
    if dates.ends_on is not None and dates.ends_on <= today:
        return f"{dates.model} ended at {_title(entry, provider)} on {dates.ends_on}{_doubt(dates)}"
    if entry is None:
        return None
    title = entry.facts.title
    for figure, subject in (
        (entry.facts.no_new_jobs_from, title),
        (entry.model.no_new_jobs_from if entry.model else None, f"{title} for {dates.model}"),
    ):
        if figure is not None and figure.day < today:
            day = f"{figure.day}" + ("" if figure.confirmed else f" (UNCONFIRMED: {figure.note})")
            return f"{subject} takes no new jobs since {day}"
    return None


def _title(entry: Entry | None, provider: str) -> str:
    return provider if entry is None else entry.facts.title


def _doubt(dates: RetirementDates) -> str:
    return "" if dates.confirmed else f" (UNCONFIRMED: {dates.note})"


def date_warnings(
    provider: str,
    model: str,
    today: dt.date,
    *,
    within_days: int = WARNING_DAYS,
    catalogue: Catalogue | None = None,
    live: Live | None = None,
) -> tuple[str, ...]:
    """Return warnings about end dates within `within_days` and about accounts that are shut out."""
    catalogue = catalogue or shipped()
    entry = lookup(provider, model, catalogue)
    dates = retirement_dates(provider, model, catalogue=catalogue, live=live)
    title, messages = _title(entry, provider), list[str]()
    if entry is not None:
        for figure in (
            entry.facts.closed_to_new_accounts_on,
            entry.model.closed_to_new_accounts_on if entry.model else None,
        ):
            if figure is not None and figure.day <= today:
                accounts = figure.note or "accounts without earlier jobs"
                messages.append(
                    f"{title} has been closed since {figure.day} to some accounts ({accounts})"
                )
    if dates.no_new_jobs_from is not None:
        left = (dates.no_new_jobs_from - today).days
        if left == 0:
            messages.append(f"{title} takes no new jobs from today on; it may already refuse them")
        elif 0 < left <= within_days:
            day = dates.no_new_jobs_from
            messages.append(
                f"{title} takes no new jobs from {day}, in {_days(left)}; "
                f"the last safe day is {last_safe_day(day)}"
            )
    if dates.ends_on is not None and 0 < (left := (dates.ends_on - today).days) <= within_days:
        after = f"; replacement: {dates.replacement}" if dates.replacement else ""
        messages.append(
            f"{dates.model} and every fine-tune of it end on {dates.ends_on}, "
            f"in {_days(left)}{after}{_doubt(dates)}"
        )
    return tuple(messages)


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
