"""`retirements`: when each fine-tune retires and the last day to retrain it, for people, CI, calendars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from ftsdk.catalogue.retirement_calendar import Retirement, Retirements
from ftsdk.catalogue.retirement_calendar import calendar as to_calendar
from ftsdk.cli.context import open_client
from ftsdk.cli.options import Json, Profile
from ftsdk.cli.view.files import write_text
from ftsdk.cli.view.formatting import clean, date_text
from ftsdk.cli.view.output import columns, command, emit, note, say
from ftsdk.client import Client
from ftsdk.errors import UsageError
from ftsdk.jobs.retirements import retirements as find_retirements
from ftsdk.store.acknowledgements import Acknowledgements
from ftsdk.util.names import nearest, plural

_HEAD = ("fine-tune", "at", "retires", "retrain by", "note")
Live = Annotated[
    bool,
    typer.Option(
        "--live", help="Ask providers for end dates and the account's fine-tunes. Read-only."
    ),
]
Within = Annotated[
    int | None,
    typer.Option("--within", metavar="DAYS", min=0, help="Days that count as soon; 60 by default."),
]
Ics = Annotated[
    str | None, typer.Option("--ics", metavar="FILE|-", help="Write the dates as a calendar file.")
]
Ack = Annotated[
    list[str] | None,
    typer.Option(
        "--ack", metavar="NAME", help="Acknowledge it: it no longer fails CI. May be repeated."
    ),
]


def retirements(
    live: Live = False,
    within: Within = None,
    ics: Ics = None,
    ack: Ack = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Show when each fine-tune retires, and the last day to retrain it.

    Exits with 7, for CI, when something has retired or retires soon and is not acknowledged. With
    --ics, exits with 0 once the file is written.
    """
    _retirements(profile, live, within, ics, ack, _document if as_json else None)


def radar(
    live: Live = False,
    within: Within = None,
    ics: Ics = None,
    ack: Ack = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """The former name of `ftsdk retirements`; its JSON has the keys `endings` and `dies_on`."""
    _retirements(profile, live, within, ics, ack, _former_document if as_json else None)


def _retirements(
    profile: str | None,
    live: bool,
    within: int | None,
    ics: str | None,
    ack: list[str] | None,
    document: Callable[[Retirements], dict[str, Any]] | None,
) -> None:
    client = open_client(profile)
    found = find_retirements(client.session, live=live, within_days=within)
    if ack:
        _acknowledge(client, found, ack)
        found = find_retirements(client.session, live=live, within_days=within)
    if ics is not None:
        _report_unreached(found)
        _write_calendar(client, found, ics)
        return
    if document is not None:
        emit(document(found))
    else:
        _show(found)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _document(found: Retirements) -> dict[str, Any]:
    return {
        "today": found.today,
        "within_days": found.within_days,
        "retirements": [
            {"retires_on" if name == "dies_on" else name: value for name, value in row.items()}
            for row in (one.to_dict() for one in found.rows)
        ],
        "exit_code": found.exit_code,
        "not_asked": found.not_asked,
    }


def _former_document(found: Retirements) -> dict[str, Any]:
    return {
        "today": found.today,
        "within_days": found.within_days,
        "endings": [row.to_dict() for row in found.rows],
        "exit_code": found.exit_code,
        "not_asked": found.not_asked,
    }


def _acknowledge(client: Client, found: Retirements, names: list[str]) -> None:
    seen, known = Acknowledgements(client.journal), {row.subject for row in found.rows}
    for name in names:
        subjects = [r.subject for r in found.rows if name in (r.subject, r.name, r.model)]
        if not subjects:
            raise UsageError(
                f"No retirement is called {name!r}{nearest(name, known)}",
                where="--ack",
                hint="`ftsdk retirements` lists the names",
            )
        for subject in subjects:
            seen.add("ending", subject, client.clock.now())


def _write_calendar(client: Client, found: Retirements, target: str) -> None:
    text = to_calendar(found, client.clock.now())
    write_text(target, text, plural(text.count("BEGIN:VEVENT"), "day"), "--ics")


_STYLES = {"ended": "red", "soon": "yellow", "later": "", "open": "dim"}


def _report_unreached(found: Retirements) -> None:
    for provider in found.not_asked:
        note(("not asked  ", "yellow"), clean(provider))


def _show(found: Retirements) -> None:
    _report_unreached(found)
    if not found.rows:
        say("The journal has no fine-tune.")
        return
    rows: list[list[Any]] = []
    for row in found.rows:
        style = "dim" if row.acknowledged else _STYLES[row.state]
        rows.append([
            (clean(row.name, 44), style or "bold"),
            (clean(f"{row.provider} · {row.model}" if row.kind == "fine-tune" else row.provider, 48), style),
            (date_text(row.retires_on), style), (date_text(row.retrain_by), style), (_remark(row), style),
        ])  # fmt: skip
    columns(rows, head=_HEAD, fold=True)
    if found.urgent:
        count = len(found.urgent)
        verb = "needs" if count == 1 else "need"
        say((f"{count} {verb} a decision. ", "bold"), "compare: ",
            command("ftsdk estimate DATA --compare"), ("  · acknowledge: ", "dim"),
            command("ftsdk retirements --ack NAME"))  # fmt: skip


def _remark(row: Retirement) -> str:
    parts = []
    if row.state == "ended":
        parts.append("retired")
    elif row.days_left is not None:
        parts.append(f"in {plural(row.days_left, 'day')}")
    elif row.state == "open":
        parts.append("no end date known")
    if row.acknowledged:
        parts.append("acknowledged")
    if not row.confirmed:
        parts.append("unconfirmed")
    return " · ".join(parts)
