"""`forget`: remove what was captured or fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ftsdk.cli.context import open_client
from ftsdk.cli.options import DryRun, Json, NoInput, Profile, Yes
from ftsdk.cli.prompts import decide, stop
from ftsdk.cli.view.formatting import clean, size
from ftsdk.cli.view.output import columns, emit, note, say
from ftsdk.migration.forget import forget as remove
from ftsdk.migration.forget import forgettable
from ftsdk.migration.migration_files import Forgettable


def forget(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A folder, or a model."),
    ],
    dry_run: DryRun = False,
    yes: Yes = False,
    no_input: NoInput = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Remove what was captured or fetched: answers, bundles, evaluations, migrations.

    They are private data. A model's name removes its answers, and its bundles and evaluations in FTSDK_HOME.
    A folder removes that bundle, or the whole migration with its reports. Other files are never removed.
    Answers that are removed have to be paid for again. The journal keeps its jobs.
    """
    client = open_client(profile)
    found = forgettable(client.session, name)
    if not as_json:
        columns([[clean(one.what), size(one.bytes), (clean(one.folder), "dim")] for one in found])
    if dry_run:
        if as_json:
            emit({"would_remove": _shown(found)})
        return
    if not decide(
        "Remove them for good?",
        yes=yes,
        no_input=no_input or as_json,
        default=False,
        unasked="Nobody could be asked whether to remove them",
        hint="--yes removes them without a question",
    ):
        raise stop("Nothing was removed.")
    for one in found:
        remove(one)
    if as_json:
        emit({"removed": _shown(found)})
    else:
        say(f"Removed {len(found)}.")
        note("  copies elsewhere, and what the provider keeps, are not touched")


def _shown(found: Sequence[Forgettable]) -> list[dict[str, str]]:
    return [{"folder": str(one.folder), "what": one.what} for one in found]
