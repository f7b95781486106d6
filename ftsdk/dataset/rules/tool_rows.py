"""A fast path for chat rows with tool calls and weights, in which no rule can find anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from ftsdk.dataset.formats.typed_rows import (
    CalledFunction,
    ToolMessage,
    ToolRow,
    is_text_alone,
)
from ftsdk.dataset.readers import strict_json
from ftsdk.dataset.rules.json_schema import complaints
from ftsdk.dataset.rules.quality import loops
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

    def __init__(self, tools: Any) -> None:
        self.written = orjson.dumps(tools)
        """The tools as `duplicates.keys_of` compares them."""
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

    def sound(self, row: ToolRow) -> Declared | None:
        """What the row declares; None when a row rule may report anything in the row.

        What a rule looks for in a text must have been looked for before, by `byte_signs`.
        """
        tools = self._declared(row)
        if tools is None or not _Conversation(tools).is_sound(row.messages):
            return None
        return tools


def _read(raw: bytes) -> Declared | None:
    tools = strict_json.parse(raw)
    if not isinstance(tools, list) or not all(
        isinstance(t, dict) and "function" in t for t in tools
    ):
        return None
    found = any(True for _ in tools_are_well_declared({"tools": tools}))
    return None if found else Declared(tools)


_NOTHING = Declared([])
_NOTHING.written = b""


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
        if not isinstance(text, str) or not text or text.isspace() or not is_text_alone(message):
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
            if not call.id or call.id in self._ids or not self._tools.takes(called):
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
