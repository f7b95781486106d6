"""`costs`: what jobs and deployments were estimated at, and what they did cost."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from ftsdk.cli.context import find, open_client
from ftsdk.cli.options import Json, Profile
from ftsdk.cli.view.files import write_text
from ftsdk.cli.view.formatting import clean
from ftsdk.cli.view.output import columns, command, emit, note, say
from ftsdk.cli.view.unreadable import note_unreadable, unreadable_document
from ftsdk.client import Client
from ftsdk.errors import UsageError
from ftsdk.spending.budget import budget_of
from ftsdk.spending.ledger import Line, Total, ledger, to_csv, totals
from ftsdk.store.job_rows import UnreadableJob
from ftsdk.store.reservations import Reservations
from ftsdk.util.names import plural

By = Annotated[
    str,
    typer.Option(
        "--by", metavar="GROUP", help="Group by day, month, provider, model, profile, tag:NAME…"
    ),
]
Since = Annotated[str | None, typer.Option(metavar="DAY", help="First day, such as 2026-11-01.")]
Until = Annotated[str | None, typer.Option(metavar="DAY", help="Last day, included.")]
Csv = Annotated[
    str | None,
    typer.Option("--csv", metavar="FILE|-", help="Write every line as CSV; - prints them."),
]
Settle = Annotated[
    str | None,
    typer.Option("--settle", metavar="JOB", help="Record what a job really cost, with --usd."),
]
Usd = Annotated[
    str | None,
    typer.Option("--usd", metavar="AMOUNT", help="With --settle: the cost in US dollars."),
]


def costs(
    by: By = "day",
    since: Since = None,
    until: Until = None,
    csv: Csv = None,
    settle: Settle = None,
    usd: Usd = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Show estimated and actual costs by day, provider or tag.

    The last lines show this month: what is spent and reserved, of which limit.
    """
    client = open_client(profile)
    if settle is not None or usd is not None:
        _settle(client, settle, usd)
    lines = ledger(client.session, since=_day(since, "--since"), until=_day(until, "--until"))
    if csv is not None:
        write_text(csv, to_csv(lines), plural(len(lines), "line"), "--csv")
        return
    found = totals(lines, by)
    unreadable: list[UnreadableJob] = []
    client.journal.list(unreadable=unreadable)
    if as_json:
        emit({**_costs_document(client, by, found, lines), **unreadable_document(unreadable)})
    else:
        note_unreadable(unreadable)
        _show_costs(client, by, found)


def _day(day: str | None, option: str) -> dt.date | None:
    try:
        return None if day is None else dt.date.fromisoformat(day)
    except ValueError as error:
        raise UsageError(f"{day!r} is not a date", where=option, hint="e.g. 2026-11-01") from error


def _settle(client: Client, job: str | None, usd: str | None) -> None:
    if job is None or usd is None:
        raise UsageError(
            "--settle and --usd go together", where="costs", hint="--settle JOB --usd 4.20"
        )
    try:
        amount = Decimal(usd.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise UsageError(f"{usd!r} is not an amount", where="--usd", hint="e.g. 4.20")
    found = find(client, job)
    Reservations(client.journal).settle(found.id, amount, "settled by hand")
    note(f"{found.id} counts ${amount:.2f} from now on.")


def _month(client: Client) -> list[tuple[str, Decimal, int, Decimal | None]]:
    """This month by scope: its name, the US dollars that count, jobs of unknown cost, the limit."""
    spending, now = Reservations(client.journal), client.clock.now()
    limits = {limit.profile: limit.usd for limit in budget_of(client.config).limits}
    scopes = dict.fromkeys((None, *limits))
    return [(scope or "all", *spending.spent(now, scope), limits.get(scope)) for scope in scopes]


def _costs_document(
    client: Client, by: str, found: list[Total], lines: list[Line]
) -> dict[str, Any]:
    return {
        "by": by,
        "totals": [one.to_dict() for one in found],
        "lines": [line.to_dict() for line in lines],
        "month": [
            {"scope": scope, "counted": counted, "unknown": unknown, "limit": limit}
            for scope, counted, unknown, limit in _month(client)
        ],
    }


def _show_costs(client: Client, by: str, found: list[Total]) -> None:
    if not found:
        say("Nothing was spent.", ("   estimate a job: ", "dim"),
            command("ftsdk estimate DATA --compare"))  # fmt: skip
        return
    quotes = any(one.quoted is not None for one in found)
    head = [by.removeprefix("tag:"), "entries", "estimate", "quoted", "billed", "in budget", ""]
    rows: list[list[Any]] = [[(word, "dim") for word in head if quotes or word != "quoted"]]
    for one in found:
        span = f"${one.high:.2f}" if one.low == one.high else f"${one.low:.2f} – {one.high:.2f}"
        doubt = f"{one.unknown} of unknown cost" if one.unknown else ""
        billed = f"${one.actual:.2f}" + (
            f" ({one.billed}/{one.lines})" if one.billed < one.lines else ""
        )
        rows.append([
            (clean(one.key, 40), "bold"), str(one.lines), span,
            *(["–" if one.quoted is None else f"${one.quoted:.2f}"] if quotes else []),
            billed, f"${one.counted:.2f}", (doubt, "yellow"),
        ])  # fmt: skip
    columns(rows, right=(1, 2, 3, 5) if quotes else (1, 2, 4))
    for scope, counted, unknown, limit in _month(client):
        whom = "This month" if scope == "all" else f"Profile {scope}"
        of = "" if limit is None else f" of ${limit:.2f}"
        more = f", and {unknown} of unknown cost" if unknown else ""
        over = limit is not None and counted > limit
        say(f"{whom}: ", (f"${counted:.2f}{of}", "red" if over else "bold"), (more, "yellow"))
