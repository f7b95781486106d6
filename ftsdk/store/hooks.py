"""Hooks that write to the journal in the transaction that adds a job."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from ftsdk.types.job import JobSnapshot

InsertHook = Callable[[sqlite3.Cursor, JobSnapshot], None]
"""Runs in the transaction that journals a job. When it raises, no job is journaled."""
