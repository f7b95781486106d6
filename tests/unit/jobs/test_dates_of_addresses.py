"""End dates apply at a provider's own hosts, not at look-alikes, gateways or the lab."""

from __future__ import annotations

import datetime as dt

import pytest

from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.errors import ProviderClosed
from ftsdk.jobs.retirements import retirements
from ftsdk.planning.estimate import compare
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

pytest.importorskip("openai", reason="needs the extra `openai`")

MINI = "gpt-4.1-mini-2025-04-14"
TODAY = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)
CLOSED = dt.datetime(2027, 1, 7, tzinfo=dt.UTC)


def client_at(home, address, *, day=TODAY, provider="openai", env=None, **more):
    data = {"provider": provider, "model": MINI, **more}
    if address is not None:
        data["base_url"] = address
    key = {"OPENAI_API_KEY": "k" * 20, "AZURE_OPENAI_API_KEY": "k" * 20, "NEBIUS_API_KEY": "k" * 20}
    return Client(
        home=home, clock=ManualClock(day), config=Config(data=data), env={**key, **(env or {})}
    )


@pytest.mark.parametrize(
    ("provider", "address", "owner"),
    [
        ("openai", None, "openai"),
        ("openai", "https://api.openai.com/v1", "openai"),
        ("openai", "https://gateway.example.com/v1", None),
        ("openai", "https://api.openai.com.evil.example/v1", None),
        ("openai", "http://127.0.0.1:9/v1", None),
        ("openai", "https://api.tokenfactory.nebius.com/v1", "nebius"),
        ("openai", "https://x.openai.azure.com/openai/v1", "azure"),
        ("azure", "https://x.openai.azure.com/openai/v1", "azure"),
        ("azure", "https://models.corp.example/openai/v1", None),
        ("nebius", None, "nebius"),
        ("together", None, "together"),
        ("together", "http://127.0.0.1:9", None),
        ("replicate", None, "replicate"),
    ],
)
def test_whose_dates_apply(home, provider, address, owner):
    client = client_at(home, address, provider=provider)
    assert client.backend(provider).dated_as == owner


def test_the_variable_of_the_sdk_counts_as_well(home):
    for url, owner in [("https://api.openai.com/v1", "openai"), ("https://g.example/v1", None)]:
        client = client_at(home, None, env={"OPENAI_BASE_URL": url})
        assert client.backend("openai").dated_as == owner


def test_a_gateway_whose_service_is_named_has_its_dates(home):
    there = "https://gateway.example.com/v1"
    named = client_at(home, there, options={"profile": "openai"})
    assert named.backend("openai").dated_as == "openai"
    plain = client_at(home, there, options={"profile": "generic"})
    assert plain.backend("openai").dated_as is None


@pytest.mark.parametrize("address", [None, "https://api.openai.com/v1"])
def test_the_end_date_of_openai_applies_at_its_own_address(home, rows, address):
    with pytest.raises(ProviderClosed, match="no new jobs since 2027-01-06"):
        client_at(home, address, day=CLOSED).plan(rows(20))


def test_the_end_date_of_openai_does_not_apply_to_a_look_alike(home, rows):
    plan = client_at(home, "https://gateway.example.com/v1", day=CLOSED).plan(rows(20))
    assert not [line for line in plan.warnings if "2027" in line]


def test_sixty_days_before_the_end_a_plan_warns(home, rows):
    warnings = " ".join(client_at(home, None).plan(rows(20)).warnings)
    assert "OpenAI takes no new jobs from 2027-01-06, in 42 days" in warnings
    assert "end on 2027-01-14, in 50 days" in warnings
    assert warnings.count("2027-01-06") == 1  # each date is mentioned once
    early = client_at(home, None, day=TODAY - dt.timedelta(days=30)).plan(rows(20))
    assert "in 72 days" not in " ".join(early.warnings)


def test_a_look_alike_is_compared_by_its_own_price_and_has_no_end(home, rows):
    there = client_at(home, "https://gateway.example.com/v1", day=CLOSED)
    [option] = compare(there.session, rows(20), places=[f"openai:{MINI}"], epochs=1).options
    assert (option.closed, option.ends_on, option.training.high) == (None, None, None)
    [option] = compare(client_at(home, None).session, rows(20), places=[f"openai:{MINI}"]).options
    assert option.ends_on == dt.date(2027, 1, 14)
    assert option.training.high is not None


def test_retirements_know_where_a_job_was_created(home):
    client = client_at(home, None)
    for number, made_at in enumerate(
        ["https://api.openai.com/v1", "https://gateway.example.com/v1"]
    ):
        client.journal.add(
            JobSnapshot(
                id=f"ftj_{number}", provider="openai", provider_job_id=f"ftjob-{number}00",
                status=JobStatus.SUCCEEDED, model=MINI, tag=f"ft{number}", client_token="c",
                fingerprint="f", dataset={"base_url": made_at}, created_at=TODAY, updated_at=TODAY,
            )
        )  # fmt: skip
    found = {(row.kind, row.provider, row.retires_on) for row in retirements(client.session).rows}
    assert found == {
        (kind, owner, day)
        for kind in ("fine-tune", "base")
        for owner, day in [
            ("openai", dt.date(2027, 1, 14)),
            ("openai at gateway.example.com", None),
        ]
    }


def test_an_unreachable_provider_is_listed_and_the_others_are_asked(home, monkeypatch):
    client = client_at(home, "http://127.0.0.1:9/v1")
    found = retirements(client.session, live=True)
    assert any(line.startswith("openai at 127.0.0.1: ") for line in found.not_asked)
