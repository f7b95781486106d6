"""`forget`: remove what was captured or fetched."""

from __future__ import annotations

from typing import Annotated

import typer

from ftsdk.cli.context import open_client
from ftsdk.cli.options import Json, NoInput, Profile, Yes
from ftsdk.cli.prompts import decide, stop
from ftsdk.cli.view.formatting import clean, size
from ftsdk.cli.view.output import columns, emit, note, say
from ftsdk.migration.forget import forget as remove
from ftsdk.migration.forget import forgettable


def forget(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The folder of a bundle, or a model."),
    ],
    yes: Yes = False,
    no_input: NoInput = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Remove what was captured or fetched: bundles and stored answers.

    They are private data. A model's name removes its answers and the bundles in FTSDK_HOME; a folder removes that bundle.
    Answers that are removed have to be paid for again. The journal keeps its jobs.
    """
    client = open_client(profile)
    found = forgettable(client.session, name)
    if not as_json:
        columns([[clean(one.what), size(one.bytes), (clean(one.folder), "dim")] for one in found])
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
        emit({"removed": [{"folder": str(one.folder), "what": one.what} for one in found]})
    else:
        say(f"Removed {len(found)}.")
        note("  copies elsewhere, and what the provider keeps, are not touched")
