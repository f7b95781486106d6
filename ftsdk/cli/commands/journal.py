"""`journal`: look after the journal itself: export, back up, check, forget what is old."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Annotated

import typer

from ftsdk.cli.context import open_client
from ftsdk.cli.options import Json, NoInput, Yes
from ftsdk.cli.prompts import decide, stop
from ftsdk.cli.view.formatting import many
from ftsdk.cli.view.output import emit, say
from ftsdk.errors import UsageError

__all__ = ["app"]

app = typer.Typer(
    name="journal",
    no_args_is_help=True,
    help="Look after the journal: export, backup, check, forget.",
)

Target = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="A new file; standard output if left out.")
]
Copy = Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")]
Days = Annotated[
    int, typer.Option("--older-than", metavar="DAYS", min=1, help="Ended so long ago.")
]


@app.command("export")
def export(file: Target = None) -> None:
    """Write every job with all its statuses as JSON lines, oldest first. Nothing in it is secret."""
    from ftsdk.store import Journal
    from ftsdk.store.export import export_lines
    from ftsdk.util.files import atomic_write_bytes

    home = open_client(None).home
    # Opened to read alone, so that what a damaged journal still tells can be kept.
    there = (home / "journal.db").exists()
    lines = export_lines(Journal(home, read_only=True)) if there else ()
    if file is None:
        for line in lines:
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        return
    _must_be_new(file)
    atomic_write_bytes(file, b"".join(lines))
    say(f"Wrote {file}.")


def _must_be_new(file: Path) -> None:
    if file.exists():
        raise UsageError(
            "The file is there already, and nothing is overwritten",
            where=str(file),
            hint="name a new one",
        )


@app.command("backup")
def backup(file: Copy, as_json: Json = False) -> None:
    """Copy the whole journal to a new file, also while others write. Put back, it is a journal."""
    _must_be_new(file)
    journal = open_client(None).journal
    journal.backup(file)
    if as_json:
        emit({"path": str(file), "jobs": len(journal.list())})
    else:
        say(f"Wrote {file}: {many(len(journal.list()), 'job')}. To use it, ",
            "put it into an FTSDK_HOME as journal.db.")  # fmt: skip


@app.command("check")
def check(as_json: Json = False) -> None:
    """Let SQLite check the whole journal file."""
    journal = open_client(None).journal
    journal.require_sound()
    if as_json:
        emit({"ok": True, "path": str(journal.path), "jobs": len(journal.list())})
    else:
        say(f"{journal.path} is sound: {many(len(journal.list()), 'job')}.")


@app.command("forget")
def forget(
    older_than: Days = 365, yes: Yes = False, no_input: NoInput = False, as_json: Json = False
) -> None:
    """Forget jobs that ended long ago, and not this month. What their provider has stays there."""
    from ftsdk.store.export import forget as forgotten
    from ftsdk.store.export import forgettable

    client = open_client(None)
    age, now = dt.timedelta(days=older_than), client.clock.now()
    count = len(forgettable(client.journal, age, now))
    if count and not decide(
        f"Forget {many(count, 'job')} that ended more than {older_than} days ago?",
        yes=yes,
        no_input=no_input or as_json,
        default=False,
        unasked=f"{many(count, 'job')} would be forgotten",
        hint="say --yes to forget them without a question",
    ):
        raise stop("Nothing was forgotten.")
    gone = forgotten(client.journal, age, now) if count else []
    if as_json:
        emit({"forgotten": [job.id for job in gone]})
    else:
        say(f"{many(len(gone), 'job')} forgotten.")
