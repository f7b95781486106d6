"""`path`: where ftsdk keeps its journal, models and runs."""

from __future__ import annotations

from ftsdk.cli.options import Json
from ftsdk.cli.view.formatting import clean
from ftsdk.cli.view.output import emit, say
from ftsdk.config import default_home


def path(as_json: Json = False) -> None:
    """Print the folder of the journal, models and runs (FTSDK_HOME)."""
    home = default_home()
    if as_json:
        emit({
            "home": home, "journal": home / "journal.db", "models": home / "models",
            "runs": home / "runs", "datasets": home / "datasets",
        })  # fmt: skip
    else:
        say(clean(home))
