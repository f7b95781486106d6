"""Webhooks: forged ones are refused, repeated ones are ignored, and an event makes one request."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

import ftsdk
from ftsdk.errors import ConfigError, StoreError, Unavailable, UsageError
from ftsdk.store.webhook_ids import SeenIds
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.util.clock import ManualClock, SystemClock
from ftsdk.webhooks import (
    MAX_BODY_BYTES,
    TOLERANCE_S,
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
    verifier.handled(event)
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


def padded(size):
    text = json.dumps({"type": "x", "data": {"id": "ftjob-abc"}, "pad": ""})
    return text.replace('"pad": ""', f'"pad": "{"x" * (size - len(text))}"').encode()


def test_the_largest_body_is_1_mib(verifier, clock):
    assert MAX_BODY_BYTES == 1_048_576
    assert verifier.verify(*signed(clock, body=padded(MAX_BODY_BYTES))).provider_job_id
    headers, body = signed(clock, body=padded(MAX_BODY_BYTES + 1), identity="evt_2")
    assert refused(verifier, headers, body).status == 413
    app = webhook_app(verifier, lambda _event: None)

    async def both():
        fits = signed(clock, body=padded(MAX_BODY_BYTES), identity="evt_3")
        assert await call(app, "POST", fits[0], [fits[1]]) == 204
        assert await call(app, "POST", headers, [body]) == 413

    anyio.run(both)


@pytest.mark.parametrize("seconds", [0, -1, 3601])
def test_a_tolerance_outside_its_bounds_is_refused(clock, seconds):
    with pytest.raises(ConfigError, match=f"tolerance of {seconds} s") as caught:
        WebhookVerifier(SECRET, clock=clock, tolerance_s=seconds)
    assert caught.value.where == "WebhookVerifier(tolerance_s=…)"


@pytest.mark.parametrize("seconds", [1, 3600])
def test_a_tolerance_at_its_bounds_is_kept(clock, seconds):
    verifier = WebhookVerifier(SECRET, clock=clock, tolerance_s=seconds)
    now = int(clock.now().timestamp())
    for skew in (-seconds, seconds):
        assert verifier.verify(*signed(clock, at=now + skew, identity=f"evt{skew}"))
        refused(verifier, *signed(clock, at=now + skew + (1 if skew > 0 else -1)))


def test_the_usual_tolerance_is_five_minutes(verifier, clock):
    assert TOLERANCE_S == 300
    now = int(clock.now().timestamp())
    assert verifier.verify(*signed(clock, at=now + 300))


def test_a_secret_has_16_bytes_at_least(clock):
    WebhookVerifier("x" * 16, clock=clock)
    WebhookVerifier("whsec_" + base64.b64encode(b"x" * 16).decode(), clock=clock)
    for short in ("x" * 15, "whsec_" + base64.b64encode(b"x" * 15).decode()):
        with pytest.raises(ConfigError, match="fewer than 16 bytes") as caught:
            WebhookVerifier(short, clock=clock)
        assert caught.value.where == "the webhook secret"


def test_sixteen_signatures_are_compared(verifier, clock):
    headers, body = signed(clock)
    right = headers["Webhook-Signature"]
    headers["Webhook-Signature"] = " ".join(["v1,AAAA"] * 15 + [right])
    assert verifier.verify(headers, body)
    headers["Webhook-Signature"] = " ".join(["v1,AAAA"] * 16 + [right])
    assert refused(verifier, headers, body).status == 401


@pytest.mark.parametrize(("length", "fits"), [(1, True), (256, True), (257, False)])
def test_the_length_of_an_id(verifier, clock, length, fits):
    request = signed(clock, identity="e" * length)
    if fits:
        assert verifier.verify(*request).id == "e" * length
    else:
        assert "malformed" in refused(verifier, *request).what


@pytest.mark.parametrize(
    ("document", "kind", "job"),
    [
        ({"type": "t" * 101, "data": {"id": "abc"}}, "t" * 100, "abc"),
        ({"status": "succeeded", "id": "abc"}, "succeeded", "abc"),
        ({"type": 5, "data": {"id": "ab"}}, "", None),
        ({"type": "t", "data": {"id": "a" * 256}}, "t", "a" * 256),
        ({"type": "t", "data": {"id": "a" * 257}}, "t", None),
        ({"type": "t", "data": {"id": 5}}, "t", None),
        ({"type": "t", "data": {"id": "../x"}}, "t", None),
        ({"type": "t"}, "t", None),
        ({}, "", None),
    ],
)
def test_what_an_event_says(verifier, clock, document, kind, job):
    event = verifier.verify(*signed(clock, body=json.dumps(document).encode()))
    assert (event.type, event.provider_job_id) == (kind, job)
    assert event.body == document


@pytest.mark.parametrize("body", [b"[1]", b"1", b'"x"', b"{", b""])
def test_a_signed_body_that_is_no_object_is_refused(verifier, clock, body):
    assert "its body is not" in refused(verifier, *signed(clock, body=body)).what


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_or_doubled_header_is_named(verifier, clock, name):
    headers, body = signed(clock)
    without = {key: value for key, value in headers.items() if key.lower() != name}
    error = refused(verifier, without, body)
    assert f"the header {name} is missing" in error.what
    assert (error.where, error.exit_code) == ("signature check", 4)
    both = [*headers.items(), (name.encode(), b"x")]
    assert f"the header {name} is present twice" in refused(verifier, both, body).what


def test_secrets_of_the_environment(clock, monkeypatch, tmp_path):
    headers, body = signed(clock)
    one = {"OPENAI_WEBHOOK_SECRET": f" {SECRET}  {'y' * 20} ", "OTHER": SECRET}
    assert repr(WebhookVerifier.from_env(env=one)) == "<WebhookVerifier with 2 secret(s)>"
    verifier = WebhookVerifier.from_env("OTHER", env=one, clock=clock, home=tmp_path)
    event = verifier.verify(headers, body)
    assert not event.is_repeat
    verifier.handled(event)
    again = WebhookVerifier.from_env("OTHER", env=one, clock=clock, home=tmp_path)
    assert again.verify(headers, body).is_repeat
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", SECRET)
    assert WebhookVerifier.from_env(clock=clock).verify(headers, body)
    for env in ({}, {"OTHER": ""}, {"OTHER": "  "}):
        with pytest.raises(ConfigError, match="it is not set") as caught:
            WebhookVerifier.from_env("OTHER", env=env)
        assert caught.value.where == "the variable OTHER"


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


def test_the_app_answers_the_server_that_starts_and_stops_it(verifier):
    waiting = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}, {"type": "too late"}]
    sent, acted = [], []

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    async def live():
        with anyio.fail_after(5):
            await webhook_app(verifier, acted.append)({"type": "lifespan"}, receive, send)

    anyio.run(live)
    assert sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]
    assert waiting == [{"type": "too late"}]
    assert acted == []


def test_the_app_leaves_other_protocols_alone(verifier):
    async def never(*_):
        raise AssertionError

    app = webhook_app(verifier, print)
    anyio.run(lambda: app({"type": "websocket"}, never, never))


def test_what_the_app_replies_is_whole(verifier, clock):
    headers, body = signed(clock)
    raw = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
    sent = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    app = webhook_app(verifier, lambda _event: None)
    for method, status, more in (("POST", 204, []), ("PUT", 405, [(b"allow", b"POST")])):
        sent.clear()
        anyio.run(app, {"type": "http", "method": method, "headers": raw}, receive, send)
        length = (b"content-length", b"0")
        assert sent == [
            {"type": "http.response.start", "status": status, "headers": [*more, length]},
            {"type": "http.response.body", "body": b""},
        ]


def test_a_client_that_disconnects_is_not_handled(verifier, clock):
    headers, body = signed(clock)
    raw = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
    parts = [
        {"type": "http.request", "body": body, "more_body": True},
        {"type": "http.disconnect"},
    ]
    acted, sent = [], []

    async def receive():
        return parts.pop(0)

    async def send(message):
        sent.append(message)

    app = webhook_app(verifier, acted.append)
    anyio.run(app, {"type": "http", "method": "POST", "headers": raw}, receive, send)
    assert acted == []
    assert sent[0]["status"] == 413


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


CHILD = """
import json, os, sys
from pathlib import Path
from ftsdk.webhooks import WebhookVerifier, handle
home, headers, body, how = sys.argv[1:]
def on_event(event):
    with (Path(home) / "handled").open("a") as out:
        out.write(event.id + "\\n")
    if how == "killed":
        os._exit(9)
verifier = WebhookVerifier.from_env("S", home=Path(home))
sys.exit(handle(verifier, json.loads(headers), body.encode(), on_event) - 204)
"""


def deliver(tmp_path, how):
    headers, body = signed(SystemClock())
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), json.dumps(headers), body.decode(), how],
        env={**os.environ, "S": SECRET},
    )


def test_a_process_killed_in_its_handler_loses_no_event(tmp_path):
    assert deliver(tmp_path, "killed").wait(30) == 9
    assert deliver(tmp_path, "").wait(30) == 0
    assert deliver(tmp_path, "").wait(30) == 0
    assert (tmp_path / "handled").read_text().split() == ["evt_1"] * 2, "again once, then a repeat"


def test_one_event_delivered_to_several_processes_at_once_is_handled_once(tmp_path):
    several = [deliver(tmp_path, "") for _ in range(4)]
    assert [one.wait(60) for one in several] == [0] * 4
    assert (tmp_path / "handled").read_text().split() == ["evt_1"]


@pytest.mark.parametrize("where", ["memory", "home"])
def test_one_event_delivered_to_several_threads_at_once_is_handled_once(where, tmp_path):
    clock = SystemClock()
    seen = SeenIds(tmp_path if where == "home" else None, clock)
    verifier, acted, together = WebhookVerifier(SECRET, seen=seen), [], threading.Barrier(4)

    def slow(event):
        acted.append(event.id)
        time.sleep(0.05)

    def deliver_once(_):
        together.wait(10)
        return handle(verifier, *signed(clock), slow)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(deliver_once, range(4))) == [204] * 4
    assert acted == ["evt_1"]


def test_an_event_whose_id_cannot_be_recorded_is_sent_again(verifier, clock, monkeypatch):
    acted = []

    def full(self, identity):
        raise StoreError("The database of webhook ids cannot be used: disk full")

    with monkeypatch.context() as patch:
        patch.setattr(SeenIds, "add", full)
        assert handle(verifier, *signed(clock), acted.append) == 503
    assert handle(verifier, *signed(clock), acted.append) == 204
    assert handle(verifier, *signed(clock), acted.append) == 204
    assert len(acted) == 2


@pytest.mark.parametrize("where", ["memory", "home"])
def test_an_event_that_is_still_being_handled_is_sent_again(where, clock, monkeypatch, tmp_path):
    seen = SeenIds(tmp_path if where == "home" else None, clock)
    verifier = WebhookVerifier(SECRET, clock=clock, seen=seen)
    monkeypatch.setattr("ftsdk.store.webhook_ids._WAIT_S", 0.01)
    headers, body = signed(clock)
    replies = []

    def handler(_):
        replies.append(handle(verifier, headers, body, pytest.fail))

    assert handle(verifier, headers, body, handler) == 204
    assert replies == [503]


def test_verify_alone_records_nothing(verifier, clock):
    event = verifier.verify(*signed(clock))
    assert not verifier.verify(*signed(clock)).is_repeat
    verifier.handled(event)
    assert verifier.verify(*signed(clock)).is_repeat
    verifier.forget(event)
    assert not verifier.verify(*signed(clock)).is_repeat


@pytest.mark.parametrize("body", ["text", None, 5, ["x"]])
def test_a_body_that_is_not_bytes_is_an_error_of_the_caller(verifier, clock, body):
    headers, _ = signed(clock)
    with pytest.raises(UsageError, match="bytes"):
        verifier.verify(headers, body)
    with pytest.raises(UsageError, match="bytes"):
        handle(verifier, headers, body, pytest.fail)


@pytest.mark.parametrize("headers", [["webhook-id"], [5], [("a", "b", "c")]])
def test_headers_of_another_shape_are_an_error_of_the_caller(verifier, headers):
    with pytest.raises(UsageError, match="pairs"):
        verifier.verify(headers, b"{}")


@pytest.mark.parametrize("secrets", [5, None, [5], b"x" * 32, {"a": 1}])
def test_secrets_of_another_type_are_refused(secrets):
    with pytest.raises(UsageError):
        WebhookVerifier(secrets)
