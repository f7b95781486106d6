"""`schema`: the JSON Schema of `ftsdk.toml`, and of what `--json` prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import ftsdk
from ftsdk.cli import completion
from ftsdk.cli.options import Json
from ftsdk.errors import UsageError
from ftsdk.util.names import nearest


def schema(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="config (ftsdk.toml), job, plan or error.",
            autocompletion=completion.schemas,
        ),
    ] = "config",
    as_json: Json = False,  # noqa: ARG001  # it is JSON in any case
) -> None:
    """Print a JSON Schema: of ftsdk.toml, or of what --json prints."""
    sys.stdout.write(schema_text(name))


def schema_text(name: str) -> str:
    """Return a shipped schema. Raises `UsageError` for an unknown name."""
    known = {path.stem: path for path in Path(ftsdk.__path__[0], "schemas").glob("*.json")}
    if name not in known:
        raise UsageError(
            f"No schema is called {name!r}{nearest(name, known)}",
            where="`ftsdk schema`",
            hint=f"one of {', '.join(sorted(known))}",
        )
    return known[name].read_text(encoding="utf-8")
