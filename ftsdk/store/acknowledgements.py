"""Notices that a person has acknowledged, so that each is shown once."""

from __future__ import annotations

import datetime as dt

from ftsdk.store.journal import Journal


class Acknowledgements:
    """The acknowledged notices of a journal, by kind and subject."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def add(self, kind: str, subject: str, now: dt.datetime, note: str = "") -> bool:
        """Record an acknowledgement. Returns True the first time."""
        with self.journal.write() as cursor:
            cursor.execute(
                "INSERT OR IGNORE INTO acknowledgements (kind, subject, time, note) "
                "VALUES (?, ?, ?, ?)",
                (kind, subject, now.isoformat(), note),
            )
            return cursor.rowcount == 1

    def remove(self, kind: str, subject: str) -> None:
        """Remove an acknowledgement."""
        with self.journal.write() as cursor:
            cursor.execute(
                "DELETE FROM acknowledgements WHERE kind = ? AND subject = ?", (kind, subject)
            )

    def of_kind(self, kind: str) -> frozenset[str]:
        """Return the acknowledged subjects of this kind."""
        rows = self.journal.read("SELECT subject FROM acknowledgements WHERE kind = ?", (kind,))
        return frozenset(row["subject"] for row in rows)
