"""Refusals for pace over real sockets: waited for where they come before acceptance, else a doubt."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from ftsdk.errors import FtsdkError, NeedsDecision, RateLimited
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock
from tests.faults.providers import START, each_provider

MESSAGE = "Rate limit reached for requests"
OWN = {
    "openai": {
        "error": {
            "message": MESSAGE, "type": "requests", "param": None, "code": "rate_limit_exceeded",
        }
    },
    "together": {
        "error": {
            "message": MESSAGE, "type": "rate_limit", "param": None, "code": "rate_limit_exceeded",
        }
    },
    "replicate": {"detail": "Request was throttled. Your rate limit resets in ~30s."},
}  # fmt: skip
NO_CREDIT = {
    "error": {"message": "no credit", "type": "insufficient_quota", "param": None, "code": "x"}
}
NOT_OWN = [
    {"error": {"message": MESSAGE, "type": "server_error", "param": None, "code": None}},
    {"error": "rate_limit_exceeded"},
    {"message": "API rate limit exceeded"},  # a gateway's
    {"detail": "Too Many Requests"},
    ["rate_limit_exceeded"],
    {},
    b"",
    b"<html>429 Too Many Requests</html>",
]


@pytest.fixture
def clock():
    return ManualClock(START)


def one_job(provider, double, creates):
    assert list(provider.creates(double).values()) == [creates]
    assert len(provider.jobs(double)) == 1


@each_provider()
@pytest.mark.parametrize("key", [None, "k"])
def test_a_refusal_for_pace_is_waited_for(provider, clock, home, key):
    with provider.double(clock) as double:
        client = provider.client(double, home)
        provider.inject(
            double, "status", status=429, body=OWN[provider.name], retry_after="40", times=3
        )
        began = clock.monotonic()
        job = provider.send(client, key=key)
        assert job.status.is_remote
        one_job(provider, double, creates=4)
        assert [pause for pause in clock.slept if pause > 1] == [40, 40, 40]
        assert clock.monotonic() - began >= 120
        looked = [index for index, one in enumerate(double.requests) if is_list(provider, one)]
        sent = [index for index, one in enumerate(double.requests) if is_create(provider, one)]
        assert all(any(a < b < c for b in looked) for a, c in itertools.pairwise(sent))
        client.close()


def is_list(provider, request):
    return request.method == "GET" and re.search(provider.list_path, request.path)


def is_create(provider, request):
    return request.method == "POST" and re.search(provider.create, request.path)


@each_provider()
@pytest.mark.parametrize("acted", [False, True])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((429, body) for body in NOT_OWN),
        *((503, body) for body in (None, {"detail": "busy"}, "own")),
        *((status, "own") for status in (408, 409, 425, 500, 502, 529)),
        (429, "cut"),
    ],
)
def test_every_other_answer_leaves_a_doubt(provider, status, body, acted, clock, home):
    """Planted fault: a provider that accepts the job and then answers like this."""
    own = json.dumps(OWN[provider.name]).encode()
    body = {"own": own, "cut": own[:-1]}.get(body, body) if isinstance(body, str) else body
    with provider.double(clock) as double:
        client = provider.client(double, home)
        provider.inject(double, "status", status=status, body=body, acted=acted, retry_after="1")
        if acted:
            assert provider.send(client).status.is_remote
            one_job(provider, double, creates=1)
        else:
            for _ in range(3):
                with pytest.raises((FtsdkError, NeedsDecision)) as caught:
                    provider.send(client)
                assert caught.value.submitted == "maybe"
                clock.advance(400)
            assert list(provider.creates(double).values()) == [1]
        client.close()


@each_provider()
def test_a_refusal_that_lasts_is_reported_and_the_same_call_sends_it_later(provider, clock, home):
    with provider.double(clock) as double:
        client = provider.client(double, home)
        provider.inject(double, "status", status=429, body=OWN[provider.name], retry_after="301")
        with pytest.raises(RateLimited) as caught:
            provider.send(client)
        assert caught.value.submitted == "no"
        assert client.get_job(str(caught.value.job_id)).status is JobStatus.CREATED
        clock.advance(301)
        assert provider.send(client).id == caught.value.job_id
        one_job(provider, double, creates=2)
        client.close()


@each_provider()
def test_missing_credit_is_a_definite_refusal(provider, clock, home):
    if provider.name != "openai":
        pytest.skip("documented for OpenAI alone")
    with provider.double(clock) as double:
        client = provider.client(double, home)
        provider.inject(double, "status", status=429, body=NO_CREDIT)
        with pytest.raises(RateLimited, match="no credit") as caught:
            provider.send(client)
        assert caught.value.submitted == "no"
        assert "add credit" in caught.value.hint
        assert client.get_job(str(caught.value.job_id)).status is JobStatus.FAILED
        client.close()


@each_provider()
def test_the_capabilities_say_what_the_calls_obey(provider, clock, home):
    with provider.double(clock) as double:
        client = provider.client(double, home)
        backend = client.backend(provider.name)
        pace = backend.capabilities.pace_refusal
        assert pace is not None
        assert backend.transport.pace_refusal is pace
        assert "2026" in pace.source
        assert pace.statuses == {429}
        client.close()


@each_provider()
def test_the_harness_catches_a_provider_whose_503_is_taken_for_a_refusal(
    provider, clock, home, monkeypatch
):
    """Planted bug: every 503 counts as a refusal before acceptance; the list shows jobs late."""
    from ftsdk.backends.hosted import errors

    monkeypatch.setattr(errors, "_submitted", lambda status: "no")
    real = errors._reading
    monkeypatch.setattr(
        errors, "_reading", lambda status, *more: real(429 if status == 503 else status, *more)
    )
    with provider.double(clock) as double:
        client = provider.client(double, home)
        provider.inject(double, "status", status=503, acted=True)
        double.faults.add(
            "set", method="GET", path=provider.list_path, field=provider.lists, value=[]
        )
        provider.send(client)
        assert len(provider.jobs(double)) == 2
        client.close()
