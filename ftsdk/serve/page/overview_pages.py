"""Pages over all jobs: deployments that cost now, retirements, and reports."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from ftsdk.catalogue.retirement_calendar import Retirement, Retirements
from ftsdk.serve.page import words
from ftsdk.serve.page.html import Child, Html, el
from ftsdk.serve.page.layout import View, card, confirmed, document, heading, table
from ftsdk.serve.page.reports import Report
from ftsdk.store.leases import Lease
from ftsdk.util.names import plural

_STATES: Mapping[str, str] = {"ended": "bad", "soon": "warn", "later": "", "open": "soft"}


def deployments_page(view: View, leases: Sequence[Lease], names: Mapping[str, str]) -> Html:
    """Return the page of all deployments, running ones first."""
    running = [one for one in leases if one.state != "closed"]
    if not leases:
        empty = el("p", "Nothing was deployed from here. A deployment costs by the hour; ", el("code", "ftsdk deploy JOB"), " starts one.")  # fmt: skip
        return document(view, "Deployments", heading("Deployments"), card(None, empty))
    columns = ("Model", "Provider", "An hour", "So far", "Until", "State", "")
    rows = [
        _deployment(view, one, names)
        for one in [*running, *(x for x in leases if x not in running)]
    ]
    note = (
        f"{plural(len(running), 'deployment')} {'costs' if len(running) == 1 else 'cost'} money now"
        if running
        else "nothing costs money now"
    )
    shown = table(columns, rows, numbers=(2, 3), label="Deployments")
    return document(view, "Deployments", heading("Deployments", note), card(None, shown))


def _deployment(view: View, lease: Lease, names: Mapping[str, str]) -> list[Child]:
    name = names.get(lease.job_id or "", lease.model)
    end: Child = None
    if lease.state != "closed":
        end = confirmed(
            view, "End now", f"{name} will not answer any more. Its model stays.",
            f"/deployments/{lease.id}/end", "End it now",
        )  # fmt: skip
    return [
        el("a", name, href=f"/jobs/{lease.job_id}") if lease.job_id else name,
        words.provider_name(lease.provider),
        "not known" if lease.usd_per_hour is None else words.money(lease.usd_per_hour),
        "not known" if lease.cost(view.now) is None else words.money(lease.cost(view.now)),
        words.when(lease.closed_at or lease.ends_at, view.now),
        f"{lease.state}{f': {lease.why}' if lease.why else ''}",
        end,
    ]


def retirements_page(view: View, found: Retirements) -> Html:
    """Return the page of dates at which models end, soonest first."""
    if not found.rows:
        empty = el("p", "No job here has a model that a provider could retire.")
        return document(view, "Retirements", heading("Retirements"), card(None, empty))
    columns = ("Model", "At", "Ends", "Train again by", "Note", "Source")
    rows = [_retirement(one, found.today) for one in found.rows]
    tinted = [k for k, one in enumerate(found.rows) if one in found.urgent]
    note = (
        f"{plural(len(found.urgent), 'model')} to decide about"
        if found.urgent
        else "nothing is urgent"
    )
    how = el("p", el("code", "ftsdk retirements --live"), " asks the providers for dates; ", el("code", "--ack NAME"), " marks one as known.", class_="soft")  # fmt: skip
    shown = table(columns, rows, label="Retirements", changed=tinted)
    return document(view, "Retirements", heading("Retirements", note), card(None, shown, how))


def _retirement(one: Retirement, today: dt.date) -> list[Child]:
    left = "no date known" if one.days_left is None else words.in_days(one.days_left)
    notes = [left if one.state != "ended" else "ended"]
    notes += ["known"] if one.acknowledged else []
    notes += [] if one.confirmed else ["unconfirmed"]
    source = f"{one.source}{'' if one.as_of is None else f', {one.as_of}'}"
    where = f"{words.provider_name(one.provider)} · {one.model}"
    return [
        el("span", one.name, class_=_STATES[one.state] or None),
        words.provider_name(one.provider) if one.kind == "base" else where,
        _day(one.retires_on),
        "passed" if one.retrain_by is not None and one.retrain_by < today else _day(one.retrain_by),
        " · ".join(notes),
        el("span", source, class_="soft"),
    ]


def _day(day: dt.date | None) -> str:
    return "" if day is None else words.date_words(day)


def reports_page(view: View, found: Sequence[Report], folders: Sequence[str]) -> Html:
    """Return the list of reports of migrations and evaluations."""
    if not folders:
        how = el("p", "Start the server with ", el("code", "--reports FOLDER"), " to see the reports in it: those of ", el("code", "ftsdk migrate"), ", and of ", el("code", "ftsdk evaluate --html FILE"), ".")  # fmt: skip
        return document(view, "Reports", heading("Reports"), card(None, how))
    if not found:
        none = el("p", f"There is no report in {', '.join(folders)} yet.")
        return document(view, "Reports", heading("Reports"), card(None, none))
    rows: list[list[Child]] = [
        [
            el("a", one.title, href=f"/reports/{one.id}"),
            one.place,
            words.when(one.written_at, view.now),
        ]
        for one in found
    ]
    shown = table(("Report", "File", "Written"), rows, label="Reports")
    return document(
        view, "Reports", heading("Reports", plural(len(found), "report")), card(None, shown)
    )
