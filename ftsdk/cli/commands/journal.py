"""`journal`: export, back up and check the journal, and forget old jobs."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Annotated

import typer

from ftsdk.cli.context import open_client
from ftsdk.cli.group import CONTEXT_SETTINGS, Command, Group
from ftsdk.cli.options import Json, NoInput, Yes
from ftsdk.cli.prompts import decide, stop
from ftsdk.cli.view.output import emit, say
from ftsdk.errors import UsageError
from ftsdk.store.export import export_lines, forgettable
from ftsdk.store.export import forget as forget_jobs
from ftsdk.store.journal import Journal
from ftsdk.util.files import atomic_write_bytes
from ftsdk.util.names import plural

app = typer.Typer(
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Export, back up or check the journal, or forget old jobs.",
    context_settings=CONTEXT_SETTINGS,
)

Target = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="A new file; standard output by default.")
]
Copy = Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")]
Days = Annotated[
    int,
    typer.Option(
        "--older-than", metavar="DAYS", min=1, help="Jobs that ended longer ago than this."
    ),
]


@app.command("export", cls=Command)
def export(file: Target = None) -> None:
    """Export every job with all its statuses as JSON lines, oldest first.

    The export has no secrets.
    """
    home = open_client(None).home
    # Opened read-only, so that a damaged journal can still be exported as far as it is readable.
    exists = (home / "journal.db").exists()
    lines = export_lines(Journal(home, read_only=True)) if exists else ()
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
            "The file already exists and was not overwritten",
            where=str(file),
            hint="choose another name",
        )


@app.command("backup", cls=Command)
def backup(file: Copy, as_json: Json = False) -> None:
    """Copy the journal to a new file, also while other processes write to it."""
    _must_be_new(file)
    journal = open_client(None).journal
    journal.backup(file)
    if as_json:
        emit({"path": str(file), "jobs": len(journal.ids())})
    else:
        say(f"Wrote {file}: {plural(len(journal.ids()), 'job')}. To use it, ",
            "copy it to FTSDK_HOME/journal.db.")  # fmt: skip


@app.command("check", cls=Command)
def check(as_json: Json = False) -> None:
    """Check the whole journal file with SQLite."""
    journal = open_client(None).journal
    journal.require_intact()
    if as_json:
        emit({"ok": True, "path": str(journal.path), "jobs": len(journal.ids())})
    else:
        say(f"{journal.path} is sound: {plural(len(journal.ids()), 'job')}.")


@app.command("forget", cls=Command)
def forget(
    older_than: Days = 365, yes: Yes = False, no_input: NoInput = False, as_json: Json = False
) -> None:
    """Forget jobs that ended long ago.

    Jobs of this month remain. Results at providers are not deleted.
    """
    client = open_client(None)
    age, now = dt.timedelta(days=older_than), client.clock.now()
    count = len(forgettable(client.journal, age, now))
    if count and not decide(
        f"Forget {plural(count, 'job')} that ended more than {older_than} days ago?",
        yes=yes,
        no_input=no_input or as_json,
        default=False,
        unasked=f"{plural(count, 'job')} would be forgotten",
        hint="--yes forgets them without asking",
    ):
        raise stop("Nothing was forgotten.")
    gone = forget_jobs(client.journal, age, now) if count else []
    if as_json:
        emit({"forgotten": [job.id for job in gone]})
    else:
        say(f"{plural(len(gone), 'job')} forgotten.")
