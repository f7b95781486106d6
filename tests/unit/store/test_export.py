"""Exporting the journal, forgetting old jobs, and finding duplicates."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

from ftsdk.client import Client
from ftsdk.store.export import export_lines, forget, forgettable
from ftsdk.util.clock import ManualClock

Rows = Callable[[int], list[dict[str, Any]]]


def test_every_job_is_a_line_with_its_status_changes(client: Client, rows: Rows) -> None:
    names = ["one", "two\u2028three", "\x1cfour"]
    for count, name in enumerate(names, 1):
        client.create_job(rows(count), name=name).wait()
    lines = list(export_lines(client.journal))
    exported = [json.loads(line) for line in lines]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert [one["job"]["name"] for one in exported] == names
    assert [move["new"] for move in exported[0]["moves"]][:2] == ["created", "submitting"]
    assert exported[0]["moves"][-1]["new"] == "succeeded"


def test_only_ended_jobs_are_forgotten(client: Client, rows: Rows, clock: ManualClock) -> None:
    old = client.create_job(rows(1)).wait()
    still = client.create_job(rows(2), provider_options={"timeline": [["running", 0]]})
    clock.advance(100 * 86_400)
    new = client.create_job(rows(3)).wait()
    age, now = dt.timedelta(days=90), clock.now()
    assert [job.id for job in forgettable(client.journal, age, now)] == [old.id]
    assert [job.id for job in forget(client.journal, age, now)] == [old.id]
    assert {job.id for job in client.list_jobs()} == {still.id, new.id}
    assert client.journal.status_changes(old.id) == []
    assert client.journal.status_changes(new.id)


def test_jobs_of_this_month_are_kept(client: Client, rows: Rows, clock: ManualClock) -> None:
    client.create_job(rows(1)).wait()
    made, day = clock.now(), dt.timedelta(days=1)
    next_month = (made.replace(day=1) + 31 * day).replace(day=1, hour=0, minute=0, second=0)
    assert forgettable(client.journal, day, next_month - day / 86_400) == []
    assert len(forgettable(client.journal, day, next_month + 2 * day)) == 1
