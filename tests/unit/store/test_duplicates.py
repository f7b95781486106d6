"""Which existing job is given back instead of a new one: by its state, its age and its place."""

from __future__ import annotations

import datetime as dt

import pytest

from ftsdk.store.duplicates import RECENTLY, DuplicateRule, Identity, same_job
from ftsdk.store.journal import Journal
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
WANTED = Identity("print", "https://a.example", frozenset({"project:a", "project:old"}), "prod")
PAID, FREE = DuplicateRule(may_cost=True), DuplicateRule(may_cost=False)
REFUSED = {"code": "unavailable", "what": "no network"}


def snapshot(
    number=1, status="running", age=dt.timedelta(0), sent_after=None, key=None, error=None,
    fingerprint="print", base_url="https://a.example", profile="prod", account="project:a",
):  # fmt: skip
    made = NOW - age
    return JobSnapshot(
        id=f"ftj_{number}", provider="p", status=status, model="m", tag=f"t{number}",
        client_token="c", fingerprint=fingerprint, key=key, profile=profile, error=error, account=account,
        dataset={} if base_url is None else {"base_url": base_url},
        provider_job_id=f"x{number}" if JobStatus(status).is_remote else None,
        submitted_at=None if sent_after is None else made + sent_after,
        created_at=made, updated_at=made,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "paid", "free"),
    [
        ({"status": "running"}, True, False),
        ({"status": "succeeded"}, True, False),
        ({"status": "unknown"}, True, False),
        ({"status": "running", "age": RECENTLY}, True, False),
        ({"status": "running", "age": RECENTLY + SECOND}, False, False),
        ({"status": "running", "age": RECENTLY + SECOND, "sent_after": SECOND}, True, False),
        ({"status": "running", "key": "k"}, True, False),
        ({"status": "submitting", "age": 999 * RECENTLY}, True, False),
        ({"status": "in_doubt", "age": 999 * RECENTLY}, True, False),
        ({"status": "created", "age": 999 * RECENTLY}, True, False),  # killed before it was sent
        ({"status": "created", "age": 999 * RECENTLY, "error": REFUSED}, True, True),
        ({"status": "created", "key": "k", "age": RECENTLY}, True, False),
        ({"status": "created", "key": "k", "age": RECENTLY + SECOND}, False, False),
        ({"status": "created", "profile": "dev", "age": RECENTLY}, True, False),
        ({"status": "created", "profile": "dev", "age": RECENTLY + SECOND}, False, False),
        ({"status": "created", "profile": "dev", "error": REFUSED}, True, False),
        ({"status": "running", "profile": "dev"}, True, False),
        ({"status": "running", "base_url": "https://b.example"}, False, False),
        ({"status": "in_doubt", "base_url": None}, False, False),
        ({"status": "running", "account": "project:b"}, False, False),
        ({"status": "in_doubt", "account": "project:b"}, False, False),
        ({"status": "running", "account": "project:old"}, True, False),  # declared to be the same
        ({"status": "running", "account": None}, True, False),  # an older journal
        ({"status": "running", "fingerprint": "another"}, False, False),
    ],
)  # fmt: skip
def test_the_rule(facts, paid, free):
    job = snapshot(**facts)
    assert PAID.applies(job, WANTED, NOW) is paid
    assert FREE.applies(job, WANTED, NOW) is free
    assert not DuplicateRule(True, (job.id,)).applies(job, WANTED, NOW)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_failed_or_cancelled_job_is_created_again(home, status):
    journal = Journal(home)
    journal.add(snapshot(status=status))
    assert journal.same_job(WANTED, PAID, NOW) is None


def test_a_job_that_was_sent_goes_before_a_newer_one_that_was_not(home):
    journal = Journal(home)
    journal.add(snapshot(1, "running", age=9 * RECENTLY / 10))
    journal.add(snapshot(2, "running", age=8 * RECENTLY / 10))
    journal.add(snapshot(3, "created", error=REFUSED))
    assert journal.same_job(WANTED, PAID, NOW).id == "ftj_2"
    assert journal.same_job(WANTED, FREE, NOW).id == "ftj_3"
    assert journal.same_job(WANTED, DuplicateRule(True, ("ftj_2", "ftj_1")), NOW).id == "ftj_3"
    with journal.write() as cursor:
        assert same_job(cursor, WANTED, PAID, NOW, excluding="ftj_2").id == "ftj_1"
