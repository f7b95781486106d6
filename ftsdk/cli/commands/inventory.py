"""`inventory`: fetch what an account has at a provider, and check what was fetched."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ftsdk.artifacts.bundle import verify as verify_bundle
from ftsdk.cli import completion
from ftsdk.cli.context import open_client
from ftsdk.cli.options import Json, Profile
from ftsdk.cli.view.bundle_view import verified
from ftsdk.cli.view.formatting import clean, count, date_text, size
from ftsdk.cli.view.output import columns, command, console, emit, note, say, text
from ftsdk.errors import UsageError
from ftsdk.migration.inventory import OnProgress
from ftsdk.types.inventory import Inventory, InventoryFile
from ftsdk.util.names import plural

_ALARMING = "FT4"  # secrets and personal data


def inventory(
    provider: Annotated[
        str | None,
        typer.Argument(
            metavar="PROVIDER", help="The provider.", autocompletion=completion.providers
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="FOLDER", help="The bundle; in FTSDK_HOME by default."),
    ] = None,
    verify: Annotated[
        Path | None,
        typer.Option("--verify", metavar="FOLDER", help="Check a bundle instead. Sends nothing."),
    ] = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Fetch an account's jobs, models and files before its provider closes.

    Sends only GETs; costs nothing. The bundle holds your training data and can be read by you alone.
    The jobs are added to the journal. Interrupted, the same command continues. Exits with 4 where the
    provider did not answer for a part of it.
    """
    if (provider is None) == (verify is None):
        raise UsageError(
            "Name a provider, or a bundle to check",
            where="ftsdk inventory",
            hint="ftsdk inventory openai; or ftsdk inventory --verify FOLDER",
        )
    if verify is not None:
        verified(verify, verify_bundle(verify), as_json=as_json)
        return
    client = open_client(profile)
    with _progress(quiet=as_json) as on_progress:
        found = client.inventory(str(provider), into, on_progress=on_progress)
    if as_json:
        emit({**found.model_dump(mode="json"), "is_complete": found.is_complete})
    else:
        _show(found)
    if not found.is_complete:
        raise typer.Exit(4)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[OnProgress | None]:
    """Show what is read next, in one line of a terminal's standard error."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with console(stderr=True).status(text(("reading", "dim"))) as status:
        yield lambda words: status.update(text((clean(words, 60), "dim")))


def _show(found: Inventory) -> None:
    """Print the models, the first to end first, then jobs, files, and what is missing."""
    if found.models:
        say((f"{plural(len(found.models), 'model')} of {clean(found.provider)}", "bold"))
        columns([
            [
                (clean(model.id), "bold"),
                clean(model.base_model or ""),
                (f"ends {date_text(model.ends_on)}", "yellow") if model.ends_on else "no end announced",
            ]
            for model in found.models
        ])  # fmt: skip
    by_status: dict[str, int] = {}
    for job in found.jobs:
        by_status[job.status] = by_status.get(job.status, 0) + 1
    states = ", ".join(f"{many} {clean(status)}" for status, many in sorted(by_status.items()))
    say((plural(len(found.jobs), "job"), "bold"), f"  {states}" if states else "")
    there = [one for one in found.files if one.path is not None]
    total = size(sum(one.bytes or 0 for one in there))
    say((plural(len(there), "file"), "bold"), f" fetched, {total}" if there else " fetched")
    columns(_file_line(one) for one in there if one.role != "result")
    for one in there:
        for line in one.not_converted:
            say(("  not converted  ", "yellow"), clean(f"{one.id}, {line}"))
    for one in found.missing:
        say((f"  {one.id}", "red"), f"  {one.role} file of {', '.join(one.jobs)}: {_why(one)}")
    for line in found.not_read:
        say(("  not read  ", "red"), clean(line))
    say("bundle  ", (clean(found.folder), "bold"))
    if not found.is_complete:
        note("  not complete: run the same command again")
    note(
        "next  ",
        command("ftsdk capture --all QUESTIONS"),
        " · ",
        command(f"ftsdk inventory --verify {found.folder}"),
    )


def _file_line(one: InventoryFile) -> list[Any]:
    alarming = sum(many for code, many in one.findings.items() if code.startswith(_ALARMING))
    old = one.findings.get("FT132", 0)
    written = f", with tools in {clean(one.converted)}" if one.converted else ""
    remarks = [
        f"{count(alarming)} with secrets or personal data" if alarming else "",
        f"{count(old)} with functions in the old form{written}" if old else "",
    ]
    return [
        clean(one.id),
        one.role,
        plural(one.rows or 0, "row"),
        (", ".join(filter(None, remarks)), "yellow"),
    ]


def _why(one: InventoryFile) -> str:
    reason = "gone" if one.missing == "gone" else "not fetched yet"
    return f"{reason}: {clean(one.why)}"
