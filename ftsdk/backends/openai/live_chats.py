"""What `ftsdk doctor --live` asks about batches and stored chats.

Fields and their names are those of the official SDK (openai 3.57.0, `types/batch.py` and
`types/chat`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftsdk.backends.hosted.coerce import as_text
from ftsdk.backends.hosted.live.plan import NOT_SEEN, Check, Conclusion, Evidence, Read, counted
from ftsdk.backends.hosted.live.shape import Field, Shape
from ftsdk.backends.openai.batches import STATES

_TEXT, _TIME, _COUNT = Field("text"), Field("time"), Field("count")
_MAYBE_TEXT = Field("text", optional=True, nullable=True)
_MAYBE_TIME = Field("time", optional=True, nullable=True)
_MAYBE_LIST = Field("list", optional=True, nullable=True)
_MAYBE_OBJECT = Field("object", optional=True, nullable=True)
_BATCH = Shape(
    {
        "id": _TEXT,
        "status": Field("text", words=frozenset(STATES)),
        "created_at": _TIME,
        "expires_at": _MAYBE_TIME,
        "input_file_id": _TEXT,
        "output_file_id": _MAYBE_TEXT,
        "error_file_id": _MAYBE_TEXT,
        "errors": _MAYBE_OBJECT,
        "metadata": _MAYBE_OBJECT,
        "model": _MAYBE_TEXT,
        "request_counts": Field(
            "object",
            optional=True,
            nullable=True,
            inner={"total": _COUNT, "completed": _COUNT, "failed": _COUNT},
        ),
    },
    frozenset({"object", "endpoint", "completion_window", "in_progress_at", "finalizing_at",
               "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at",
               "usage"}),
)  # fmt: skip
_CHAT = Shape(
    {
        "id": _TEXT,
        "created": _TIME,
        "model": _TEXT,
        "choices": Field("list"),
        "usage": _MAYBE_OBJECT,
        "metadata": _MAYBE_OBJECT,
        "tools": _MAYBE_LIST,
        "temperature": Field("number", optional=True, nullable=True),
        "top_p": Field("number", optional=True, nullable=True),
        "response_format": _MAYBE_OBJECT,
    },
    frozenset({"object", "request_id", "tool_choice", "seed", "presence_penalty",
               "frequency_penalty", "system_fingerprint", "input_user", "service_tier",
               "max_tokens", "max_completion_tokens", "moderation"}),
)  # fmt: skip
_MESSAGE = Shape(
    {
        "id": _TEXT,
        "role": _TEXT,
        "content": _MAYBE_TEXT,
        "content_parts": _MAYBE_LIST,
        "tool_calls": _MAYBE_LIST,
    },
    frozenset({"object", "name", "refusal", "annotations", "audio", "function_call",
               "tool_call_id"}),
)  # fmt: skip
_NOT_TAKEN = frozenset({"model_not_found", "model_not_supported", "invalid_model"})


def reads() -> Iterator[Read]:
    """Yield the reads of batches, of stored chats, and of the messages of some."""
    few = {"limit": "4", "order": "desc"}
    yield Read("batches", "/batches", _BATCH, query={"limit": "50"}, optional=True)
    yield Read("stored chats", "/chat/completions", _CHAT, query=few, optional=True)
    yield Read(
        "messages", "/chat/completions/{id}/messages", _MESSAGE,
        query={"limit": "50", "order": "asc"}, each="stored chats", optional=True,
    )  # fmt: skip


def _takes_tuned(seen: Evidence) -> Conclusion:
    """Conclude whether a fine-tuned model can be used in a batch."""
    tuned = [one for one in seen.of("batches") if str(one.get("model")).startswith("ft:")]
    if any(one.get("status") == "completed" for one in tuned):
        return "confirmed", "a batch of a fine-tuned model was completed"
    refused = any(_codes_of(one) & _NOT_TAKEN for one in tuned if one.get("status") == "failed")
    return ("refuted", "a batch of a fine-tuned model was refused") if refused else NOT_SEEN


def _codes_of(batch: Mapping[str, Any]) -> set[str]:
    errors = batch.get("errors")
    listed = errors.get("data") if isinstance(errors, Mapping) else None
    given = listed if isinstance(listed, list) else []
    return {str(one.get("code")) for one in given if isinstance(one, Mapping)}


def _without_answer(seen: Evidence) -> Conclusion:
    """Conclude whether the messages of a stored chat end before its answer."""
    last = {str(one.get("id")).rpartition("-")[0]: one for one in seen.of("messages")}
    answers = {str(one.get("id")): _answer_in(one) for one in seen.of("stored chats")}
    ends = [
        one.get("role") == "assistant" and as_text(one.get("content")) == answers[chat]
        for chat, one in last.items()
        if answers.get(chat) is not None
    ]
    if any(ends):
        return "refuted", "the messages end with the answer"
    return ("confirmed", counted(len(ends), "stored chat")) if ends else NOT_SEEN


def _answer_in(chat: Mapping[str, Any]) -> str | None:
    choices = chat.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, Mapping) else None
    return as_text(message.get("content")) if isinstance(message, Mapping) else None


CHECKS: Mapping[str, Check] = {
    "capabilities.can_batch": _takes_tuned,
    "capabilities.has_stored_chats": _without_answer,
}
