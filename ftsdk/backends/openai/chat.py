"""Chat with a model of the service; a new model may need some minutes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ftsdk.backends.hosted.chat_answer import answer_of, checked_options, options_of
from ftsdk.backends.openai.chat_stream import Assembled
from ftsdk.backends.openai.transport import Transport
from ftsdk.errors import NotFound, NotReady
from ftsdk.types.model import ChatAnswer, ModelHandle, ModelKind
from ftsdk.util.clock import Clock

_WARM_TRIES = (2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds between attempts: calls may return 404 for some minutes after training (guide, 2026)."""


def chat_with(
    transport: Transport,
    clock: Clock,
    handle: ModelHandle,
    messages: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
) -> ChatAnswer:
    """Return the tuned model's answer.

    Raises `NotReady` where it needs a deployment, and when the service does not find it.
    """
    title = transport.profile.title
    asked = dict(options)
    deployment = asked.pop("deployment", None)
    if handle.kind is ModelKind.NEEDS_DEPLOYMENT:
        if not deployment:
            raise _needs_deployment(title, handle)
        return ask(transport, str(deployment), messages, asked)
    if handle.kind is not ModelKind.HOSTED:
        raise NotReady(
            f"{handle.id} is an adapter, which {title} does not serve by its name",
            where=title,
            hint="fetch its files there and serve them, or deploy it on the provider's own pages",
            job_id=handle.job_id,
        )
    pauses = iter(_WARM_TRIES if handle.callable_now else ())
    while True:
        try:
            return ask(transport, handle.id, messages, asked)
        except NotFound as error:
            pause = next(pauses, None)
            if pause is None:
                raise NotReady(
                    f"{title} does not find this model",
                    where=f"model {handle.id}; {error.what}",
                    hint="a new model can take some minutes; one that was deleted, or whose base "
                    "has ended, does not come back",
                    job_id=handle.job_id,
                ) from error
            clock.sleep(pause)


def _needs_deployment(title: str, handle: ModelHandle) -> NotReady:
    """Return the error for a model without a deployment; an API key cannot create one."""
    return NotReady(
        f"{handle.id} cannot be called by its name: it needs a deployment, and there is no "
        "key here that could create one",
        where=f"{title}; a deployment costs by the hour, whether it is used or not",
        hint="az cognitiveservices account deployment create --resource-group GROUP --name ACCOUNT "
        f"--deployment-name NAME --model-format OpenAI --model-name {handle.id} --model-version 1 "
        '--sku-name Standard --sku-capacity 1; then model.chat(…, deployment="NAME"), or '
        'deployment = "NAME" under [options] of ftsdk.toml',
        job_id=handle.job_id,
    )


def ask(
    transport: Transport,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
) -> ChatAnswer:
    """Return the answer of any model of the service to one chat completion.

    Raises `Unsupported` for an option that the service does not have, and for `stream=True`.
    """
    given = dict(options)
    on_text = given.pop("on_text", None)
    asked = checked_options(given, chat_options(), transport.profile.title)
    begun = transport.clock.monotonic()
    if on_text is not None:
        reply = _streamed(transport, model, messages, asked, on_text)
        latency_s = transport.clock.monotonic() - begun
        return answer_of(reply, transport.profile.title, latency_s=latency_s)
    reply = transport.call_once(
        "POST /chat/completions",
        lambda client: client.chat.completions.with_raw_response.create(
            model=model, messages=cast("Any", [dict(one) for one in messages]), **asked
        ),
    )
    return answer_of(reply, transport.profile.title, latency_s=transport.clock.monotonic() - begun)


def _streamed(
    transport: Transport,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    asked: Mapping[str, Any],
    on_text: Callable[[str], object],
) -> dict[str, Any]:
    """Return the whole reply; `on_text` gets its text as it comes.

    Raises `UnexpectedResponse` for a stream that ends before the answer does.
    """
    found, more = Assembled(on_text), {"stream_options": {"include_usage": True}, **asked}
    action = "POST /chat/completions"

    def read() -> None:
        stream = transport.client().chat.completions.create(
            model=model, messages=cast("Any", [dict(one) for one in messages]), stream=True, **more
        )
        with stream:
            found.add(piece.model_dump() for piece in stream)

    transport.call(action, read)
    if not found.is_whole:
        raise transport.unexpected(action, "the stream ended before the answer did")
    return found.reply()


@functools.cache
def chat_options() -> frozenset[str]:
    """Return the options of a chat completion, from the installed SDK."""
    from openai.resources.chat.completions import Completions

    return options_of(Completions.create)
