"""An answer that is sent whole, and ends with its client."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import anyio
from starlette.requests import Request

from ftsdk.async_client import AsyncModelHandle
from ftsdk.serve.requests import ChatBody
from ftsdk.types.model import ChatAnswer

CLIENT_WENT = 499
"""The status of an answer that nobody reads; some proxies log it."""


async def whole_answer(
    request: Request, model: AsyncModelHandle, body: ChatBody, options: Mapping[str, Any]
) -> ChatAnswer | None:
    """The whole answer. One that is made on this machine ends with its client: it is None then."""
    answer: ChatAnswer | None
    if model.path is None:
        answer = await model.chat(body.messages, **options)
    else:
        answer = await _while_connected(request, model, body, options)
    return answer


async def _while_connected(
    request: Request, model: AsyncModelHandle, body: ChatBody, options: Mapping[str, Any]
) -> ChatAnswer | None:
    gone = threading.Event()

    def go_on(_: str) -> None:
        if gone.is_set():
            raise _ClientWent

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    answer: ChatAnswer | None = None
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        try:
            answer = await model.chat(body.messages, on_text=go_on, **options)
        except _ClientWent:
            pass  # as it was asked to
        except Exception as error:  # noqa: BLE001  # raised below, outside of the group
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return answer


class _ClientWent(Exception):
    """Ends an answer that nobody waits for."""
