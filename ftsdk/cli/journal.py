"""`journal`: look after the journal itself: export it, check it, forget what is old."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Annotated

import typer

from ftsdk.cli.asking import decide, stop
from ftsdk.cli.options import Json, NoInput, Yes
from ftsdk.cli.output import emit, say
from ftsdk.cli.session import open_client
from ftsdk.errors import JournalDamaged, UsageError

__all__ = ["app"]

app = typer.Typer(
    name="journal", no_args_is_help=True, help="Look after the journal: export, check, forget."
)

Target = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="A new file; standard output if left out.")
]
Days = Annotated[
    int, typer.Option("--older-than", metavar="DAYS", min=1, help="Ended so long ago.")
]


@app.command("export")
def export(file: Target = None) -> None:
    """Write every job with all its statuses as JSON lines, oldest first. Nothing in it is secret."""
    from ftsdk.fsops import atomic_write_bytes
    from ftsdk.store.export import export_lines

    lines = export_lines(open_client(None).journal)
    if file is None:
        for line in lines:
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        return
    if file.exists():
        raise UsageError(
            "The file is there already, and nothing is overwritten",
            where=str(file),
            mend="name a new one",
        )
    atomic_write_bytes(file, b"".join(lines))
    say(f"Wrote {file}.")


@app.command("check")
def check(as_json: Json = False) -> None:
    """Let SQLite check the whole journal file."""
    journal = open_client(None).journal
    found = journal.integrity()
    if found != "ok":
        raise JournalDamaged(
            f"SQLite finds the journal damaged: {found}",
            where=str(journal.path),
            mend="`ftsdk journal export` what can be read, then move the file away; "
            "`ftsdk adopt` takes jobs in again",
        )
    if as_json:
        emit({"ok": True, "path": str(journal.path), "jobs": len(journal.list())})
    else:
        say(f"{journal.path} is sound: {len(journal.list())} jobs.")


@app.command("forget")
def forget(
    older_than: Days = 365, yes: Yes = False, no_input: NoInput = False, as_json: Json = False
) -> None:
    """Forget jobs that ended long ago. What their provider has stays there."""
    from ftsdk.store.export import forget_before, forgettable

    client = open_client(None)
    before = client.clock.now() - dt.timedelta(days=older_than)
    count = len(forgettable(client.journal, before))
    if count and not decide(
        f"Forget {count} jobs that ended more than {older_than} days ago?",
        yes=yes,
        no_input=no_input or as_json,
        default=False,
        unasked=f"{count} jobs would be forgotten",
        mend="say --yes to forget them without a question",
    ):
        raise stop("Nothing was forgotten.")
    gone = forget_before(client.journal, before) if count else []
    if as_json:
        emit({"forgotten": [job.id for job in gone]})
    else:
        say(f"{len(gone)} jobs forgotten.")
