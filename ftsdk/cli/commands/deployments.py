"""`deployments`, `deploy`, `undeploy`: what is deployed, its price by the hour, and until when."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

import typer

from ftsdk.cli.context import find, open_client
from ftsdk.cli.options import Job, Json, NoInput, Profile, Yes, values
from ftsdk.cli.prompts import decide, stop
from ftsdk.cli.view.formatting import clean, when
from ftsdk.cli.view.output import busy, columns, command, emit, say
from ftsdk.client import Client
from ftsdk.deployments.deploy import deploy as start_deployment
from ftsdk.deployments.deploy import price_of
from ftsdk.deployments.deploy import undeploy as end_deployment
from ftsdk.errors import UsageError
from ftsdk.spending.budget import budget_of
from ftsdk.store.leases import Lease, Leases

For = Annotated[
    str | None,
    typer.Option("--for", metavar="SPAN", help="How long to keep it: 90m, 2h, 3d; 2h by default."),
]
All = Annotated[bool, typer.Option("--all", "-a", help="Include closed deployments.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A provider option; may be repeated."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the model answers calls.")]
Which = Annotated[str, typer.Argument(metavar="JOB|LEASE", help="A job, or a lease id.")]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([mhd])")
_HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0}


def hours_of(span: str | None) -> float | None:
    """Return `90m`, `2h`, `1.5h` or `3d` in hours. Raises `UsageError` for anything else."""
    if span is None:
        return None
    found = _SPAN.fullmatch(span.strip().lower())
    if found is None:
        raise UsageError(f"{span!r} is not a time span", where="--for", hint="e.g. 90m, 2h, 3d")
    return float(found[1]) * _HOURS[found[2]]


def deployments(everything: All = False, profile: Profile = None, as_json: Json = False) -> None:
    """List deployments with their hourly price and the end of their lease."""
    _list_deployments(profile, everything=everything, as_json=as_json, key="deployments")


def leases(everything: All = False, profile: Profile = None, as_json: Json = False) -> None:
    """The former name of `ftsdk deployments`; its JSON has the key `leases`."""
    _list_deployments(profile, everything=everything, as_json=as_json, key="leases")


def _list_deployments(profile: str | None, *, everything: bool, as_json: bool, key: str) -> None:
    client = open_client(profile)
    found = Leases(client.journal).list(running=not everything)
    if as_json:
        emit({key: [_document(client, lease) for lease in found]})
        return
    if not found:
        say("Nothing is deployed.")
        return
    now = client.clock.now()
    rows: list[list[Any]] = [
        [(title, "dim") for title in ("lease", "model", "price", "so far", "until", "state")]
    ]
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
    """Deploy a job's model for a limited time.

    It shows the price and asks first. The deployment ends when its lease ends.
    """
    client = open_client(profile)
    found = find(client, job)
    hours = hours_of(for_)
    default = budget_of(client.config).lease.total_seconds() / 3600
    span = default if hours is None else hours
    backend = client.session.backend_for(found.snapshot)
    if not backend.capabilities.can_deploy:
        raise backend.cannot("deploy a model")
    options = values(set_)
    found.result()  # refuses a job without a model before it asks
    hourly = price_of(client.session, found.id, options)
    cost = "at an unknown price" if hourly is None else f"at ${hourly:.2f} an hour"
    most = "" if hourly is None else f", at most ${hourly * Decimal(str(span)):.2f}"
    if not decide(
        f"Deploy {clean(found.model)} at {found.provider} for {span:g} h {cost}{most}?",
        yes=yes,
        no_input=no_input or as_json,
        default=False,
        unasked=f"deploying asks before it spends ({cost}{most})",
        hint="--yes deploys without asking",
    ):
        raise stop("Nothing was deployed.")
    handle, lease = start_deployment(client.session, found.id, hours=hours, options=options)
    if wait:
        with busy(f"waiting for {clean(found.model)} at {found.provider}", quiet=as_json):
            handle = client.get_job(found.id).callable_result()
    if as_json:
        emit({"lease": _document(client, lease), "callable_now": handle.callable_now})
        return
    ready = (
        "callable now"
        if handle.callable_now
        else f"starting; `ftsdk show {found.id}` says when it is ready"
    )
    say((lease.id, "bold"), f"  {ready}  ·  until {when(lease.ends_at, client.clock.now())}  ·  end it: ",
        command(f"ftsdk undeploy {lease.id}"))  # fmt: skip


def undeploy(which: Which, profile: Profile = None, as_json: Json = False) -> None:
    """End a deployment now."""
    client = open_client(profile)
    lease = end_deployment(
        client.session, which if which.startswith("lease_") else find(client, which).id
    )
    if as_json:
        emit({"lease": _document(client, lease)})
        return
    spent = lease.cost(client.clock.now())
    say(
        (lease.id, "bold"),
        "  ended" + ("" if spent is None else f"  ·  about ${spent:.2f} in total"),
    )
