"""A fast path for chat rows with tool calls and weights, in which no rule can find anything."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from ftsdk.dataset.formats.typed_rows import ToolMessage, ToolRow
from ftsdk.dataset.readers import strict_json
from ftsdk.dataset.rules.json_schema import complaints
from ftsdk.dataset.rules.quality import loops
from ftsdk.dataset.rules.tools import declared, tools_are_well_declared

_MOST_KNOWN = 256

Declared = dict[str, Any]


class ToolRows:
    """Finds rows that break no rule; declarations that many rows share are looked at once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Declared | None] = {}

    def is_sound(self, row: ToolRow) -> bool:
        """True when no row rule can report anything in the row.

        What a rule looks for in a text must have been looked for before, by `byte_signs`.
        """
        tools: Declared | None = {}
        if not isinstance(row.tools, msgspec.UnsetType):
            tools = self._declared(bytes(row.tools))
        return tools is not None and _Conversation(tools).is_sound(row.messages)

    def _declared(self, raw: bytes) -> Declared | None:
        """The parameters of declared functions by name; None where a declaration is not sound."""
        if raw not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[raw] = _read(raw)
        return self._known[raw]


def _read(raw: bytes) -> Declared | None:
    tools = strict_json.parse(raw)
    if not isinstance(tools, list) or not all(
        isinstance(t, dict) and "function" in t for t in tools
    ):
        return None
    row = {"tools": tools}
    return None if any(True for _ in tools_are_well_declared(row)) else declared(row)


class _Conversation:
    """Follows the turns of one row: who spoke before, and which calls are to be answered."""

    def __init__(self, tools: Declared) -> None:
        self._tools = tools
        self._ids: set[str] = set()
        self._open: set[str] = set()
        self._before = self._asked = ""
        self._learns = False

    def is_sound(self, messages: list[ToolMessage]) -> bool:
        """Whether every turn is sound, and the last one an answer of which something is learned."""
        for message in messages:
            take = _TAKERS[message.role]
            if not take(self, message):
                return False
            self._before = message.role
        return self._before == "assistant" and self._learns

    def _take_text(self, message: ToolMessage) -> bool:
        """A system text, at the start, or a question."""
        text = message.content
        if not isinstance(text, str) or not text or text.isspace() or not _is_text_alone(message):
            return False
        self._asked = text
        if message.role == "system":
            return not self._before
        return self._before != "user" and not self._open

    def _take_result(self, message: ToolMessage) -> bool:
        name = message.tool_call_id
        has_more = message.tool_calls is not msgspec.UNSET or message.weight is not msgspec.UNSET
        if has_more or not isinstance(message.content, str) or name not in self._open:
            return False
        self._open.discard(str(name))
        return True

    def _take_answer(self, message: ToolMessage) -> bool:
        if (
            self._before not in ("user", "tool")
            or self._open
            or message.tool_call_id is not msgspec.UNSET
        ):
            return False
        weight, text = message.weight, message.content
        is_learned = isinstance(weight, msgspec.UnsetType) or bytes(weight) == b"1"
        if not is_learned and bytes(message.weight) != b"0":  # type: ignore[arg-type]  # it is there
            return False
        self._learns |= is_learned
        if isinstance(text, str) and text and (text == self._asked or loops(text)):
            return False
        if isinstance(message.tool_calls, msgspec.UnsetType):
            return isinstance(text, str) and bool(text) and not text.isspace()
        return self._take_calls(message)

    def _take_calls(self, message: ToolMessage) -> bool:
        calls = message.tool_calls
        for call in calls if isinstance(calls, list) else ():
            called = call.function
            if not call.id or call.id in self._ids or called.name not in self._tools:
                return False
            if not _fits(called.arguments, self._tools[called.name]):
                return False
            self._ids.add(call.id)
            self._open.add(call.id)
        return bool(calls)


_TAKERS = {
    "system": _Conversation._take_text,
    "user": _Conversation._take_text,
    "tool": _Conversation._take_result,
    "assistant": _Conversation._take_answer,
}


def _is_text_alone(message: ToolMessage) -> bool:
    return (
        message.tool_calls is msgspec.UNSET
        and message.tool_call_id is msgspec.UNSET
        and message.weight is msgspec.UNSET
    )


def _fits(arguments: str, schema: Any) -> bool:
    """Whether arguments are an object in which the schema has no complaint."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(value, dict):
        return False
    return not isinstance(schema, dict) or not any(True for _ in complaints(value, schema))
