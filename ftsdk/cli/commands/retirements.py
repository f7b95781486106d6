"""`retirements`: when each fine-tune retires and the last day to retrain it, for people, CI, calendars."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftsdk.cli.context import open_client
from ftsdk.cli.options import Json, Profile
from ftsdk.cli.view.formatting import clean, many
from ftsdk.cli.view.output import columns, command, emit, note, say
from ftsdk.errors import StoreError, UsageError

if TYPE_CHECKING:
    from ftsdk.catalogue import Ending, Radar
    from ftsdk.client import Client

__all__ = ["date_words", "radar", "retirements", "write_text"]

Live = Annotated[
    bool,
    typer.Option(
        "--live", help="Ask the providers for ends and for the account's fine-tunes; reads only."
    ),
]
Within = Annotated[
    int | None, typer.Option("--within", metavar="DAYS", min=0, help="What counts as near; 60.")
]
Ics = Annotated[
    str | None, typer.Option("--ics", metavar="FILE|-", help="Write the days as a calendar file.")
]
Ack = Annotated[
    list[str] | None,
    typer.Option("--ack", metavar="NAME", help="You have seen it; it no longer fails CI."),
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
    document: Callable[[Radar], dict[str, Any]] | None,
) -> None:
    from ftsdk.jobs.retirements import radar as found

    client = open_client(profile)
    told = found(client, live=live, within_days=within)
    if ack:
        _acknowledge(client, told, ack)
        told = found(client, live=live, within_days=within)
    if ics is not None:
        _name_not_asked(told)
        _write_calendar(client, told, ics)
        return
    if document is not None:
        emit(document(told))
    else:
        _show(told)
    if told.exit_code:
        raise typer.Exit(told.exit_code)


def _document(found: Radar) -> dict[str, Any]:
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


def _former_document(found: Radar) -> dict[str, Any]:
    return {
        "today": found.today,
        "within_days": found.within_days,
        "endings": [row.to_dict() for row in found.rows],
        "exit_code": found.exit_code,
        "not_asked": found.not_asked,
    }


def _acknowledge(client: Client, told: Radar, names: list[str]) -> None:
    from ftsdk.config import nearest
    from ftsdk.store.reservations import Spending

    money, known = Spending(client.journal), {row.subject for row in told.rows}
    for name in names:
        meant = [r.subject for r in told.rows if name in (r.subject, r.name, r.model)]
        if not meant:
            raise UsageError(
                f"No retirement is called {name!r}{nearest(name, known)}",
                where="--ack",
                hint="`ftsdk retirements` lists the names",
            )
        for subject in meant:
            money.acknowledge("ending", subject, client.clock.now())


def _write_calendar(client: Client, told: Radar, target: str) -> None:
    from ftsdk.catalogue import calendar

    text = calendar(told, client.clock.now())
    write_text(target, text, many(text.count("BEGIN:VEVENT"), "day"), "--ics")


def date_words(day: dt.date | None) -> str:
    """`14 Jan 2027`, or a dash where no day is known."""
    return "–" if day is None else f"{day.day} {day:%b %Y}"


def write_text(target: str, text: str, what: str, option: str) -> None:
    """Write a file whole, or print its very bytes for `-`; says what was written."""
    from ftsdk.util.files import atomic_write_bytes

    if target == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())  # as text, its line ends would be the platform's
        sys.stdout.buffer.flush()
        return
    try:
        atomic_write_bytes(Path(target), text.encode(), mode=0o644)
    except OSError as error:
        raise StoreError(
            f"The file cannot be written: {error.strerror}",
            where=target,
            hint=f"{option} with another path",
        ) from error
    say(f"{what} in {clean(target)}")


_STYLES = {"ended": "red", "soon": "yellow", "later": "", "open": "dim"}


def _name_not_asked(told: Radar) -> None:
    for one in told.not_asked:
        note(("not asked  ", "yellow"), clean(one))


def _show(told: Radar) -> None:
    _name_not_asked(told)
    if not told.rows:
        say("Nothing to watch over: the journal knows no fine-tune.")
        return
    rows: list[list[Any]] = [
        [(word, "dim") for word in ("", "", "ends", "last day to train it", "")]
    ]
    for row in told.rows:
        style = "dim" if row.acknowledged else _STYLES[row.state]
        rows.append([
            (clean(row.name, 44), style or "bold"),
            (clean(f"{row.provider} · {row.model}" if row.kind == "fine-tune" else row.provider, 48), style),
            (date_words(row.dies_on), style), (date_words(row.retrain_by), style), (_remark(row), style),
        ])  # fmt: skip
    columns(rows)
    if told.pressing:
        count = len(told.pressing)
        verb = "needs" if count == 1 else "need"
        say((f"{count} {verb} a decision. ", "bold"), "Elsewhere: ",
            command("ftsdk estimate DATA --compare"), ("  · seen it: ", "dim"),
            command("ftsdk retirements --ack NAME"))  # fmt: skip


def _remark(row: Ending) -> str:
    parts = []
    if row.state == "ended":
        parts.append("ended")
    elif row.days_left is not None:
        parts.append(f"in {many(row.days_left, 'day')}")
    elif row.state == "open":
        parts.append("no end is known")
    if row.acknowledged:
        parts.append("seen")
    if not row.confirmed:
        parts.append("UNCONFIRMED")
    return " · ".join(parts)
