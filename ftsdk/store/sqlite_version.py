"""The SQLite that this Python links has to be new enough."""

from __future__ import annotations

import sqlite3
import sys

from ftsdk.errors import StoreError

OLDEST_SQLITE = (3, 37, 0)
"""The first version with STRICT tables, which refuse values of the wrong type."""


def require_sqlite() -> None:
    """Raise `StoreError` when SQLite is too old for the journal."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(str(part) for part in OLDEST_SQLITE[:2])
        raise StoreError(
            f"This Python links SQLite {sqlite3.sqlite_version}; the journal needs {oldest} or newer",
            where=sys.executable,
            hint="use a Python with a newer SQLite, for instance from `uv python install`",
        )
