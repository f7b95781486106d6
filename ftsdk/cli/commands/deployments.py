"""`deployments`, `deploy`, `undeploy`: what is deployed, its price by the hour, and until when."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftsdk.cli.context import find, open_client
from ftsdk.cli.options import Job, Json, NoInput, Profile, Yes, values
from ftsdk.cli.prompts import decide, stop
from ftsdk.cli.view.formatting import clean, when
from ftsdk.cli.view.output import busy, columns, command, emit, note, say
from ftsdk.errors import FtsdkError, UsageError

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.store.leases import Lease

__all__ = ["attend", "deploy", "deployments", "leases", "undeploy"]

For = Annotated[
    str | None,
    typer.Option(
        "--for", metavar="SPAN", help="How long it may stand: 90m, 2h, 3d. 2h if left out."
    ),
]
All = Annotated[bool, typer.Option("--all", "-a", help="Include closed deployments.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="An option of the provider; may be repeated."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until a call would be answered.")]
Which = Annotated[str, typer.Argument(metavar="JOB|LEASE", help="A job, or the id of a lease.")]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([mhd])")
_HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0}


def hours_of(word: str | None) -> float | None:
    """`90m`, `2h`, `1.5h`, `3d` in hours. Raises `UsageError` for anything else."""
    if word is None:
        return None
    found = _SPAN.fullmatch(word.strip().lower())
    if found is None:
        raise UsageError(
            f"{word!r} is no time span", where="--for", hint="for instance 90m, 2h, 3d"
        )
    return float(found[1]) * _HOURS[found[2]]


def deployments(everything: All = False, profile: Profile = None, as_json: Json = False) -> None:
    """List deployments with their hourly price and the end of their lease."""
    _list_deployments(profile, everything=everything, as_json=as_json, key="deployments")


def leases(everything: All = False, profile: Profile = None, as_json: Json = False) -> None:
    """The former name of `ftsdk deployments`; its JSON has the key `leases`."""
    _list_deployments(profile, everything=everything, as_json=as_json, key="leases")


def _list_deployments(profile: str | None, *, everything: bool, as_json: bool, key: str) -> None:
    from ftsdk.store.leases import Leases

    client = open_client(profile)
    found = Leases(client.journal).list(running=not everything)
    if as_json:
        emit({key: [_document(client, lease) for lease in found]})
        return
    if not found:
        say("Nothing is deployed.")
        return
    now = client.clock.now()
    rows: list[list[Any]] = [[(word, "dim") for word in ("", "", "", "so far", "until", "")]]
    for lease in found:
        spent = lease.cost(now)
        price = "price unknown" if lease.usd_per_hour is None else f"${lease.usd_per_hour:.2f}/h"
        style = (
            "dim" if lease.state == "closed" else "yellow" if lease.state == "opening" else "green"
        )
        rows.append([
            (lease.id, "bold"), clean(f"{lease.provider} · {lease.model}", 60), price,
            "?" if spent is None else f"${spent:.2f}", when(lease.closed_at or lease.ends_at, now),
            (f"{lease.state}{': ' + clean(lease.why, 60) if lease.why else ''}", style),
        ])  # fmt: skip
    columns(rows, right=(3,))


def _document(client: Client, lease: Lease) -> dict[str, Any]:
    return {**vars(lease), "cost_usd": lease.cost(client.clock.now())}


def deploy(
    job: Job,
    for_: For = None,
    set_: Options = None,
    wait: Wait = False,
    yes: Yes = False,
    no_input: NoInput = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Deploy a job's model for a while. The price is shown first; it ends when the lease ends."""
    from ftsdk.deployments.deploy import deploy as start
    from ftsdk.deployments.deploy import price_of
    from ftsdk.spending.budget import budget_of

    client = open_client(profile)
    found = find(client, job)
    hours = hours_of(for_)
    span = budget_of(client.config).lease.total_seconds() / 3600 if hours is None else hours
    backend = client._backend_for(found.snapshot)
    if not backend.capabilities.can_deploy:
        raise backend.cannot("deploy a model")
    options = values(set_)
    found.result()  # a job that made no model is refused before any question
    hourly = price_of(client, found.id, options)
    cost = "at a price that is not known" if hourly is None else f"at ${hourly:.2f} an hour"
    most = "" if hourly is None else f", at most ${hourly * _decimal(span):.2f}"
    if not decide(
        f"Deploy {clean(found.model)} at {found.provider} for {span:g} h {cost}{most}?",
        yes=yes,
        no_input=no_input or as_json,
        default=False,
        unasked=f"deploying asks before it spends ({cost}{most})",
        hint="say --yes to deploy it without a question",
    ):
        raise stop("Nothing was deployed.")
    handle, lease = start(client, found.id, hours=hours, options=options)
    if wait:
        with busy(f"waiting for {clean(found.model)} at {found.provider}", quiet=as_json):
            handle = client.get_job(found.id).callable_result()
    if as_json:
        emit({"lease": _document(client, lease), "callable_now": handle.callable_now})
        return
    ready = (
        "callable now"
        if handle.callable_now
        else f"starting; `ftsdk show {found.id}` tells when it is ready"
    )
    say((lease.id, "bold"), f"  {ready}  ·  until {when(lease.ends_at, client.clock.now())}  ·  end it: ",
        command(f"ftsdk undeploy {lease.id}"))  # fmt: skip


def _decimal(value: float) -> Any:
    from decimal import Decimal

    return Decimal(str(value))


def undeploy(which: Which, profile: Profile = None, as_json: Json = False) -> None:
    """End a deployment now: it costs nothing more."""
    from ftsdk.deployments.deploy import undeploy as end

    client = open_client(profile)
    word = which if which.startswith("lease_") else find(client, which).id
    lease = end(client, word)
    if as_json:
        emit({"lease": _document(client, lease)})
        return
    spent = lease.cost(client.clock.now())
    say(
        (lease.id, "bold"), "  ended" + ("" if spent is None else f"  ·  about ${spent:.2f} in all")
    )


def attend() -> None:
    """What the next command does for leases that are over and jobs at their cap; says what costs.

    Each is looked after under the profile it was started with, where its base URL stands.
    """
    from ftsdk.config import default_home

    if not (default_home() / "journal.db").is_file():
        return
    from ftsdk.jobs.spending_guard import enforce, profiles_at_stake
    from ftsdk.store import Journal

    told = []
    try:
        at_stake = profiles_at_stake(Journal(default_home()))
    except FtsdkError:
        return  # the command itself opens the same journal, and says what is wrong with it
    for profile in at_stake:
        try:
            told += enforce(open_client(profile), own_profile=True)
        except FtsdkError as error:
            whom = "what runs" if profile is None else f"what runs under profile {profile}"
            where = (
                ""
                if profile is None
                else "; run `ftsdk deployments` in the folder of its ftsdk.toml"
            )
            told_why = f"could not be looked after, and may cost: {clean(error.what)}{where}"
            note(("! ", "red"), f"{whom} {told_why}")
    for notice in told:
        loud = notice.kind in ("not_ended", "stopped", "near_cap")
        note(("! ", "red" if loud else "yellow"), (clean(notice.text), "bold" if loud else ""))
