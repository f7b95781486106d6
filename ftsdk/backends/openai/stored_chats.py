"""Read the chat completions that an account stored, with the messages that were sent."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ftsdk.backends.hosted import unexpected_response
from ftsdk.backends.hosted.chat_answer import answer_of
from ftsdk.backends.hosted.coerce import as_instant, as_text
from ftsdk.backends.openai.chat import chat_options
from ftsdk.backends.openai.transport import Transport
from ftsdk.errors import NotFound, Rejected, UnexpectedResponse
from ftsdk.types.chat import StoredChat
from ftsdk.types.model import ChatAnswer

_CHATS = "/chat/completions"
_MESSAGES = f"{_CHATS}/ID/messages"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{2,127}")
_PAGE = 100
_AT_ONCE = 4
_MOST_NAMED = 10
_OF_ONE = (NotFound, Rejected, UnexpectedResponse)
"""Errors of one completion, such as one that was deleted while the others are read."""
_NOT_OPTIONS = frozenset({"metadata", "store", "messages", "model"})


class StoredChats:
    """The stored chat completions of one account; changes nothing."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def all(
        self, model: str | None, metadata: Mapping[str, str] | None, limit: int | None
    ) -> Iterator[StoredChat]:
        """Yield them, newest first; the messages of a few are read at once.

        One that cannot be read does not keep the others back: an error at the end names it.
        """
        unread: list[str] = []
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ftsdk-stored-chats")
        try:
            for page in self._listed(model, metadata, limit):
                for raw, chat in [(raw, pool.submit(self._chat, raw)) for raw in page]:
                    try:
                        yield chat.result()
                    except _OF_ONE as error:
                        unread.append(f"{raw['id']} ({error.what})")
        finally:
            pool.shutdown(cancel_futures=True)
        if unread:
            more = f" and {len(unread) - _MOST_NAMED} more" if len(unread) > _MOST_NAMED else ""
            raise UnexpectedResponse(
                f"Stored chats cannot be read ({len(unread)}): "
                + "; ".join(unread[:_MOST_NAMED])
                + more,
                where=f"{self._transport.profile.title}, GET {_MESSAGES}; all others were read",
                hint="read them again: one that was deleted is no longer listed then",
            )

    def _listed(
        self, model: str | None, metadata: Mapping[str, str] | None, limit: int | None
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield the completions page by page, at most `limit` of them."""
        wanted = dict(metadata or {})
        filters: dict[str, Any] = {} if model is None else {"model": model}
        if wanted:
            filters["metadata"] = wanted

        def ask(client: Any, query: Mapping[str, Any]) -> Any:
            listing = client.chat.completions.with_raw_response.list
            return listing(**query, **filters, order="desc")

        left = sys.maxsize if limit is None else limit
        if left <= 0:
            return
        for page in self._transport.pages(f"GET {_CHATS}", ask, size=min(_PAGE, left)):
            found = [raw for raw in page if wanted.items() <= _metadata_of(raw).items()][:left]
            yield found
            left -= len(found)
            if left <= 0:
                return

    def _chat(self, raw: Mapping[str, Any]) -> StoredChat:
        title = self._transport.profile.title
        answer = answer_of(raw, title, latency_s=None)
        known = chat_options() - _NOT_OPTIONS
        return StoredChat(
            id=raw["id"],
            model=as_text(raw.get("model")),
            messages=_sent(self._messages(raw["id"]), answer),
            answer=answer,
            created_at=as_instant(raw.get("created")),
            options={name: raw[name] for name in sorted(known) if raw.get(name) is not None},
            metadata=_metadata_of(raw),
        )

    def _messages(self, completion_id: str) -> list[dict[str, Any]]:
        """Return the messages of one completion, in the order in which they were sent."""
        if not _ID.fullmatch(completion_id):
            raise unexpected_response(
                self._transport.profile.title, f"GET {_CHATS}", "it has no id of the right shape"
            )

        def ask(client: Any, query: Mapping[str, Any]) -> Any:
            messages = client.chat.completions.messages.with_raw_response
            return messages.list(completion_id, **query, order="asc")

        pages = self._transport.pages(f"GET {_MESSAGES}", ask, size=_PAGE, whole=True)
        return [_message(raw) for page in pages for raw in page]


def _metadata_of(raw: Mapping[str, Any]) -> dict[str, str]:
    metadata = raw.get("metadata")
    return {str(k): str(v) for k, v in metadata.items()} if isinstance(metadata, Mapping) else {}


def _message(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored message as it was sent: content in parts where it had parts, no nulls."""
    message = {k: v for k, v in raw.items() if v is not None and k not in ("id", "content_parts")}
    if raw.get("content_parts"):
        message["content"] = raw["content_parts"]
    return message


def _sent(messages: list[dict[str, Any]], answer: ChatAnswer) -> tuple[dict[str, Any], ...]:
    """Return the messages without the answer, should the list end with it."""
    last = messages[-1] if messages else {}
    answered = last.get("role") == "assistant" and all(
        (last.get(name) or None) == (answer.message.get(name) or None)
        for name in ("content", "tool_calls")
    )
    return tuple(messages[:-1] if answered else messages)
