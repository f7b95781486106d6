"""A fast path for chat rows with tool calls and weights, in which no rule can find anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
from msgspec import UNSET

from ftsdk.dataset.formats.typed_rows import (
    CalledFunction,
    ToolCall,
    ToolMessage,
    ToolRow,
    WithCalls,
    tool_row_in,
)
from ftsdk.dataset.readers import strict_json
from ftsdk.dataset.rules.duplicates import keys_with_calls
from ftsdk.dataset.rules.json_schema import complaints
from ftsdk.dataset.rules.quality import MIN_LOOP, loops
from ftsdk.dataset.rules.tools import declared, tools_are_well_declared

_MOST_DECLARATIONS = 256
_MOST_ARGUMENTS = 4096
_LONG = 400
"""Arguments with more characters are rarely there twice."""

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
}  # fmt: skip
_SAYING_NOTHING = frozenset(("description", "title", "default", "examples"))


@dataclass(frozen=True)
class _Function:
    """The parameters of a declared function.

    `kinds` has the types of those that are simple: arguments of these kinds alone, with all that are
    `required`, break nothing that the schema says.
    """

    schema: Any
    kinds: Mapping[str, tuple[type, ...]]
    required: frozenset[str]

    def takes(self, arguments: str) -> bool:
        """Whether arguments are an object in which the schema has no complaint."""
        try:
            value = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            return False
        if not isinstance(value, dict):
            return False
        if self.required <= value.keys() and all(
            type(item) in self.kinds.get(name, ()) for name, item in value.items()
        ):
            return True
        return not isinstance(self.schema, dict) or not any(
            True for _ in complaints(value, self.schema)
        )


def _function(schema: Any) -> _Function:
    simple = {"type", "properties", "required", "additionalProperties", *_SAYING_NOTHING}
    nothing = _Function(schema, {}, frozenset(("",)))
    if (
        not isinstance(schema, dict)
        or not schema.keys() <= simple
        or schema.get("type") != "object"
    ):
        return nothing
    properties, required = schema.get("properties"), schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return nothing
    kinds = {
        name: _KINDS[one["type"]]
        for name, one in properties.items()
        if isinstance(one, dict)
        and one.keys() <= {"type", *_SAYING_NOTHING}
        and isinstance(one.get("type"), str)
        and one["type"] in _KINDS
    }
    return _Function(schema, kinds, frozenset(name for name in required if isinstance(name, str)))


class Declared:
    """The functions that tools declare, and the calls that were found to be sound."""

    def __init__(self, tools: list[Any], raw: bytes) -> None:
        self.written = orjson.dumps(tools) if raw else b""
        """The tools as `duplicates.keys_of` compares them; nothing where the row has none."""
        self.quotes = raw.count(b'"') + 2 if raw else 0
        """The quotes of the key and its value in the record."""
        self._functions = {
            name: _function(schema) for name, schema in declared({"tools": tools}).items()
        }
        self._sound: set[tuple[str, str]] = set()

    def takes(self, called: CalledFunction) -> bool:
        """Whether the called function is declared, and its arguments are sound."""
        function = self._functions.get(called.name)
        if function is None:
            return False
        call = (called.name, called.arguments)
        if call in self._sound:
            return True
        if not function.takes(called.arguments):
            return False
        if len(self._sound) < _MOST_ARGUMENTS and len(called.arguments) <= _LONG:
            self._sound.add(call)
        return True


class ToolRows:
    """Finds rows that break no rule; declarations that many rows share are looked at once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Declared | None] = {}

    def _declared(self, row: ToolRow) -> Declared | None:
        if isinstance(row.tools, msgspec.UnsetType):
            return _NOTHING
        raw = bytes(row.tools)
        if raw not in self._known:
            if len(self._known) >= _MOST_DECLARATIONS:
                self._known.clear()
            self._known[raw] = _read(raw)
        return self._known[raw]

    def said(self, raw: bytes) -> tuple[WithCalls, int] | None:
        """What a row says in which no row rule can report anything; None for another one.

        Beside it is the number of quotes of other keys, and of keys that are there twice. What a rule looks
        for in a text must have been looked for before, by `byte_signs`.
        """
        row = tool_row_in(raw)
        tools = None if row is None else self._declared(row)
        if row is None or tools is None or not _is_sound(row.messages, tools):
            return None
        last = row.messages[-1]
        asked, answer = _ENCODE(row.messages[:-1]), _ENCODE(last)
        quotes = asked.count(b'"') + answer.count(b'"') + tools.quotes + 2
        keys = keys_with_calls(row.messages, asked, answer, tools.written)
        text = last.content if last.tool_calls is UNSET else None
        return WithCalls(*keys, text or None), raw.count(b'"') - quotes


_ENCODE = msgspec.json.Encoder().encode


def _read(raw: bytes) -> Declared | None:
    tools = strict_json.parse(raw)
    if not isinstance(tools, list) or not all(
        isinstance(t, dict) and "function" in t for t in tools
    ):
        return None
    found = any(True for _ in tools_are_well_declared({"tools": tools}))
    return None if found else Declared(tools, raw)


_NOTHING = Declared([], b"")


def _is_sound(messages: Sequence[ToolMessage], tools: Declared) -> bool:
    """Whether every turn is sound, and the last one an answer of which something is learned.

    One loop without a call for each turn, which would double its time.
    """
    before = asked = ""
    waiting, ids = set[str](), set[str]()  # calls without a result, and all calls
    learns = False
    for message in messages:
        role, text, calls, weight = message.role, message.content, message.tool_calls, message.weight  # fmt: skip
        if role == "tool":
            if message.tool_call_id not in waiting or not isinstance(text, str):
                return False
            if calls is not UNSET or weight is not UNSET:
                return False
            waiting.discard(str(message.tool_call_id))
        elif waiting or message.tool_call_id is not UNSET:
            return False
        elif role != "assistant":
            if before in _BEFORE_TEXT[role] or not isinstance(text, str):
                return False
            if not text or text.isspace() or calls is not UNSET or weight is not UNSET:
                return False
            asked = text
        elif (
            before not in ("user", "tool")
            or not _is_answer(text, asked)
            or (calls is not UNSET and not _opens(calls, ids, waiting, tools))
            or (calls is UNSET and (not isinstance(text, str) or not text or text.isspace()))
        ):
            return False
        elif weight is UNSET or bytes(weight) == b"1":
            learns = True
        elif bytes(weight) != b"0":
            return False
        before = role
    return before == "assistant" and learns


_BEFORE_TEXT = {"user": ("user", "tool"), "system": ("system", "user", "assistant", "tool")}
"""Whom a question or a system text does not come after; some providers want an answer to each result."""


def _is_answer(text: str | msgspec.UnsetType | None, asked: str) -> bool:
    """Whether a text that an answer may have is not what was asked, and has an end."""
    if not isinstance(text, str) or not text:
        return True
    return text != asked and (len(text) < MIN_LOOP or not loops(text))


def _opens(calls: Sequence[ToolCall], ids: set[str], waiting: set[str], tools: Declared) -> bool:
    """Whether all calls of an answer are sound; their ids are added to both sets."""
    for call in calls:
        if not call.id or call.id in ids or not tools.takes(call.function):
            return False
        ids.add(call.id)
        waiting.add(call.id)
    return bool(calls)
