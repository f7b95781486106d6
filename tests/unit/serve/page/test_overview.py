"""Pages over all jobs: deployments, retirements, reports; and a job's data report."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from ftsdk.serve.page.reports import list_reports
from ftsdk.store.leases import Lease, Leases
from ftsdk.types.status import JobStatus
from tests.unit.serve.page.conftest import ROWS, SECRET, Site
from tests.unit.store.test_journal import snapshot

REPORT = "<!doctype html><title>Migration of a &amp; b</title><style>h1{color:red}</style><h1>Parity</h1>"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("overview"))
    made.sign_in()
    yield made
    anyio.run(made.close)


def test_deployments_show_what_costs_now_and_end_there(site: Site) -> None:
    assert "Nothing was deployed" in site.text("/deployments")
    now = site.client.clock.now()
    leases = Leases(site.client.journal)
    for number in range(2):
        leases.add(
            Lease(
                id=f"lease_{number}", job_id=None, profile=None, provider="together",
                model=f"<b>model {number}</b>", deployment_id=None, usd_per_hour=Decimal("5.49"),
                state="opening", started_at=now - dt.timedelta(hours=2),
                ends_at=now + dt.timedelta(hours=1), closed_at=None, why="",
            )
        )  # fmt: skip
    leases.mark_closed("lease_0", now, "ended")
    leases.mark_open("lease_1", "endpoint-1")
    page = site.get("/deployments").text
    assert "<b>model" not in page
    assert page.index("model 1") < page.rindex("model 0")
    assert "1 deployment costs money now" in page
    main = page[page.index("<main") :]
    assert main.count('action="/deployments/lease_1/end"') == 1
    assert "lease_0/end" not in main
    assert "$10.98" in main
    leases.mark_closed("lease_1", now, "ended")


def test_retirements_show_each_model_with_its_last_day(site: Site) -> None:
    assert "could retire" in site.text("/retirements")
    site.client.journal.add(
        snapshot(
            provider="openai", model="gpt-4.1-mini-2025-04-14", name="support",
            status=JobStatus.SUCCEEDED, provider_job_id="ftjob-1",
        )
    )  # fmt: skip
    said = site.text("/retirements")
    assert "support" in said
    assert "gpt-4.1-mini-2025-04-14" in said
    assert "Jan 2027" in said
    assert "to decide about" in said
    site.client.create_job(ROWS, provider="fake", model="fake-1", seed=5)
    [row] = [one for one in site.get("/retirements").text.split("<tr") if "no date known" in one][
        :1
    ]
    assert "passed" not in row


def test_a_job_has_a_data_report(site: Site) -> None:
    job = site.client.create_job([*ROWS, ROWS[0]])
    page = site.get(f"/jobs/{job.id}")
    assert f'href="/jobs/{job.id}/data"' in page.text
    said = site.text(f"/jobs/{job.id}/data")
    assert "no faults" in said
    assert "21" in said
    assert "FT" in said, "the repeated row is not reported"
    other = site.get("/jobs/ftj_01AAAAAAAAAAAAAAAAAAAAAAAA/data")
    assert other.status_code == 404
    elsewhere = snapshot(dataset={"kept": "../journal.db"})
    site.client.journal.add(elsewhere)
    assert "not kept" in site.get(f"/jobs/{elsewhere.id}/data").text


def test_reports_are_listed_and_shown_under_a_policy_of_their_own(
    site: Site, tmp_path: Path
) -> None:
    assert "--reports FOLDER" in site.text("/reports")
    folder = tmp_path / "reports"
    (folder / "migration-a" / "model").mkdir(parents=True)
    path = folder / "migration-a" / "model" / "report.html"
    path.write_text(REPORT)
    (folder / "keys.txt").write_text(SECRET)
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "a.html").write_text(REPORT)
    (tmp_path / "outside.html").write_text(REPORT)
    (folder / "link.html").symlink_to(tmp_path / "outside.html")
    (folder / "linked").symlink_to(tmp_path)
    site_settings = site.app._settings
    object.__setattr__(site_settings, "report_folders", (folder,))
    try:
        page = site.get("/reports").text
        [found] = re.findall(r'href="(/reports/[0-9a-f]{24})"', page)
        assert "Migration of a &amp; b" in page
        assert "migration-a/model/report.html" in page
        answer = site.get(found)
        assert answer.text == REPORT
        [policy] = answer.headers.get_list("content-security-policy")
        assert policy.endswith("; sandbox")
        assert "script" not in policy
        assert "style-src 'unsafe-inline'" in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert "script-src 'self'" in site.get("/reports").headers["content-security-policy"]
        for wrong in ("0" * 24, "..%2f..%2fkeys.txt", "keys.txt", "%00"):
            assert site.get(f"/reports/{wrong}").status_code in (401, 404)
        path.unlink()
        assert site.get(found).status_code == 404
        assert "no report in" in site.text("/reports")
    finally:
        object.__setattr__(site_settings, "report_folders", ())


def test_the_newest_report_comes_first_and_deep_folders_are_left_out(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b/c", "d/e/f/g/h/i")):
        place = tmp_path / name
        place.mkdir(parents=True)
        (place / "report.html").write_text("no title")
        os.utime(place / "report.html", (1_000_000 + number, 1_000_000 + number))
    assert [one.place for one in list_reports([tmp_path])] == ["b/c/report.html", "a/report.html"]
    assert {one.title for one in list_reports([tmp_path])} == {"report"}
