"""`/v1/chat/completions`: the models of jobs answer, whole or piece by piece."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ftsdk.async_client import AsyncChatStream, AsyncModelHandle
from ftsdk.errors import FtsdkError
from ftsdk.serve.chat_choice import choose_job
from ftsdk.serve.comparison import Comparison
from ftsdk.serve.documents import chunk_document, completion_document, usage_document
from ftsdk.serve.problems import Problem, problem_of
from ftsdk.serve.requests import ChatBody, body_of
from ftsdk.serve.state import ServerState
from ftsdk.serve.whole_answer import CLIENT_WENT, whole_answer

_RETRY_AFTER_S = 2


class ChatRoutes:
    """The route of chats."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def create(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        body = await body_of(request, ChatBody)
        options = body.options(self._state.settings.max_chat_tokens)
        choice = await choose_job(self._state, body, request)
        model = await choice.job.result()
        comparison = Comparison(self._state, choice, body.model, body.messages, options)
        turn = _Turn(self._state)
        await turn.begin()
        if body.stream:
            shown = bool((body.stream_options or {}).get("include_usage"))
            pieces = self._stream(model, body, options, comparison, usage=shown)
            return _Stream(pieces, turn, choice.headers, comparison)
        try:
            answer = await whole_answer(request, model, body, options)
        finally:
            turn.end()
        if answer is None:
            return Response(status_code=CLIENT_WENT)
        identity = _identity()
        comparison.answered(identity, answer)
        document = completion_document(
            answer, identity=identity, created=self._now(), model=body.model
        )
        return JSONResponse(document, headers=choice.headers, background=comparison.task())

    def _now(self) -> int:
        return int(self._state.clock.now().timestamp())

    async def _stream(
        self,
        model: AsyncModelHandle,
        body: ChatBody,
        options: Mapping[str, Any],
        comparison: Comparison,
        *,
        usage: bool,
    ) -> AsyncIterator[bytes]:
        """Yield the answer as server-sent events; an error after the first is one of them.

        A client that goes ends the answer at its next piece.
        """
        same: dict[str, Any] = {
            "identity": _identity(),
            "created": self._now(),
            "model": body.model,
        }
        more: dict[str, Any] = {"usage": None} if usage else {}
        stream: AsyncChatStream | None = None
        try:
            yield _event({**chunk_document({"role": "assistant", "content": ""}, **same), **more})
            stream = await model.chat(body.messages, stream=True, **options)
            async for piece in stream:
                yield _event({**chunk_document({"content": piece}, **same), **more})
            answer = await stream.answer()
            comparison.answered(same["identity"], answer)
            for delta in _tool_deltas(answer.message):
                yield _event({**chunk_document(delta, **same), **more})
            reason = answer.finish_reason or "stop"
            yield _event({**chunk_document({}, finish_reason=reason, **same), **more})
            if usage:
                last = {
                    **chunk_document({}, **same),
                    "choices": [],
                    "usage": usage_document(answer),
                }
                yield _event(last)
            yield b"data: [DONE]\n\n"
        except FtsdkError as error:
            yield _event(problem_of(error).document())
        finally:
            if stream is not None:
                stream.close()


class _Stream(StreamingResponse):
    """Server-sent events, after which the place of the chat is given back, and the answers compared.

    Also where the client went before the first piece, when the iterator was never begun.
    """

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        turn: _Turn,
        headers: Mapping[str, str],
        comparison: Comparison,
    ) -> None:
        super().__init__(pieces, headers=headers, media_type="text/event-stream")
        self._turn, self._comparison = turn, comparison

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._turn.end()
        await self._comparison.finish()


class _Turn:
    """One of the places for chats that run at once; a few requests wait for one."""

    def __init__(self, state: ServerState) -> None:
        self._state, self._has_place = state, False

    async def begin(self) -> None:
        """Wait for a place. Raises `Problem` (429) where too many wait already."""
        state = self._state
        if state.waiting >= state.settings.max_chats:
            raise Problem(
                429,
                "Too many chats are waiting here.",
                code="rate_limit_exceeded",
                retry_after_s=_RETRY_AFTER_S,
            )
        state.waiting += 1
        try:
            await state.chats.acquire()
            self._has_place = True
        finally:
            state.waiting -= 1

    def end(self) -> None:
        """Give the place back."""
        if self._has_place:
            self._has_place = False
            self._state.chats.release()


def _tool_deltas(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls") or []
    return [{"tool_calls": [{"index": k, **call}]} for k, call in enumerate(calls)]


def _identity() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"


def _event(document: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"
