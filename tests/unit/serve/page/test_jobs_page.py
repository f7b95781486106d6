"""The list of jobs: groups, filters, pages, states; live rows; hostile names."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from ftsdk.errors import Unavailable
from ftsdk.serve.page.words import in_days, left
from ftsdk.store.job_rows import insert_job
from ftsdk.store.leases import Lease, Leases
from ftsdk.types.job import JobSnapshot
from ftsdk.util.ids import new_job_id
from tests.unit.serve.page.conftest import ROWS, SECRET, Site, words

NOW = dt.datetime.now(dt.UTC)


def job_of(number: int, **given: Any) -> JobSnapshot:
    """A job of a journal, made this many minutes ago."""
    time = NOW - dt.timedelta(minutes=number)
    values: dict[str, Any] = {
        "id": new_job_id(time), "provider": "openai", "provider_job_id": f"ftjob-{number}",
        "status": "succeeded", "model": "gpt-4.1-mini-2025-04-14", "name": f"run-{number}",
        "tag": f"tag-{number}", "client_token": f"token-{number}", "fingerprint": f"print-{number}",
        "created_at": time, "updated_at": time, "submitted_at": time, "finished_at": time,
    }  # fmt: skip
    return JobSnapshot(**{**values, **given})


def add(site: Site, *jobs: JobSnapshot) -> None:
    with site.client.journal.write() as cursor:
        for job in jobs:
            insert_job(cursor, job)


@pytest.fixture
def fresh(tmp_path: Path) -> Any:
    made = Site(tmp_path)
    made.sign_in()
    yield made
    anyio.run(made.close)


def test_an_empty_journal_says_how_to_begin(fresh: Site) -> None:
    text = fresh.text("/")
    assert "No job yet" in text
    assert "ftsdk create" in text
    assert "New job" in text


def test_the_list_says_what_needs_you_what_runs_and_what_ended(fresh: Site) -> None:
    add(
        fresh,
        job_of(1, status="paused", name="waiting-one"),
        job_of(2, status="validating", name="checking-one"),
        job_of(3, name="<script>alert(1)</script>", tags={"team": "cx"}),
        job_of(4, provider="local", model="m", status="failed", message=f"no <b> {SECRET}"),
    )
    answer = fresh.get("/")
    text = words(answer.text)
    order = ["Needs you 1", "waiting-one", "Active 1", "checking-one", "Ended", "<script>", "run-4"]
    places = [text.index(one, text.index("Model ends")) for one in order]
    assert places == sorted(places)
    assert "<script>alert" not in answer.text
    assert "no <b>" not in answer.text
    assert SECRET not in answer.text
    assert "All 4" in text
    assert "Failed 1" in text
    assert "OpenAI: models end" in text
    assert "14 Jan 2027" in text


def test_filters_are_named_and_cleared(fresh: Site) -> None:
    add(fresh, job_of(1, tags={"team": "cx"}), job_of(2, provider="together", model="Qwen3-8B"))
    for query, found, missing in (
        ("text=RUN-1", "run-1", "run-2"), ("text=team%3Dcx", "run-1", "run-2"),
        ("text=qwen", "run-2", "run-1"), ("provider=together", "run-2", "run-1"),
        ("text=ftjob-2", "run-2", "run-1"),
    ):  # fmt: skip
        text = fresh.text(f"/?{query}")
        table = text[text.index("Model ends") :]
        assert found in table, query
        assert missing not in table, query
    assert "2 jobs, none with “invoice” under “Failed”" in fresh.text("/?tab=failed&text=invoice")
    assert fresh.get("/?after=ftj_nowhere").status_code == 404


def test_pages_go_by_cursor_and_cover_all_jobs_once(fresh: Site) -> None:
    add(fresh, *(job_of(number) for number in range(120)))
    seen: list[str] = []
    path: str | None = "/"
    while path is not None:
        page = fresh.get(path).text
        seen += re.findall(r'id="row-(ftj_\w+)"', page)
        more = re.search(r'href="([^"]+)" id="more"', page)
        path = None if more is None else more[1].replace("&amp;", "&")
    assert len(seen) == len(set(seen)) == 120
    assert "All 120" in fresh.text("/")


def events_of(answer: Any) -> list[dict[str, str]]:
    return [json.loads(one[6:]) for one in answer.text.split("\n\n") if one.startswith("data: ")]


def test_rows_are_replaced_as_jobs_go_on(fresh: Site) -> None:
    timeline = [["running", 0], ["succeeded", 10_000]]
    job = fresh.client.create_job(ROWS, name="<i>", provider_options={"timeline": timeline})
    before = re.search(rf'id="row-{job.id}" data-v="(\w+)"', fresh.get("/").text)
    assert before is not None
    job.cancel()
    events = events_of(fresh.get("/live/jobs"))
    row = next(one for one in events if one.get("id") == f"row-{job.id}")
    assert "cancelled" in row["html"]
    assert "<i>" not in row["html"]
    assert row["v"] != before[1]
    assert any(one.get("id") == "count-cancelled" and one["html"] == "1" for one in events)
    same = events_of(fresh.get("/live/jobs"))
    shown = re.search(rf'id="row-{job.id}" data-v="(\w+)"', fresh.get("/").text)
    assert next(one for one in same if one.get("id") == f"row-{job.id}")["v"] == (shown or " ")[1]


def test_a_provider_that_does_not_answer_keeps_its_rows(
    fresh: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.client.create_job(ROWS, name="there", provider_options={"timeline": [["running", 0]]})
    backend = fresh.client.session.backend("fake")

    def silent(*_: Any, **__: Any) -> Any:
        raise Unavailable("fake answers HTTP 503", where="fake")

    with monkeypatch.context() as patch:
        patch.setattr(type(backend), "get_many", silent)
        fresh.post("/ask", provider="fake")
        text = fresh.text("/")
    assert "does not answer (fake answers HTTP 503)" in text
    assert "Next try at" in text
    assert "not asked" in text
    assert "failed 0" in text.lower()
    fresh.post("/ask", provider="fake")
    assert "does not answer" not in fresh.text("/")


def test_what_costs_now_comes_first_and_can_be_ended(fresh: Site) -> None:
    job = job_of(1, provider="fake", name="hosted-one", provider_job_id="fake-0123456789abcdef")
    add(fresh, job)
    leases = Leases(fresh.client.journal)
    now = dt.datetime.now(dt.UTC)
    start, end = now - dt.timedelta(hours=2), now + dt.timedelta(hours=1)
    price = Decimal("5.49")
    leases.add(Lease("lease-1", "fake", "m", start, end, job_id=job.id, usd_per_hour=price))
    text = fresh.text("/")
    assert text.index("One deployment costs $5.49 an hour now") < text.index("All 1")
    assert re.search(r"\$1[01]\.\d\d so far", text)
    assert fresh.post("/deployments/lease-1/end").status_code == 303
    assert "deployment costs" not in fresh.text("/")
    assert fresh.post("/deployments/nowhere/end").status_code == 404


def test_days_in_words() -> None:
    assert [in_days(n) for n in (46, 1, 0, -1, -3)] == ["in 46 days", "tomorrow", "today", "yesterday", "3 days ago"]  # fmt: skip


def test_the_time_that_is_left() -> None:
    assert [left(seconds) for seconds in (-1, 46, 552, 11_400)] == [
        "0:00 left", "0:46 left", "9:12 left", "3:10:00 left",
    ]  # fmt: skip
