"""Find rows of `jobs`: a page of them, or one by the start of its id."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ftsdk.types.status import JobStatus

TagFilter = tuple[str, str | None]
"""A tag that a job must have: its name, and its value or None for any."""
Place = tuple[str, str]
"""Where a job is in a list: the time of its creation and its id."""
_SHORTEST_START = 8
_BEHIND_ALL = "~"
"""A character behind all that an id has."""


@dataclass(frozen=True)
class Page:
    """Which jobs a list has."""

    status: frozenset[JobStatus] | None = None
    provider: str | None = None
    tags: tuple[TagFilter, ...] = ()
    text: str | None = None
    """Text in the id, the name, the model or a tag (`name=value`), in any case."""


_TEXT = """(
    instr(lower(jobs.id), :text)
    OR instr(lower(ifnull(jobs.provider_job_id, '')), :text)
    OR EXISTS (
        SELECT 1 FROM job_names AS called WHERE called.job_id = jobs.id AND instr(lower(called.name), :text)
    )
    OR EXISTS (
        SELECT 1 FROM job_tags AS found
        WHERE found.job_id = jobs.id AND instr(lower(found.name || '=' || found.value), :text)
    )
    OR instr(lower(CASE WHEN json_valid(jobs.snapshot) THEN json_extract(jobs.snapshot, '$.model') END), :text)
)"""


def place_of(cursor: sqlite3.Cursor, job_id: str) -> Place | None:
    """Return where this job is in a list; None when there is no such job."""
    row = cursor.execute("SELECT created_at, id FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return None if row is None else (row["created_at"], row["id"])


def rows_of(cursor: sqlite3.Cursor, page: Page, start: Place | None) -> Iterator[sqlite3.Row]:
    """Yield the rows that match, newest first, from behind `start` on.

    They are read as they are asked for, along an index: a short page of a long list is cheap. Close the
    cursor after the last row that you need.
    """
    clauses, values = ["1"], list[Any]()
    source, time, identity = "jobs", "jobs.created_at", "jobs.id"
    first, *others = page.tags or (None,)
    if first is not None:
        # The rows of one tag are in the order of time; CROSS JOIN keeps the tag as the outer loop.
        source = "job_tags CROSS JOIN jobs ON jobs.id = job_tags.job_id"
        time, identity = "job_tags.created_at", "job_tags.job_id"
        clauses.append("job_tags.name = ?")
        values.append(first[0])
        if first[1] is not None:
            clauses.append("job_tags.value = ?")
            values.append(first[1])
    for name, value in others:
        clauses.append(
            "EXISTS (SELECT 1 FROM job_tags AS more WHERE more.job_id = jobs.id "
            "AND more.name = ? AND more.value = ifnull(?, more.value))"
        )
        values += [name, value]
    if page.status is not None:
        clauses.append(f"+jobs.status IN ({', '.join('?' * len(page.status))})")
        values += sorted(one.value for one in page.status)
    if page.provider is not None:
        clauses.append("+jobs.provider = ?")
        values.append(page.provider)
    if page.text:
        clauses.append(_TEXT.replace(":text", "?"))
        values += [page.text.lower()] * _TEXT.count(":text")
    if start is not None:
        clauses.append(f"({time}, {identity}) < (?, ?)")
        values += start
    query = (
        f"SELECT jobs.* FROM {source} WHERE {' AND '.join(clauses)} "  # noqa: S608  # no outside text
        f"ORDER BY {time} DESC, {identity} DESC"
    )
    yield from cursor.execute(query, values)


def rows_by_id(cursor: sqlite3.Cursor, job_id: str) -> list[sqlite3.Row]:
    """Return the row with this id; without one, up to three rows whose id starts with it."""
    rows = cursor.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchall()
    if rows or len(job_id) < _SHORTEST_START or not job_id.startswith("ftj_"):
        return rows
    start = job_id.upper().replace("FTJ_", "ftj_", 1)
    return cursor.execute(
        "SELECT * FROM jobs WHERE id >= ? AND id < ? LIMIT 3",
        (start, start + _BEHIND_ALL),
    ).fetchall()
