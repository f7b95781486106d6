"""Rate limits as headers state them, and who receives them."""

from __future__ import annotations

import httpx
import pytest

from ftsdk.backends.hosted.rate_limits import (
    RateLimit,
    RateLimits,
    duration_s,
    listening,
    note_reply,
    rate_limits_of,
)

OPENAI = {
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-limit-tokens": "160000",
    "x-ratelimit-remaining-requests": "4999",
    "x-ratelimit-remaining-tokens": "159976",
    "x-ratelimit-reset-requests": "12ms",
    "x-ratelimit-reset-tokens": "6m0s",
}
TOGETHER = {
    "x-ratelimit-limit": "10",
    "x-ratelimit-remaining": "3",
    "x-ratelimit-reset": "1",
    "x-tokenlimit-limit": "3000",
    "x-tokenlimit-remaining": "2900",
}


def test_openai_states_both_limits_per_minute() -> None:
    assert rate_limits_of(OPENAI) == RateLimits(
        RateLimit(5000, 4999, 0.012, 60.0), RateLimit(160_000, 159_976, 360.0, 60.0)
    )


def test_together_states_both_limits_per_second() -> None:
    assert rate_limits_of(TOGETHER) == RateLimits(
        RateLimit(10, 3, 1.0, 1.0), RateLimit(3000, 2900, None, 1.0)
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-limit-requests": "0", "x-ratelimit-remaining-requests": "0"},
        {"x-ratelimit-limit-requests": "nan", "x-ratelimit-remaining-requests": "1"},
        {"x-ratelimit-limit-requests": "10"},
        {"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "-1"},
        {"x-ratelimit-limit": "ten", "x-ratelimit-remaining": "٣"},
    ],
)
def test_what_makes_no_sense_is_no_limit(headers: dict[str, str]) -> None:
    assert rate_limits_of(headers) == RateLimits()


def test_more_than_the_limit_cannot_be_left() -> None:
    found = rate_limits_of({"x-ratelimit-limit": "5", "x-ratelimit-remaining": "50"})
    assert found.requests == RateLimit(5, 5, None, 1.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("12ms", 0.012),
        ("1.5s", 1.5),
        ("6m0s", 360),
        ("1h2m3.25s", 3723.25),
        ("88µs", 88e-6),
        ("17", 17),
        ("soon", None),
        ("5s later", None),
        ("-1s", None),
        ("", None),
        (None, None),
    ],
)
def test_durations(text: str | None, seconds: float | None) -> None:
    found = duration_s(text)
    assert found == (None if seconds is None else pytest.approx(seconds))


def reply(path: str, headers: dict[str, str]) -> httpx.Response:
    return httpx.Response(200, headers=headers, request=httpx.Request("POST", f"https://a.b{path}"))


def test_only_chats_are_passed_on_and_only_to_who_listens() -> None:
    heard: list[RateLimits] = []
    note_reply(reply("/v1/chat/completions", OPENAI))
    with listening(heard.append):
        note_reply(reply("/v1/files", OPENAI))
        assert heard == []
        note_reply(reply("/v1/chat/completions", OPENAI))
    note_reply(reply("/v1/chat/completions", OPENAI))
    assert heard == [rate_limits_of(OPENAI)]
