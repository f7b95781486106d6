"""Pages of jobs, and jobs by tag and by name: right, in order, and as fast with 5,000 jobs as with 50."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import UnknownJob, UsageError
from ftsdk.jobs.search import find_job, find_jobs
from ftsdk.store import migrations
from ftsdk.store.job_rows import UnreadableJob, insert_job
from ftsdk.store.journal import Journal
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from tests.unit.store.test_journal import NOW, snapshot

STATUSES = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.RUNNING)


def made(number: int, **fields: Any) -> JobSnapshot:
    """Job number n: two of them have the same time, a third of them each status."""
    at = NOW + dt.timedelta(seconds=number // 2)
    return snapshot(**{
        "status": STATUSES[number % 3],
        "provider": "openai" if number % 2 else "local",
        "provider_job_id": f"ftjob-{number}",
        "name": f"job {number}",
        "tags": {"team": "cx" if number % 3 else "ops", "number": str(number)},
        "spec": {"text": "x" * 1000},
        "created_at": at,
        "updated_at": at,
        **fields,
    })  # fmt: skip


def journal_of(home: Path, count: int) -> Journal:
    journal = Journal(home)
    with journal.write() as cursor:
        for number in range(count):
            insert_job(cursor, made(number))
    return journal


def ids(found: list[JobSnapshot]) -> list[str]:
    return [job.id for job in found]


@pytest.mark.parametrize("filters", [
    {}, {"status": "succeeded"}, {"status": ["failed", "running"]}, {"provider": "openai"},
    {"tag": "team"}, {"tag": "team=cx"}, {"tag": ("team", "ops")}, {"tag": "number=17"},
    {"tag": {"team": "cx", "number": "17"}}, {"tag": {"team": "ops", "number": "17"}},
    {"tag": "team=cx", "provider": "openai", "status": "succeeded"}, {"tag": "nothing"},
])  # fmt: skip
def test_pages_have_each_job_once_in_order(home: Path, filters: dict[str, Any]) -> None:
    journal = journal_of(home, 60)
    tag = filters.get("tag", {})
    name, _, value = tag.partition("=") if isinstance(tag, str) else ("", "", "")
    tags = {name: value} if name else dict([tag] if isinstance(tag, tuple) else tag)
    status = filters.get("status", list(JobStatus))
    expected = [
        job for job in journal.list()
        if job.status in ([status] if isinstance(status, str) else status)
        and job.provider in filters.get("provider", "openai local")
        and all(job.tags.get(k) == v or (k in job.tags and not v) for k, v in tags.items())
    ]  # fmt: skip
    assert ids(find_jobs(journal, **filters)) == ids(expected)
    found: list[JobSnapshot] = []
    while page := find_jobs(journal, **filters, after=found[-1].id if found else None, limit=7):
        assert len(page) <= 7
        found += page
    assert ids(found) == ids(expected)


def test_a_page_behind_a_job_that_is_not_there_is_an_error(home: Path) -> None:
    journal = journal_of(home, 3)
    with pytest.raises(UnknownJob):
        find_jobs(journal, after="ftj_00000000000000000000000000", limit=2)
    last = journal.list()[-1]
    assert find_jobs(journal, after=last.id) == []
    with pytest.raises(UsageError):
        find_jobs(journal, status="done")


def test_a_row_that_cannot_be_read_does_not_shorten_a_page(home: Path) -> None:
    journal = journal_of(home, 6)
    second = journal.list()[1]
    with journal.write() as cursor:
        cursor.execute("UPDATE jobs SET snapshot = '{' WHERE id = ?", (second.id,))
    unreadable: list[UnreadableJob] = []
    page = journal.list(limit=3, unreadable=unreadable)
    assert len(page) == 3
    assert [job.id for job in unreadable] == [second.id]
    assert len(journal.list(after=second.id)) == 4


def test_a_job_is_found_by_each_of_its_names(home: Path) -> None:
    journal = journal_of(home, 5)
    job = find_job(journal, "job 3")
    for name in (job.id, job.id[:20].lower(), "ftjob-3"):
        assert find_job(journal, name).id == job.id
    journal.change(
        job.id, now=NOW, why="restarted", provider_job_id="ftjob-3b", earlier_ids=("ftjob-3",),
        result_model="ft:gpt:org::abc",
    )  # fmt: skip
    for name in ("job 3", "ftjob-3", "ftjob-3b", "ft:gpt:org::abc"):
        assert find_job(journal, name).id == job.id
    journal.change(job.id, now=NOW, why="again", earlier_ids=())
    with pytest.raises(UnknownJob):
        find_job(journal, "ftjob-3")
    with pytest.raises(UnknownJob, match=r"did you mean \'job 4\'"):
        find_job(journal, "jobb 4")
    journal.add(snapshot(name="job 4"))
    with pytest.raises(UnknownJob, match="2 jobs are called") as several:
        find_job(journal, "job 4")
    assert several.value.where.count("ftj_") == 2


def test_a_job_that_is_forgotten_is_not_found(home: Path) -> None:
    journal = journal_of(home, 2)
    job = find_job(journal, "job 1")
    with journal.write() as cursor:
        cursor.execute("DELETE FROM jobs WHERE id = ?", (job.id,))
    with pytest.raises(UnknownJob):
        find_job(journal, "job 1")
    assert find_jobs(journal, tag="number=1") == []


def test_what_an_older_version_writes_beside_this_one_is_found(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of schema 6 has the journal open while this one migrates it, and goes on writing."""
    with monkeypatch.context() as patch:
        patch.setattr("ftsdk.store.journal.MIGRATIONS", migrations.MIGRATIONS[:6])
        older = Journal(home)
    before, later = made(1), made(2)
    write_as_schema_6(older, before)
    journal = Journal(home)
    assert find_job(journal, "job 1").id == before.id
    write_as_schema_6(older, later)
    assert ids(find_jobs(journal, tag="number=2")) == [later.id]
    assert find_job(journal, "job 2").id == later.id
    with older.write() as cursor:
        renamed = later.model_copy(update={"name": "renamed"})
        cursor.execute(
            "UPDATE jobs SET snapshot = ?, updated_at = ? WHERE id = ?",
            (renamed.model_dump_json(), "2027-01-01T00:00:00+00:00", later.id),
        )
    assert find_job(journal, "renamed").id == later.id
    last = made(3)
    write_as_schema_6(older, last)
    journal.change(last.id, now=NOW, why="seen", message="by this version")
    assert find_job(journal, "job 3").id == last.id


def write_as_schema_6(journal: Journal, job: JobSnapshot) -> None:
    time = job.created_at.isoformat()
    with journal.write() as cursor:
        cursor.execute(
            "INSERT INTO jobs (id, provider, status, fingerprint, tag, created_at, updated_at, "
            "snapshot) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (job.id, job.provider, job.status, "f", job.tag, time, time, job.model_dump_json()),
        )


def test_5000_jobs_are_listed_and_found_as_fast_as_50(home: Path) -> None:
    few, many = journal_of(home / "few", 50), journal_of(home / "many", 5000)
    calls: dict[str, Callable[[Journal], object]] = {
        "first page": lambda journal: find_jobs(journal, limit=20),
        "of a tag": lambda journal: find_jobs(journal, tag="team=cx", limit=20),
        "of a provider": lambda journal: find_jobs(journal, provider="openai", limit=20),
        "by name": lambda journal: find_job(journal, "job 7"),
        "by id": lambda journal: find_job(journal, "ftjob-8"),
    }
    last = {journal: journal.list(limit=20)[-1].id for journal in (few, many)}
    calls["next page"] = lambda journal: find_jobs(journal, after=last[journal], limit=20)
    for name, call in calls.items():
        best = {few: 9.0, many: 9.0}
        for _, journal in itertools.product(range(12), best):
            start = time.perf_counter()
            call(journal)
            best[journal] = min(best[journal], time.perf_counter() - start)
        assert best[many] <= 1.5 * best[few], name
