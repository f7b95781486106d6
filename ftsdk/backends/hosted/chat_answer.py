"""Chat completions in OpenAI's shape: which options are sent, and the whole answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ftsdk.backends.hosted.response_checks import refuse_stream, unexpected_response
from ftsdk.errors import Unsupported
from ftsdk.types.model import ChatAnswer, ChatChoice
from ftsdk.util.names import nearest

_ACTION = "POST /chat/completions"
_NOT_OPTIONS = frozenset({
    "self", "messages", "model", "stream", "stream_options",
    "extra_headers", "extra_query", "timeout",
})  # fmt: skip


def options_of(create: Callable[..., Any]) -> frozenset[str]:
    """Return the options of an SDK's method that makes a chat completion."""
    return frozenset(inspect.signature(create).parameters) - _NOT_OPTIONS


def checked_options(
    options: Mapping[str, Any], known: Collection[str], title: str
) -> dict[str, Any]:
    """Return the options that were given, without those that are None.

    Raises `Unsupported` that names each option that the provider does not have, and for
    `stream=True`. Nothing is sent then.
    """
    refuse_stream(options, title)
    given = {name: value for name, value in options.items() if value is not None}
    given.pop("stream", None)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise Unsupported(
            f"{title} has no chat option "
            + ", ".join(f"{name!r}{nearest(name, known)}" for name in unknown),
            where="chat, before anything was sent",
            hint="leave it out; what only this model takes goes into extra_body",
        )
    return given


def answer_of(reply: Mapping[str, Any], title: str, *, latency_s: float | None) -> ChatAnswer:
    """Return a chat completion as an answer. Raises `UnexpectedResponse` without a message.

    `latency_s` is None where it is not known.
    """
    choices = tuple(_choices(reply.get("choices")))
    if not choices:
        raise unexpected_response(title, _ACTION, "it has no message")
    first = choices[0]
    usage = reply.get("usage")
    return ChatAnswer(
        text=first.text,
        message=first.message,
        usage=dict(_counts(usage)) if isinstance(usage, Mapping) else {},
        finish_reason=first.finish_reason,
        refusal=first.refusal,
        choices=choices,
        model=_text(reply.get("model")),
        fingerprint=_text(reply.get("system_fingerprint")),
        latency_s=None if latency_s is None else round(latency_s, 6),
        raw=dict(reply),
    )


def _choices(given: Any) -> Iterator[ChatChoice]:
    for choice in given if isinstance(given, list) else ():
        message = choice.get("message") if isinstance(choice, Mapping) else None
        if not isinstance(message, Mapping):
            continue
        logprobs = choice.get("logprobs")
        yield ChatChoice(
            text=str(message.get("content") or ""),
            message=dict(message),
            finish_reason=_text(choice.get("finish_reason")),
            refusal=_text(message.get("refusal")),
            logprobs=dict(logprobs) if isinstance(logprobs, Mapping) else None,
        )


def _counts(usage: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield every count, a nested one as `outer.inner`."""
    for name, value in usage.items():
        if isinstance(value, Mapping):
            yield from _counts(value, f"{prefix}{name}.")
        elif isinstance(value, int) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
