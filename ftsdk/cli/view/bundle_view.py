"""What the check of a bundle found."""

from __future__ import annotations

from pathlib import Path

import typer

from ftsdk.cli.view.formatting import clean
from ftsdk.cli.view.output import emit, say


def verified(folder: Path, wrong: list[str], *, as_json: bool) -> None:
    """Print what is wrong with a bundle; exit with 3 if anything is."""
    if as_json:
        emit({"folder": str(folder), "ok": not wrong, "wrong": wrong})
    elif wrong:
        for line in wrong:
            say((clean(line), "red"))
    else:
        say("The bundle is whole: every file has the recorded hash.")
    if wrong:
        raise typer.Exit(3)
