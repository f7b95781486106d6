"""The bars above every page: deployments that cost money now, dates that end something, this month's money."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ftsdk.catalogue.retirement import retirement_dates
from ftsdk.serve.page import words
from ftsdk.serve.page.html import Child, Html, el, join
from ftsdk.serve.page.layout import View, confirmed
from ftsdk.serve.page.marks import warning_mark
from ftsdk.session import Session
from ftsdk.spending.budget import budget_of
from ftsdk.store.job_overview import models_in_use
from ftsdk.store.leases import Lease, Leases
from ftsdk.store.reservations import Reservations
from ftsdk.util.durations import duration

WARNING_DAYS = 90
_KEPT_S = 60.0
Ends = dict[tuple[str, str], dt.date]


@dataclass(frozen=True)
class SlowFacts:
    """What takes long to read from a large journal: when models end, who was made from them, the month."""

    ends: Ends
    names: dict[tuple[str, str], tuple[str, ...]]
    month_usd: Decimal
    limit_usd: Decimal | None


class SlowReader:
    """Reads the slow facts at most once a minute; a page has those of before while they are read again."""

    def __init__(self, session: Session) -> None:
        self._session, self._lock = session, threading.Lock()
        self._read_at: dt.datetime | None = None
        self._facts: SlowFacts | None = None

    def get(self) -> SlowFacts:
        """Return the facts as last read; reads them where they never were."""
        if self._facts is None:
            self.refresh()
        return self._facts or SlowFacts({}, {}, Decimal(0), None)

    def refresh(self) -> None:
        """Read the facts again if they are older than a minute."""
        with self._lock:
            now = self._session.clock.now()
            if self._read_at is None or (now - self._read_at).total_seconds() > _KEPT_S:
                self._facts = self._read()
                self._read_at = now

    def _read(self) -> SlowFacts:
        session = self._session
        names = models_in_use(session.journal)
        month = Reservations(session.journal).month(session.clock.now())
        limits = [limit.usd for limit in budget_of(session.config).limits]
        return SlowFacts(
            dict(self._ends(names)), names, month.spent + month.reserved, min(limits, default=None)
        )

    def _ends(self, models: Iterable[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], dt.date]]:
        for provider, model in models:
            dates = retirement_dates(provider, model, catalogue=self._session.catalogue)
            if dates.ends_on is not None:
                yield (provider, model), dates.ends_on


def running_leases(session: Session) -> list[Lease]:
    """Return the deployments that cost money now, or may."""
    return Leases(session.journal).list(running=True)


def costs_bar(view: View, leases: Sequence[Lease], names: dict[str, str]) -> Html | None:
    """Return the bar of deployments that cost money now, with a button to end each; none without one."""
    if not leases:
        return None
    known = [one.usd_per_hour for one in leases if one.usd_per_hour is not None]
    so_far = [cost for one in leases if (cost := one.cost(view.now)) is not None]
    count = f"{len(leases)} deployments cost" if len(leases) > 1 else "One deployment costs"
    unknown = len(leases) - len(known)
    more = f", and {unknown} at a price that is not known" if unknown else ""
    title = f"{count} {words.money(sum(known, Decimal(0)))} an hour now{more}"
    spent = f"{words.money(sum(so_far, Decimal(0)))} so far. Training does not need them."
    rows = [el("li", _lease(view, one, names)) for one in leases]
    return el(
        "section",
        el("div", el("h2", title), el("div", spent)),
        el("ul", rows),
        class_="costs",
        aria_label="Deployments that cost money now",
    )


def _lease(view: View, lease: Lease, names: dict[str, str]) -> list[Child]:
    seconds = (lease.ends_at - view.now).total_seconds()
    local = lease.ends_at.astimezone()
    ends = (
        f"ends {local:%H:%M}, in {duration(seconds)}"
        if seconds > 0
        else f"its lease is over since {local:%H:%M}"
    )
    name = names.get(lease.job_id or "", lease.model)
    shown = el("a", name, href=f"/jobs/{lease.job_id}") if lease.job_id else el("span", name)
    return [
        shown,
        el("span", lease.provider),
        el("span", f"{words.money(lease.usd_per_hour)}/h"),
        el("span", f"{words.money(lease.cost(view.now))} so far"),
        el("span", ends),
        confirmed(
            view, "End now", f"{name} will not answer any more. Its model stays.",
            f"/deployments/{lease.id}/end", "End it now",
        ),
    ]  # fmt: skip


def dates_bar(today: dt.date, facts: SlowFacts) -> Html | None:
    """Return the bar of models that end soon, by provider; none where none does."""
    lines: list[Html] = []
    soon = {key: day for key, day in facts.ends.items() if (day - today).days <= WARNING_DAYS}
    for provider in sorted({provider for provider, _ in soon}):
        mine = {key: day for key, day in soon.items() if key[0] == provider}
        first = min(mine.values())
        jobs = [name for key in mine for name in facts.names.get(key, ())]
        which = ", ".join(jobs[:3]) + (f" and {len(jobs) - 3} more" if len(jobs) > 3 else "")
        days = (first - today).days
        verb = "end" if days >= 0 else "ended"
        say = el(
            "b",
            f"{words.provider_name(provider)}: models {verb} {words.in_days(days)}.",
        )
        lines.append(
            el("div", say, f" The first stops on {words.date_words(first)}. Yours: {which}.")
        )
    if not lines:
        return None
    inside = el("div", lines)
    return el(
        "section", warning_mark(), inside, class_="dates", aria_label="Dates that end something"
    )


def month_words(facts: SlowFacts, now: dt.datetime) -> Html:
    """Return what this month has cost, and its limit where one is configured."""
    of = "" if facts.limit_usd is None else f" of {words.money(facts.limit_usd)}"
    return el(
        "span", f"{now.astimezone():%B} ", el("b", words.money(facts.month_usd)), of, class_="month"
    )


def joined(*bars: Html | None) -> Html:
    """Return bars one below another."""
    return join(bars)
