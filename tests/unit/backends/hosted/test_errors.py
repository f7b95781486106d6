"""Each exception of an SDK or an HTTP library is mapped, and none carries a secret along."""

from __future__ import annotations

import pickle
import traceback

import pytest

from ftsdk.backends.hosted.error_facts import HTTPFacts, retry_after_s
from ftsdk.backends.hosted.errors import _submitted, attempt, error_for_status
from ftsdk.backends.hosted.redact import remember
from ftsdk.errors import (
    AuthError,
    BackendError,
    NotFound,
    RateLimited,
    Rejected,
    Unavailable,
    UnexpectedResponse,
    UsageError,
)

httpx = pytest.importorskip("httpx")


def status_error(status, body=None, headers=None, library=httpx):
    request = library.Request("POST", "https://api.example.com/v1/jobs")
    response = library.Response(status, json=body or {}, headers=headers or {}, request=request)
    return library.HTTPStatusError("bad", request=request, response=response)


def raised(error, **facts):
    def ask():
        raise error

    with pytest.raises(BackendError) as caught:
        attempt(ask, provider="p", action="POST /jobs", **facts)
    return caught.value


@pytest.mark.parametrize(
    ("status", "cls", "submitted", "retryable"),
    [
        (400, Rejected, "no", False),
        (401, AuthError, "no", False),
        (403, AuthError, "no", False),
        (404, NotFound, "no", False),
        (408, Unavailable, "maybe", True),
        (409, Unavailable, "maybe", True),
        (413, Rejected, "no", False),
        (422, Rejected, "no", False),
        (425, Unavailable, "maybe", True),
        (429, RateLimited, "maybe", True),
        (302, UnexpectedResponse, "maybe", False),
        (500, Unavailable, "maybe", True),
        (501, Unavailable, "maybe", False),
        (503, Unavailable, "maybe", True),
        (529, Unavailable, "maybe", True),
    ],
)
def test_a_status_says_whether_it_was_submitted(status, cls, submitted, retryable):
    error = raised(status_error(status, {"error": {"message": "m", "code": "c"}}), sends=True)
    assert type(error) is cls
    assert (error.submitted, error.retryable, error.status_code) == (submitted, retryable, status)
    assert pickle.loads(pickle.dumps(error)).submitted == submitted


@pytest.mark.parametrize(
    ("status", "cls", "submitted"),
    [
        (299, Unavailable, "maybe"),
        (300, UnexpectedResponse, "maybe"),
        (399, UnexpectedResponse, "maybe"),
        (400, Rejected, "no"),
        (402, Rejected, "no"),
        (405, Rejected, "no"),
        (407, Rejected, "no"),
        (410, Rejected, "no"),
        (424, Rejected, "no"),
        (426, Rejected, "no"),
        (428, Rejected, "no"),
        (430, Rejected, "no"),
        (499, Rejected, "no"),
        (500, Unavailable, "maybe"),
        (502, Unavailable, "maybe"),
    ],
)
def test_the_bounds_of_each_kind_of_status(status, cls, submitted):
    error = error_for_status(HTTPFacts(status, "", headers={}), "p", "GET /x")
    assert type(error) is cls
    assert _submitted(status) == submitted


@pytest.mark.parametrize(
    ("code", "request_id", "where"),
    [
        (None, None, "p, POST /jobs, HTTP 400"),
        ("bad_model", None, "p, POST /jobs, HTTP 400 bad_model"),
        (None, "req_7", "p, POST /jobs, HTTP 400, request req_7"),
        ("bad_model", "req_7", "p, POST /jobs, HTTP 400 bad_model, request req_7"),
    ],
)
def test_where_has_the_providers_code_and_request(code, request_id, where):
    body = {"error": {"message": "No such model", "code": code}}
    headers = {"x-request-id": request_id} if request_id else {}
    error = raised(status_error(400, body, headers), sends=True)
    assert (error.what, error.where) == ("p refused: No such model", where)
    assert (error.provider_code or None, error.request_id) == (code, request_id)


@pytest.mark.parametrize(
    ("status", "what", "hint"),
    [
        (401, "p does not accept the key: m", "check the key for p; `ftsdk doctor` shows where"),
        (403, "p does not allow this: m", "use a key with the right to do this"),
        (404, "p does not know this: m", "check the id, and that the key belongs to the account"),
        (408, "p could not take it just now: m", "try again"),
        (429, "p refuses for now: too many requests: m", "wait 7 s and try again"),
        (418, "p refused: m", "correct what the message names"),
        (307, "p answered with a redirect", "set base_url to the service itself"),
        (501, "p does not offer this: m", "the service does not offer this"),
        (500, "p has a fault of its own: m", "try again later"),
    ],
)
def test_each_status_has_its_words(status, what, hint):
    error = raised(status_error(status, {"error": {"message": "m"}}, {"retry-after": "7"}))
    assert error.what == what
    assert error.hint.startswith(hint)
    assert error.where == f"p, POST /jobs, HTTP {status}"
    assert error.retry_after_s == 7


def test_a_status_without_words_has_no_colon():
    error = raised(status_error(429))
    assert error.what == "p refuses for now: too many requests"
    assert error.hint == "wait a little and try again"


@pytest.mark.parametrize(
    ("error", "what", "where"),
    [
        (httpx.ConnectError("refused"), "p could not be reached: refused", "p, POST /jobs"),
        (httpx.ConnectError(""), "p could not be reached: ConnectError", "p, POST /jobs"),
        (
            httpx.UnsupportedProtocol("ftp"),
            "The request to p could not be made: ftp",
            "p, POST /jobs",
        ),
        (httpx.ReadError("cut"), "p sent no complete reply: cut", "p, POST /jobs"),
        (httpx.ReadError(""), "p sent no complete reply: ReadError", "p, POST /jobs"),
    ],
)
def test_a_call_without_a_status_has_its_words(error, what, where):
    found = raised(error)
    assert (found.what, found.where) == (what, where)
    assert found.submitted is None


@pytest.mark.parametrize(
    ("error", "submitted"),
    [(UsageError("ours"), "no"), (Unavailable("ours"), "maybe")],
)
def test_an_error_of_ours_passes_with_what_is_known(error, submitted):
    def ask():
        raise error

    with pytest.raises(type(error)) as caught:
        attempt(ask, provider="p", action="a", sends=True)
    assert caught.value is error
    assert error.submitted == submitted
    error.submitted = "yes"
    with pytest.raises(type(error)):
        attempt(ask, provider="p", action="a", sends=True)
    assert error.submitted == "yes"


@pytest.mark.parametrize(
    ("error", "submitted", "retryable"),
    [
        (httpx.ConnectError("refused"), "no", True),
        (httpx.ConnectTimeout("slow"), "no", True),
        (httpx.PoolTimeout("busy"), "no", True),
        (httpx.UnsupportedProtocol("ftp"), "no", False),
        (httpx.ReadTimeout("slow"), "maybe", True),
        (httpx.WriteError("broken"), "maybe", True),
        (httpx.RemoteProtocolError("cut"), "maybe", True),
        (ConnectionResetError(), "maybe", True),
        (ConnectionRefusedError(), "no", True),
        (ValueError("x"), None, None),
    ],
)
def test_a_lost_connection_says_what_is_known(error, submitted, retryable):
    if submitted is None:
        with pytest.raises(ValueError, match="x"):
            attempt(lambda: (_ for _ in ()).throw(error), provider="p", action="a", sends=True)
        return
    found = raised(error, sends=True)
    assert (found.submitted, found.retryable) == (submitted, retryable)


def test_what_an_sdk_wraps_is_looked_at():
    openai = pytest.importorskip("openai")
    httpx2 = pytest.importorskip("httpx2")
    request = httpx2.Request("POST", "https://api.example.com")
    for inner, submitted in ((httpx2.ConnectError("x"), "no"), (httpx2.ReadError("x"), "maybe")):
        outer = openai.APIConnectionError(request=request)
        outer.__cause__ = inner
        assert raised(outer, sends=True).submitted == submitted
    bare = raised(openai.APIConnectionError(request=request), sends=True)
    assert bare.submitted == "maybe"


def test_calls_before_the_create_are_never_in_doubt():
    assert raised(httpx.ReadTimeout("slow"), submitted="no").submitted == "no"


def test_the_server_can_forbid_asking_again():
    error = raised(status_error(503, headers={"x-should-retry": "false"}))
    assert error.retryable is False


SECRET = "sk-planted-0123456789abcdef"


def test_no_secret_in_message_cause_or_frames():
    remember("plain-planted-value")

    def ask():
        headers = {"Authorization": f"Bearer {SECRET}"}
        body = {"error": {"message": f"Incorrect key {SECRET} plain-planted-value", "code": SECRET}}
        raise status_error(401, body, {"x-request-id": SECRET, **headers})

    with pytest.raises(AuthError) as caught:
        attempt(ask, provider="p", action="POST /jobs", sends=True)
    del ask
    result = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    deep = "".join(result.format()) + repr(pickle.dumps(caught.value)) + str(caught.value.to_dict())
    deep = deep.replace("caught = ", "")
    assert SECRET not in deep
    assert "plain-planted-value" not in deep
    assert caught.value.__context__ is None
    assert "HTTPStatusError" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "119.5"}, 119.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "1e9"}, 1e9),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "NaN"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers, wait):
    assert retry_after_s(headers) == wait
