"""The accounts of the journal's jobs, and those that were declared to be the same."""

from __future__ import annotations

import datetime as dt

from ftsdk.store.journal import Journal


class Accounts:
    """The accounts that a journal knows."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def known(self) -> list[tuple[str, str]]:
        """Return provider and account of all jobs whose account was recorded, without repeats."""
        rows = self.journal.read(
            "SELECT DISTINCT provider, account FROM jobs WHERE account IS NOT NULL "
            "ORDER BY provider, account"
        )
        return [(row["provider"], row["account"]) for row in rows]

    def same_as(self, provider: str, account: str) -> frozenset[str]:
        """Return the account and all that were declared to be the same one."""
        rows = self.journal.read(
            "SELECT account, same_as FROM same_accounts WHERE provider = ?", (provider,)
        )
        pairs = [(row["account"], row["same_as"]) for row in rows]
        found, before = {account}, 0
        while len(found) > before:
            before = len(found)
            found |= {name for pair in pairs if found & set(pair) for name in pair}
        return frozenset(found)

    def declare_same(self, provider: str, account: str, same_as: str, now: dt.datetime) -> None:
        """Record that two accounts are one, for instance after its key was replaced."""
        with self.journal.write() as cursor:
            cursor.execute(
                "INSERT OR IGNORE INTO same_accounts (provider, account, same_as, time) "
                "VALUES (?, ?, ?, ?)",
                (provider, account, same_as, now.isoformat()),
            )
