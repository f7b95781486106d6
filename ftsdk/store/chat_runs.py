"""Reserve money for runs of many chats and record what chats cost, each in one transaction."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from ftsdk.errors import StoreError
from ftsdk.store.accounting import month_of
from ftsdk.store.chat_costs import ChatCosts, ChatTokens, rows_of, write_row
from ftsdk.store.journal import Journal
from ftsdk.store.limits import Limit, chats_counted, check_limits, known_jobs_and_leases

_ZERO = Decimal(0)


class _Turns:
    """One write at a time in this process: threads that wait inside SQLite wait in steps."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Make a new lock: in a forked process another thread may have held the old one."""
        self.lock = threading.Lock()


_TURNS = _Turns()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_TURNS.renew)


class ChatRuns:
    """The chats of a journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        with _TURNS.lock, self.journal.write() as cursor:
            yield cursor

    def hold(
        self,
        fresh: ChatCosts,
        limits: Sequence[Limit],
        now: dt.datetime,
        check: Callable[[Decimal], None],
    ) -> None:
        """Reserve the high end of `fresh` for the calls of its run that are still to come.

        What the run held before is replaced, and what was spent is kept. `check` is called with that
        amount. When it raises, or a limit would be exceeded, nothing is changed.
        """
        with self._writing() as cursor:
            rows = rows_of(cursor, fresh.id)
            check(sum((row.spent for row in rows), _ZERO))
            check_limits(
                cursor,
                limits,
                now,
                fresh.high,
                fresh.what,
                being_sent=self.journal.is_being_sent,
                excluding=fresh.id,
            )
            held = replace(fresh, held=fresh.high or _ZERO, is_open=True)
            write_row(cursor, _moved(cursor, rows, now).renewed(held) if rows else held)

    def add(
        self,
        run_id: str,
        usd: Decimal | None,
        calls: int,
        tokens: ChatTokens,
        now: dt.datetime,
        once: str = "",
    ) -> None:
        """Move `usd` from what a run holds to what it spent. Raises `StoreError` without a run.

        What is named by `once` is recorded the first time only.
        """
        with self._writing() as cursor:
            if once and not _is_first(cursor, run_id, once, now):
                return
            rows = rows_of(cursor, run_id)
            if not rows:
                raise StoreError(
                    "There is no reservation with this id, so its chats cannot be recorded",
                    where=f"chats of {run_id}",
                    hint="reserve with hold() first",
                )
            write_row(cursor, _moved(cursor, rows, now).plus(usd, calls, tokens, now))

    def book(self, fresh: ChatCosts, usd: Decimal | None, tokens: ChatTokens) -> None:
        """Record one call outside of a run, in the row of `fresh`, which is made if there is none."""
        now = fresh.updated_at
        with self._writing() as cursor:
            rows = rows_of(cursor, fresh.id)
            row = rows[0].in_month(now) if rows else fresh
            write_row(cursor, row.plus(usd, 1, tokens, now))

    def spent(self, run_id: str) -> Decimal:
        """Return what the calls of a run have cost so far, in all months."""
        with self.journal.reading() as cursor:
            return sum((row.spent for row in rows_of(cursor, run_id)), _ZERO)

    def release(self, run_id: str, now: dt.datetime) -> None:
        """End a reservation; what was spent stays. Without one, nothing happens."""
        with self._writing() as cursor:
            for row in rows_of(cursor, run_id):
                if row.is_open:
                    write_row(cursor, replace(row, held=_ZERO, is_open=False, updated_at=now))

    # --- limits ---

    def known_others(self, limits: Sequence[Limit], now: dt.datetime) -> dict[Limit, Decimal]:
        """Return what jobs and deployments count against each limit; unknown costs are left out."""
        with self.journal.reading() as cursor:
            return {
                limit: known_jobs_and_leases(cursor, limit, now, self.journal.is_being_sent)
                for limit in limits
            }

    def used_up(
        self, others: Mapping[Limit, Decimal], now: dt.datetime
    ) -> tuple[Limit, Decimal] | None:
        """Return a limit that is used up and what counts against it; None where there is none.

        `others` is what counts beside chats.
        """
        with self.journal.reading() as cursor:
            for limit, counted in others.items():
                used = counted + chats_counted(cursor, limit, month_of(now))
                if used >= limit.usd:
                    return limit, used
        return None


def _is_first(cursor: sqlite3.Cursor, run_id: str, what: str, now: dt.datetime) -> bool:
    """Note that something of a run is booked; returns False where it was before."""
    values = (run_id, what, now.astimezone(dt.UTC).isoformat())
    cursor.execute("INSERT OR IGNORE INTO booked VALUES (?, ?, ?)", values)
    return cursor.rowcount > 0


def _moved(cursor: sqlite3.Cursor, rows: list[ChatCosts], now: dt.datetime) -> ChatCosts:
    """Return the row of the month of `now`; what is held moves there from the month before."""
    last = rows[0]
    current = last.in_month(now)
    if current is not last:
        write_row(cursor, replace(last, held=_ZERO, is_open=False))
    return current
