"""Past end dates are refused before anything is sent; near ones give a warning."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from ftsdk.backends.openai import OpenAIBackend
from ftsdk.catalogue.load import load_catalogue, shipped
from ftsdk.catalogue.retirement import (
    closed_reason,
    date_warnings,
    ends_on,
    last_safe_day,
    retirement_dates,
)
from ftsdk.catalogue.retirement_calendar import AccountModel, calendar, retirements_of
from ftsdk.types.cost import Cost
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

TODAY = dt.date(2026, 11, 25)
NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)


def day(text):
    return dt.date.fromisoformat(text)


@pytest.mark.parametrize(
    ("provider", "model", "today", "expected"),
    [
        ("openai", "gpt-4.1-mini", "2026-11-25", None),
        ("openai", "gpt-4.1-mini", "2027-01-06", None),
        ("openai", "gpt-4.1-mini", "2027-01-07", "OpenAI takes no new jobs since 2027-01-06"),
        ("openai", "gpt-4.1-mini", "2027-01-14", "ended at OpenAI on 2027-01-14"),
        ("openai", "gpt-4.1-nano", "2026-10-22", None),
        ("openai", "gpt-4.1-nano", "2026-10-23", "gpt-4.1-nano-2025-04-14 ended at OpenAI"),
        ("openai", "gpt-9", "2027-01-07", "takes no new jobs"),
        ("azure", "gpt-4.1", "2027-04-15", "Azure OpenAI for gpt-4.1-2025-04-14 takes no new jobs"),
        ("azure", "gpt-4.1", "2027-04-14", None),
        ("fireworks", "qwen3-8b", "2026-11-25", "UNCONFIRMED: closed some day between"),
        ("mistral", "open-mistral-7b", "2026-11-25", "Mistral AI takes no new jobs"),
        ("cohere", "command-r", "2026-11-25", "command-r ended at Cohere"),
        ("bedrock", "claude-3-haiku", "2026-11-25", "2026-09-10"),
        ("tinker", "Llama-3.1-8B", "2026-11-25", "ended at Tinker"),
        ("together", "Qwen3.5-9B", "2030-01-01", None),
        ("local", "anything", "2030-01-01", None),
        ("nobody", "x", "2030-01-01", None),
    ],
)
def test_closed(provider, model, today, expected):
    reason = closed_reason(provider, model, day(today))
    if expected is None:
        assert reason is None
    else:
        assert expected in reason


def test_a_live_date_takes_precedence():
    live = {("openai", "gpt-4.1-mini-2025-04-14"): day("2027-03-01")}
    assert ends_on("openai", "gpt-4.1-mini") == day("2027-01-14")
    assert ends_on("openai", "gpt-4.1-mini", live=live) == day("2027-03-01")
    assert retirement_dates("openai", "gpt-4.1-mini", live=live).source == "openai, asked now"
    assert closed_reason("openai", "gpt-9", TODAY, live={("openai", "gpt-9"): TODAY}) is not None


def test_own_file_can_change_a_date(tmp_path):
    (tmp_path / "prices.toml").write_text(
        "as_of = 2026-11-25\n[providers.fireworks]\nno_new_jobs_from = { day = 2030-01-01 }\n"
    )
    book = load_catalogue(tmp_path)
    assert closed_reason("fireworks", "qwen3-8b", TODAY, catalogue=book) is None


def test_warnings_within_sixty_days():
    messages = date_warnings("openai", "gpt-4.1-mini", TODAY)
    assert messages[0].startswith("OpenAI has been closed since 2026-05-07 to some accounts")
    assert messages[1] == (
        "OpenAI takes no new jobs from 2027-01-06, in 42 days; the last safe day is 2027-01-05"
    )
    assert messages[2].startswith(
        "gpt-4.1-mini-2025-04-14 and every fine-tune of it end on 2027-01-14, in 50 days; "
        "replacement: gpt-6-luna"
    )
    assert len(date_warnings("openai", "gpt-4.1-mini", day("2026-11-01"))) == 1
    assert "from today on" in date_warnings("openai", "gpt-4.1-mini", day("2027-01-06"))[1]
    assert date_warnings("openai", "gpt-4.1-mini", day("2027-01-13"))[-1].count("in 1 day") == 1
    assert date_warnings("together", "Qwen3.5-9B", TODAY) == ()
    assert date_warnings("nobody", "x", TODAY) == ()


def test_every_place_shows_the_same_end_date():
    figure = shipped().providers["openai"].no_new_jobs_from
    able = OpenAIBackend.capabilities
    assert able.no_new_jobs_from == figure.day
    assert f"no new jobs from {figure.day}" in able.note
    safe = last_safe_day(figure.day)
    assert retirement_dates("openai", "gpt-4.1").retrain_by == safe
    assert f"from {figure.day}, in 42 days; the last safe day is {safe}" in " ".join(
        date_warnings("openai", "gpt-4.1", TODAY)
    )
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    assert f"no new fine-tuning jobs from {figure.day.day} {figure.day:%B %Y}" in readme


def test_the_last_day_to_train_is_the_safe_one():
    assert retirement_dates("openai", "gpt-4.1").retrain_by == day("2027-01-05")
    assert retirement_dates("azure", "gpt-4.1").retrain_by == day("2027-04-13")
    assert retirement_dates("local", "smollm2-135m").retrain_by is None


def job(provider, model, *, status=JobStatus.SUCCEEDED, name=None, number=1):
    return JobSnapshot(
        id=f"ftj_{number:026d}",
        provider=provider,
        status=status,
        model=model,
        name=name,
        tag=f"ft{number:012d}",
        client_token="0" * 32,
        fingerprint="f",
        cost=Cost(basis="billed", low=Decimal(1), high=Decimal(1)),
        created_at=NOW,
        updated_at=NOW,
    )


def test_retirements_list_every_fine_tune_and_base_soonest_first():
    found = retirements_of(
        [
            job("local", "smollm2-135m", number=1),
            job("azure", "gpt-4.1", number=2, name="support"),
            job("openai", "gpt-4.1-mini", number=3, name="router"),
            job("openai", "gpt-4.1-nano", number=4),
            job("openai", "gpt-4.1-mini", number=5, status=JobStatus.FAILED),
        ],
        TODAY,
        account=[AccountModel("openai", "ft:gpt-4o-2024-08-06:org::x", "gpt-4o-2024-08-06")],
    )
    states = [(r.kind, r.name, r.state) for r in found.rows]
    assert states == [
        ("base", "gpt-4.1-nano-2025-04-14", "ended"),
        ("fine-tune", "ftj_" + "4".zfill(26), "ended"),
        ("base", "gpt-4.1-mini-2025-04-14", "soon"),
        ("base", "gpt-4o-2024-08-06", "soon"),
        ("fine-tune", "router", "soon"),
        ("fine-tune", "ft:gpt-4o-2024-08-06:org::x", "soon"),
        ("base", "gpt-4.1-2025-04-14", "later"),
        ("fine-tune", "support", "later"),
        ("base", "smollm2-135m", "open"),
        ("fine-tune", "ftj_" + "1".zfill(26), "open"),
    ]
    router = next(r for r in found.rows if r.name == "router")
    assert (router.retires_on, router.retrain_by) == (day("2027-01-14"), day("2027-01-05"))
    assert router.days_left == 50
    assert router.to_dict()["dies_on"] == "2027-01-14"
    assert found.exit_code == 7


def test_acknowledged_rows_are_not_urgent():
    jobs = [job("openai", "gpt-4.1-mini")]
    found = retirements_of(jobs, TODAY)
    calm = retirements_of(jobs, TODAY, acknowledged=frozenset(r.subject for r in found.urgent))
    assert (found.exit_code, calm.exit_code) == (7, 0)
    assert all(r.acknowledged for r in calm.rows)
    assert retirements_of([job("together", "Qwen3.5-9B")], TODAY).exit_code == 0
    assert retirements_of([job("openai", "gpt-4.1-mini")], day("2026-10-30")).exit_code == 0
    assert retirements_of([], TODAY).rows == ()


def test_the_account_may_report_the_end_of_a_fine_tune():
    own = AccountModel("together", "me/model-ft", "Qwen3.5-9B", ends_on=day("2026-12-24"))
    found = retirements_of([], TODAY, account=[own, AccountModel("openai", "gpt-9", ends_on=TODAY)])
    assert [(r.name, r.state) for r in found.rows] == [
        ("gpt-9", "ended"),
        ("me/model-ft", "soon"),
        ("Qwen3.5-9B", "open"),
    ]


def parsed(text):
    """Parse iCalendar strictly into unfolded name-value pairs."""
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")
    lines = []
    for line in text.removesuffix("\r\n").split("\r\n"):
        assert len(line.encode()) <= 75
        if line.startswith(" "):
            lines[-1] += line[1:]
        else:
            lines.append(line)
    return lines


def test_the_calendar_file():
    found = retirements_of(
        [job("openai", "gpt-4.1-mini", name="a;b,c\nEND:VEVENT \\ ünïcödé " * 9)], TODAY
    )
    lines = parsed(calendar(found, NOW))
    assert lines[0] == "BEGIN:VCALENDAR"
    assert lines[-1] == "END:VCALENDAR"
    assert lines.count("BEGIN:VEVENT") == lines.count("END:VEVENT") == 3
    assert lines.count("BEGIN:VALARM") == lines.count("END:VALARM") == 6
    assert "DTSTART;VALUE=DATE:20270114" in lines
    assert "DTEND;VALUE=DATE:20270115" in lines
    assert "SUMMARY:Last day to train gpt-4.1-mini-2025-04-14 at openai" in lines
    assert "DTSTART;VALUE=DATE:20270105" in lines
    summary = next(x for x in lines if x.startswith("SUMMARY:a"))
    assert "a\\;b\\,c\\nEND:VEVENT \\\\ ünïcödé" in summary
    identities = [x for x in lines if x.startswith("UID:")]
    assert len(set(identities)) == 3
    later = calendar(found, NOW + dt.timedelta(days=1))
    assert [x for x in parsed(later) if x.startswith("UID:")] == identities
    assert any("openai.com" not in x and "as of 2026-10-15" in x for x in lines)


def test_no_retirements_give_an_empty_calendar():
    assert parsed(calendar(retirements_of([], TODAY), NOW))[-1] == "END:VCALENDAR"


def test_every_model_of_the_catalogue_can_be_checked():
    for provider, facts in shipped().providers.items():
        for model in facts.models:
            for today in (TODAY, day("2030-01-01")):
                closed_reason(provider, model, today)
                date_warnings(provider, model, today)
