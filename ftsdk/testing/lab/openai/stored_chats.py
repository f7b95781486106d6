"""Stored chats of the OpenAI double: completions that were sent with `store: true`.

They are listed by model and metadata, the oldest first unless `order=desc` is given, and disappear
`stored_for_s` seconds after they were made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ftsdk.testing.lab.base import route
from ftsdk.testing.lab.messages import Request
from ftsdk.testing.lab.openai.files import page_of
from ftsdk.testing.lab.openai.models import OpenAIModels
from ftsdk.testing.lab.openai.request_checks import check_metadata, refuse
from ftsdk.util.clock import Clock

_REPORTED = (
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "tools",
    "tool_choice", "response_format",
)  # fmt: skip
_USUAL = {"temperature": 1.0, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}


class OpenAIStoredChats(OpenAIModels):
    """`/chat/completions` as a list, and the messages of each."""

    stores_chats = True

    def __init__(self, *, clock: Clock | None = None, port: int = 0) -> None:
        super().__init__(clock=clock, port=port)
        self.stored: dict[str, dict[str, Any]] = {}
        self.stored_for_s = 30 * 86_400.0

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer as usual; keep the completion where the request says so."""
        check_metadata(body.get("metadata"))
        completion = super()._completion(body)
        if self.stores_chats and body.get("store") is True:
            facts = {name: body.get(name, _USUAL.get(name)) for name in _REPORTED}
            kept = {**completion, **facts, "metadata": body.get("metadata") or {}}
            kept |= {"input_user": body.get("user"), "request_id": self.new_id("req_")}
            self.stored[completion["id"]] = {
                "completion": kept,
                "messages": body["messages"],
                "at": self.now(),
            }
        return completion

    def _kept(self) -> Iterator[dict[str, Any]]:
        """Yield the stored completions that have not expired, the oldest first."""
        for one in list(self.stored.values()):
            if (self.now() - one["at"]).total_seconds() < self.stored_for_s:
                yield one["completion"]

    def _stored(self, completion_id: str) -> dict[str, Any]:
        if completion_id not in {one["id"] for one in self._kept()}:
            raise refuse(404, f"Chat completion '{completion_id}' not found.", param="id")
        return self.stored[completion_id]

    @route("GET", "/chat/completions")
    def list_chats(self, request: Request) -> Any:
        """Return a page of stored completions, filtered by model and `metadata[key]=value`."""
        if not self.stores_chats:
            return self.not_found(request)
        order, model = request.first("order", "asc"), request.first("model")
        if order not in ("asc", "desc"):
            raise refuse(400, f"Invalid 'order': {order!r}", param="order")
        wanted = {
            match.group(1): values[0]
            for name, values in request.query.items()
            if (match := re.fullmatch(r"metadata\[(.+)\]", name))
        }
        found = [
            one
            for one in self._kept()
            if model in (None, one["model"]) and wanted.items() <= one["metadata"].items()
        ]
        return self._list_of(found if order == "asc" else found[::-1], request)

    def _list_of(self, found: list[dict[str, Any]], request: Request) -> dict[str, Any]:
        page, more = page_of(found, request, 20, self.page_size)
        ends = {
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
        }
        return {"object": "list", "data": page, "has_more": more, **ends}

    @route("GET", "/chat/completions/{completion_id}")
    def get_chat(self, request: Request, completion_id: str) -> Any:
        """Return one stored completion."""
        return self._stored(completion_id)["completion"]

    @route("POST", "/chat/completions/{completion_id}")
    def update_chat(self, request: Request, completion_id: str) -> Any:
        """Replace the metadata of a stored completion."""
        kept = self._stored(completion_id)["completion"]
        body = request.json()
        if not isinstance(body, dict) or set(body) != {"metadata"}:
            raise refuse(400, "Only 'metadata' can be updated.", param="metadata")
        check_metadata(body["metadata"])
        kept["metadata"] = body["metadata"] or {}
        return kept

    @route("DELETE", "/chat/completions/{completion_id}")
    def delete_chat(self, request: Request, completion_id: str) -> Any:
        """Remove a stored completion."""
        self._stored(completion_id)
        del self.stored[completion_id]
        return {"object": "chat.completion.deleted", "id": completion_id, "deleted": True}

    @route("GET", "/chat/completions/{completion_id}/messages")
    def chat_messages(self, request: Request, completion_id: str) -> Any:
        """Return a page of the messages that were sent."""
        found = [
            _stored_message(f"{completion_id}-{number}", message)
            for number, message in enumerate(self._stored(completion_id)["messages"])
        ]
        if request.first("order", "asc") == "desc":
            found.reverse()
        return self._list_of(found, request)


def _stored_message(identity: str, message: dict[str, Any]) -> dict[str, Any]:
    """Return a message as the list shows it: parts are in a field of their own."""
    content, parts = message.get("content"), None
    if isinstance(content, list):
        content, parts = None, content
    facts = {"name": None, **message, "content": content, "content_parts": parts}
    return {"id": identity, **facts}
