"""A row that cannot be read, also one of a newer version, is named; the other jobs go on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ftsdk.client import Client
from ftsdk.errors import BudgetError, StoreError
from ftsdk.jobs.spending_guard import enforce
from ftsdk.spending.ledger import ledger
from ftsdk.store.duplicates import DuplicateRule, Identity
from ftsdk.store.export import export_lines
from ftsdk.store.job_rows import UnreadableJob
from ftsdk.store.journal import Journal
from ftsdk.store.leases import Leases
from ftsdk.store.limits import Limit, check_limits
from ftsdk.store.reservations import Reservations
from ftsdk.types.status import JobStatus

Rows = Callable[[int], list[dict[str, Any]]]

DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a field of a newer version": lambda job: {**job, "region": "eu"},
    "a status of a newer version": lambda job: {**job, "status": "archived"},
    "a basis of a newer version": lambda job: {**job, "cost": {**job["cost"], "basis": "metered"}},
    "a missing field": lambda job: {k: v for k, v in job.items() if k != "model"},
    "another type": lambda job: {**job, "created_at": "yesterday"},
    "not a job": lambda _: ["what"],
}
TEXTS = {"not JSON": '{"id": ', "nothing": "", "text": "\x00\x01"}


def damage(journal: Journal, job_id: str, how: str) -> None:
    [row] = journal.read("SELECT snapshot FROM jobs WHERE id = ?", (job_id,))
    text = TEXTS.get(how)
    if text is None:
        text = json.dumps(DAMAGES[how](json.loads(row["snapshot"])))
    with journal.write() as cursor:
        cursor.execute("UPDATE jobs SET snapshot = ? WHERE id = ?", (text, job_id))


@pytest.mark.parametrize("how", [*DAMAGES, *TEXTS])
def test_the_other_jobs_are_listed_and_the_row_is_named(
    how: str, client: Client, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = client.create_job(rows(4)), client.create_job(rows(5), key="k")
    damage(client.journal, bad.id, how)
    with caplog.at_level(logging.WARNING, "ftsdk"):
        assert [job.id for job in client.list_jobs()] == [good.id]
        client.list_jobs()
    assert [bad.id in record.message for record in caplog.records] == [True], "named once"
    unreadable: list[UnreadableJob] = []
    client.journal.list(unreadable=unreadable)
    [job] = unreadable
    assert (job.id, job.provider, bool(job.why)) == (bad.id, "fake", True)
    assert ("newer" in job.hint) is ("newer" in how)
    assert sorted(client.journal.ids()) == sorted([good.id, bad.id])
    for call in (
        lambda: client.get_job(bad.id),
        lambda: client.get_job(bad.id[:-2]),
        lambda: client.create_job(rows(5), key="k"),
        lambda: client.adopt_job("fake", str(bad.provider_job_id)),
        lambda: client.journal.change(bad.id, now=client.clock.now(), why="x", message="m"),
    ):
        with pytest.raises(StoreError, match=bad.id) as caught:
            call()
        assert caught.value.job_id == bad.id
    assert good.wait().status is JobStatus.SUCCEEDED
    assert bad.wait(timeout=600).status is JobStatus.SUCCEEDED, "a handle that was there goes on"
    assert client.reconcile() == []
    assert enforce(client.session) == []


@pytest.mark.parametrize("how", ["a status of a newer version", "not JSON"])
def test_nothing_is_lost_by_the_export(how: str, client: Client, rows: Rows) -> None:
    good, bad = client.create_job(rows(4)), client.create_job(rows(5))
    damage(client.journal, bad.id, how)
    first, second = (json.loads(line) for line in export_lines(client.journal))
    assert first["job"]["id"] == good.id
    assert second["unreadable"] == bad.id
    assert second["row"]["tag"] == bad.snapshot.tag
    assert second["row"]["snapshot"]
    assert [move["new"] for move in second["moves"]] == ["created", "submitting", "queued"]


def test_a_job_that_cannot_be_read_still_counts_against_the_budget(
    client: Client, rows: Rows
) -> None:
    job = client.create_job(rows(4))
    with client.journal.write() as cursor:
        cursor.execute("UPDATE reservations SET high = '40', low = '30', basis = 'estimated'")
    damage(client.journal, job.id, "a status of a newer version")
    now, reserved = client.clock.now(), Reservations(client.journal)
    assert reserved.spent(now) == (Decimal(40), 0)
    [line] = ledger(client.session)
    assert (line.id, line.status, line.counted) == (job.id, "unreadable", Decimal(40))
    with client.journal.write() as cursor:
        limits, sent = [Limit(Decimal(50), "x")], client.journal.is_being_sent
        check_limits(cursor, limits, now, Decimal(10), "job", being_sent=sent)
        with pytest.raises(BudgetError, match=r"\$10.00 of"):
            check_limits(cursor, limits, now, Decimal("10.01"), "job", being_sent=sent)


def test_a_possible_duplicate_that_cannot_be_read_is_named(client: Client, rows: Rows) -> None:
    job = client.create_job(rows(4))
    damage(client.journal, job.id, "not JSON")
    with pytest.raises(StoreError, match=job.id):
        client.journal.same_job(
            Identity(job.snapshot.fingerprint), DuplicateRule(may_cost=True), client.clock.now()
        )


def test_a_status_change_of_a_newer_version_is_unknown(client: Client, rows: Rows) -> None:
    job = client.create_job(rows(4))
    with client.journal.write() as cursor:
        cursor.execute("UPDATE moves SET new = 'archived' WHERE new = 'queued'")
    changes = client.journal.status_changes(job.id)
    assert [new for _, _, new, _, _ in changes] == ["created", "submitting", "unknown"]
    with client.journal.write() as cursor:
        cursor.execute("UPDATE moves SET time = 'noon' WHERE new = 'archived'")
    with pytest.raises(StoreError, match=job.id):
        client.journal.status_changes(job.id)


@pytest.mark.parametrize(
    ("column", "value"), [("basis", "metered"), ("high", "a lot"), ("cap", "none")]
)
def test_a_reservation_that_cannot_be_read_names_its_job(
    column: str, value: str, client: Client, rows: Rows
) -> None:
    job = client.create_job(rows(4))
    with client.journal.write() as cursor:
        cursor.execute(f"UPDATE reservations SET {column} = ?", (value,))
    with pytest.raises(StoreError, match=job.id):
        Reservations(client.journal).get(job.id)
    assert client.list_jobs()


def test_a_lease_that_cannot_be_read_counts_as_unknown(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with client.journal.write() as cursor:
        cursor.execute(
            "INSERT INTO leases (id, provider, model, state, started_at, ends_at, why) "
            "VALUES ('lease_1', 'fake', 'm', 'open', 'now', 'later', '')"
        )
    with caplog.at_level(logging.WARNING, "ftsdk"):
        assert Leases(client.journal).list() == []
    assert "lease_1" in caplog.text
    assert Reservations(client.journal).month(client.clock.now()).unknown == 1


def test_the_commands_name_the_row_and_go_on(
    home: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit.cli.conftest import Cli

    monkeypatch.setenv("FTSDK_PROVIDER", "fake")
    monkeypatch.setenv("FTSDK_MODEL", "m")
    with Client() as client:
        good, bad = client.create_job(rows(4)), client.create_job(rows(5))
        damage(client.journal, bad.id, "a status of a newer version")
    cli = Cli()
    for words in (["list"], ["costs"], ["watch"]):
        ran = cli.ok(*words)
        assert f"{bad.id}  cannot be read: status: " in ran.err, words
        assert "pip install -U ftsdk" in ran.err
    assert good.id in cli.ok("list").out
    for words in (["list", "--json"], ["costs", "--json"]):
        assert [one["id"] for one in cli.ok(*words).json["unreadable"]] == [bad.id]
    assert f"job {bad.id} cannot be read" in cli("doctor").out
    assert cli("show", bad.id).code == 2
    assert "unreadable" in cli.ok("costs", "--by", "status").out
