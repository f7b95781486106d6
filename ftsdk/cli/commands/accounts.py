"""`accounts`: the accounts of the journal's jobs, and which of them are the same."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ftsdk.cli.context import open_client
from ftsdk.cli.options import Json, Profile
from ftsdk.cli.view.formatting import clean
from ftsdk.cli.view.output import columns, emit, say
from ftsdk.errors import UsageError
from ftsdk.jobs.accounts import KnownAccount, declare_same, list_accounts


def accounts(
    same: Annotated[
        str | None,
        typer.Option(
            "--same",
            metavar="ACCOUNT",
            help="Declare that the key in use is a new key of this account.",
        ),
    ] = None,
    unchecked: Annotated[
        bool,
        typer.Option(
            "--unchecked", help="With --same: ask the provider for no job of the account."
        ),
    ] = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Show the accounts of your jobs, and declare a new key of one.

    A job is only read, cancelled or sent with a key of the account that it is of. With --same, the
    new key must be able to read a job of the account; that costs nothing.
    """
    if unchecked and same is None:
        raise UsageError(
            "--unchecked goes with --same",
            where="ftsdk accounts",
            hint="ftsdk accounts --same ACCOUNT --unchecked",
        )
    client = open_client(profile)
    if same is not None:
        declared = declare_same(client.session, same, check=not unchecked)
        if as_json:
            emit(asdict(declared))
            return
        how = "it was not checked"
        if declared.checked_by:
            how = f"the key in use can read {declared.checked_by}"
        say(
            (clean(declared.account), "bold"),
            f"  is account {clean(declared.same_as)} of {clean(declared.provider)} from now on; {how}",
        )
        return
    known = list_accounts(client.session)
    if as_json:
        emit({"accounts": [asdict(one) for one in known]})
    elif not known:
        say("No job has an account yet.")
    else:
        head = ("provider", "account", "jobs", "running", "key", "note")
        columns([
            [
                clean(one.provider),
                (clean(one.name), "bold"),
                f"{one.jobs:,}",
                f"{one.active:,}",
                _key(one),
                (f"same as {', '.join(map(clean, one.same_as))}" if one.same_as else "", "dim"),
            ]
            for one in known
        ], head=head, right=(2, 3))  # fmt: skip


def _key(account: KnownAccount) -> str:
    """Return where the account's key is."""
    if not account.has_key:
        return "no key of it here"
    if account.key_variable is None:
        return "the usual key"
    of = f" of profile {clean(account.profile)}" if account.profile else ""
    return f"{clean(account.key_variable)}{of}"
