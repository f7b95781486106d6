"""Webhooks: forged ones are refused, repeated ones are ignored, and an event makes one request."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random

import anyio
import pytest

import ftsdk
from ftsdk.errors import ConfigError, Unavailable
from ftsdk.store.webhook_ids import SeenIds
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.util.clock import ManualClock
from ftsdk.webhooks import (
    MAX_BODY_BYTES,
    WebhookRefused,
    WebhookVerifier,
    handle,
    refresh_on_event,
    webhook_app,
)

RAW = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(RAW).decode()


def signed(clock, *, body=None, identity="evt_1", key=RAW, at=None, version="v1"):
    if body is None:
        document = {"id": "evt_1", "type": "fine_tuning.job.succeeded", "data": {"id": "ftjob-abc"}}
        body = json.dumps(document).encode()
    stamp = str(int(clock.now().timestamp()) if at is None else at)
    signature = hmac.new(key, f"{identity}.{stamp}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "Webhook-Id": identity,
        "Webhook-Timestamp": stamp,
        "Webhook-Signature": f"{version},{base64.b64encode(signature).decode()}",
    }
    return headers, body


@pytest.fixture
def verifier(clock):
    return WebhookVerifier(SECRET, clock=clock)


def refused(verifier, headers, body):
    with pytest.raises(WebhookRefused) as caught:
        verifier.verify(headers, body)
    assert 400 <= caught.value.status < 500
    return caught.value


def test_a_valid_webhook_is_accepted(verifier, clock):
    event = verifier.verify(*signed(clock))
    assert (event.type, event.provider_job_id) == ("fine_tuning.job.succeeded", "ftjob-abc")
    assert not event.is_repeat
    assert verifier.verify(*signed(clock)).is_repeat


@pytest.mark.parametrize("secret", ["", "   ", "whsec_", "whsec_!!!", "short", [], [SECRET, ""]])
def test_a_bad_secret_is_refused_at_construction(secret):
    with pytest.raises(ConfigError) as caught:
        WebhookVerifier(secret)
    assert "short" not in str(caught.value)


def test_an_unset_variable_is_refused():
    with pytest.raises(ConfigError):
        WebhookVerifier.from_env(env={"OPENAI_WEBHOOK_SECRET": ""})


def test_the_official_sdk_verifies_the_same_signature(clock):
    openai = pytest.importorskip("openai")
    import time

    headers, body = signed(clock, at=int(time.time()))
    client = openai.OpenAI(api_key="x")
    event = client.webhooks.unwrap(body, headers, secret=SECRET)
    assert event.data.id == "ftjob-abc"
    client.close()


@pytest.mark.parametrize("skew", [-360, -301, 301, 360])
def test_an_old_or_future_timestamp_is_refused(verifier, clock, skew):
    refused(verifier, *signed(clock, at=int(clock.now().timestamp()) + skew))


@pytest.mark.parametrize("skew", [-299, 0, 299])
def test_a_small_clock_skew_is_accepted(verifier, clock, skew):
    verifier.verify(*signed(clock, at=int(clock.now().timestamp()) + skew))


def test_a_rotated_secret(clock):
    other = b"another secret of enough length"
    both = WebhookVerifier([SECRET, "whsec_" + base64.b64encode(other).decode()], clock=clock)
    assert both.verify(*signed(clock, key=other, identity="a"))
    headers, body = signed(clock, identity="b")
    wrong = signed(clock, key=b"x" * 32, identity="b")[0]["Webhook-Signature"]
    headers["Webhook-Signature"] = f"{wrong} v2,abc {headers['Webhook-Signature']}"
    assert both.verify(headers, body)


def mutated(chance, headers, body):
    """A request that differs from the valid one in one thing."""
    headers, how = dict(headers), chance.randrange(11)
    name = chance.choice(list(headers))
    if how == 0:
        del headers[name]
    elif how == 1:
        headers[name] = ""
    elif how == 2:
        headers["Webhook-Timestamp"] += chance.choice([".0", " ", "٣", "x", "1", "-"])
    elif how == 3:
        headers["Webhook-Signature"] = "v1," + base64.b64encode(chance.randbytes(32)).decode()
    elif how == 4:
        headers["Webhook-Signature"] = chance.choice(
            ["v1,", "v1", ",", "é" * 9, "v1,\x00", "v2" + headers["Webhook-Signature"][2:]]
        )
    elif how == 5:
        headers["Webhook-Id"] += chance.choice(["x", "\n", " ", "é", "0" * 300])
    elif how == 6:
        place = chance.randrange(len(body))
        body = body[:place] + bytes([body[place] ^ (1 << chance.randrange(8))]) + body[place + 1 :]
    elif how == 7:
        body = chance.choice([b"", body + b" ", body[:-1], b"[" * 5000, chance.randbytes(40)])
    elif how == 8:
        cut = headers["Webhook-Signature"]
        headers["Webhook-Signature"] = cut[: chance.randrange(3, len(cut) - 1)]
    elif how == 9:
        return [*headers.items(), (name.lower(), headers[name])], body
    else:
        headers["Webhook-Timestamp"] = str(
            int(headers["Webhook-Timestamp"]) + chance.choice([1, -1])
        )
    return headers, body


def test_forged_webhooks_are_refused_and_raise_nothing_else(clock, request):
    count = 200_000 if request.config.getoption("--long") else 6_000
    verifier, chance, accepted = WebhookVerifier(SECRET, clock=clock), random.Random(3), 0
    for number in range(count):
        headers, body = mutated(chance, *signed(clock, identity=f"evt_{number}"))
        try:
            verifier.verify(headers, body)
            accepted += 1
        except WebhookRefused:
            pass
    assert accepted == 0


def test_a_planted_bug_is_caught(clock):
    """A verifier with an empty secret accepts what anybody signs."""
    forged = signed(clock, key=b"")
    refused(WebhookVerifier(SECRET, clock=clock), *forged)
    careless = WebhookVerifier(SECRET, clock=clock)
    careless._keys = (b"",)
    assert careless.verify(*forged)


def test_ids_are_remembered_for_72_hours_and_across_restarts(tmp_path, clock):
    seen = SeenIds(tmp_path, clock)
    assert seen.add("a")
    assert not SeenIds(tmp_path, clock).add("a")
    clock.advance(71 * 3600)
    assert not SeenIds(tmp_path, clock).add("a")
    clock.advance(2 * 3600)
    assert SeenIds(tmp_path, clock).add("a")
    assert (tmp_path / "webhooks.db").stat().st_mode & 0o777 == 0o600


def test_handle_replies_and_acts_once(verifier, clock):
    acted = []
    assert handle(verifier, *signed(clock), acted.append) == 204
    assert handle(verifier, *signed(clock), acted.append) == 204
    assert len(acted) == 1
    assert handle(verifier, {}, b"", acted.append) == 400
    assert handle(verifier, *signed(clock, key=b"y" * 32), acted.append) == 401


def test_an_exception_of_the_handler_is_raised_and_the_event_counts_as_new(verifier, clock):
    def broken(_event):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handle(verifier, *signed(clock), broken)
    seen = []
    assert handle(verifier, *signed(clock), seen.append) == 204
    assert len(seen) == 1


def test_an_event_that_was_not_handled_is_handled_later(verifier, clock):
    acted = []

    def busy(event):
        acted.append(event)
        if len(acted) == 1:
            raise Unavailable("the provider is not reachable")

    assert handle(verifier, *signed(clock), busy) == 503
    assert handle(verifier, *signed(clock), busy) == 204
    assert handle(verifier, *signed(clock), busy) == 204
    assert len(acted) == 2


async def call(app, method, headers, chunks):
    sent, waiting = [], list(chunks)

    async def receive():
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    raw = [(k.lower().encode("utf-8"), v.encode("utf-8")) for k, v in headers.items()]
    await app({"type": "http", "method": method, "path": "/", "headers": raw}, receive, send)
    return sent[0]["status"]


def test_the_app(verifier, clock):
    acted = []
    app = webhook_app(verifier, acted.append)
    headers, body = signed(clock)

    async def all_of_it():
        assert await call(app, "GET", headers, [b""]) == 405
        assert await call(app, "POST", headers, [body[:10], body[10:]]) == 204
        assert await call(app, "POST", headers, [b"x" * MAX_BODY_BYTES, b"x" * 100]) == 413
        assert await call(app, "POST", {}, [body]) == 400
        chance = random.Random(5)
        for number in range(200):
            odd, content = mutated(chance, *signed(clock, identity=f"evt_{number}"))
            status = await call(app, "POST", dict(odd), [content])
            assert status in (204, 400, 401, 413)

    anyio.run(all_of_it)
    assert len(acted) == 1 + sum(event.id != "evt_1" for event in acted)


def test_an_event_makes_one_request_and_its_body_is_not_trusted(tmp_path):
    clock = ManualClock()
    rows = [
        {"messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a"}]}
        for i in range(10)
    ]
    with OpenAIDouble(clock=clock) as double:
        client = ftsdk.Client(home=tmp_path, clock=clock, env=double.variables())
        job = client.create_job(rows, provider="openai", model="gpt-4.1-mini-2025-04-14")
        verifier = WebhookVerifier(double.webhook_secret, clock=clock)
        act = refresh_on_event(client)
        clock.advance(60)
        headers, body = double.webhook(job.provider_job_id)
        lie = json.loads(body) | {"type": "fine_tuning.job.failed"}
        secret = base64.b64decode(double.webhook_secret.removeprefix("whsec_"))
        before = len(double.requests)
        forged = signed(clock, body=json.dumps(lie).encode(), key=secret, identity="evt_x")
        assert handle(verifier, *forged, act) == 204
        assert client.get_job(job.id).status == "succeeded"
        assert [one.method for one in list(double.requests)[before:]] == ["GET"]
        assert handle(verifier, headers, body, act) == 204
        unknown = json.dumps({"type": "x", "data": {"id": "ftjob-unknown"}}).encode()
        before = len(double.requests)
        assert handle(verifier, *signed(clock, body=unknown, key=secret, identity="u"), act) == 204
        assert len(double.requests) == before
        client.close()
