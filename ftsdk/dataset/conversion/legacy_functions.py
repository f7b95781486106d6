"""Rows written before tools: `functions`, `function_call` and the role `function` as tools.

A row is converted whole or not at all: what has no certain place among tools is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.formats.shared import numbered
from ftsdk.dataset.row import OUTPUTS, Row


class Conversion(NamedTuple):
    """The row with tools, and a hit for each change; or the row as it was, and why in `refused`."""

    row: Row
    changes: tuple[Hit, ...]
    refused: tuple[Hit, ...]


def functions_to_tools(row: Row) -> Conversion:
    """A chat or preference row with its old functions as tools; `row` itself is not changed.

    `functions` become `tools`, each `function_call` one call in `tool_calls`, and the role
    `function` the role `tool` with the id of the call that it answers. Arguments stay the strings
    that they are. Ids are `call_1`, `call_2`, … in order, except those that the row has already.
    """
    work = _Converting(_ids_in(row))
    inner = row.get("input") if "messages" not in row else row
    if not isinstance(inner, dict):
        return Conversion(row, (), ())
    prefix = "" if inner is row else "input."
    changed: Row = {**inner, **work.declarations(inner, prefix)}
    if "functions" in inner and "tools" in changed:
        del changed["functions"]
    changed["messages"] = work.messages(inner.get("messages"), f"{prefix}messages")
    if inner is not row:
        asked = work.open
        changed = {**row, "input": changed}
        for name in OUTPUTS:
            work.open = asked
            changed[name] = work.messages(row.get(name), name)
    if work.refused or not work.changes:
        return Conversion(row, (), tuple(work.refused))
    return Conversion(changed, tuple(work.changes), ())


class _Converting:
    """The changes to one row, and what could not be converted."""

    def __init__(self, taken: set[Any]) -> None:
        self._ids = numbered(taken)
        self.open: dict[str, Any] | None = None  # the name and id of a call that has no result yet
        self.changes: list[Hit] = []
        self.refused: list[Hit] = []

    def declarations(self, inner: Row, prefix: str) -> Row:
        """`{"tools": […]}` for the functions of a row; empty when there are none to convert."""
        functions, tools = inner.get("functions"), inner.get("tools")
        if not functions:
            return {}
        place = f"{prefix}functions"
        if not isinstance(functions, list) or not all(map(_is_named, functions)):
            self._refuse(place, "functions are a list of objects with a name each", functions)
            return {}
        if tools is not None and not isinstance(tools, list):
            self._refuse(f"{prefix}tools", "the row also has tools, which are no list", tools)
            return {}
        known = {f["name"]: f for f in map(_function_of, tools or ()) if f is not None}
        for i, function in enumerate(functions):
            if known.get(function["name"], function) != function:
                self._refuse(f"{place}[{i}]", f"tools declare {function['name']!r} differently", function)  # fmt: skip
        self.changes.append(Hit(place, "wrote functions as tools"))
        new = [f for f in functions if f["name"] not in known]
        return {"tools": [*(tools or ()), *({"type": "function", "function": f} for f in new)]}

    def messages(self, messages: Any, place: str) -> Any:
        """The messages of one list, converted; anything else as it is."""
        if not isinstance(messages, list):
            return messages
        return [self._message(m, f"{place}[{i}]") for i, m in enumerate(messages)]

    def _message(self, message: Any, place: str) -> Any:
        if not isinstance(message, dict):
            return message
        if message.get("role") == "function":
            return self._result(message, place)
        call = message.get("function_call")
        if not call:
            if message.get("role") != "tool":
                self.open = None
            return message
        return self._call(message, call, f"{place}.function_call")

    def _call(self, message: Row, call: Any, place: str) -> Row:
        if not _is_named(call):
            self._refuse(place, "a function_call is an object with a name and arguments", call)
            return message
        unknown = call.keys() - {"name", "arguments"}
        for key in sorted(unknown):
            self._refuse(f"{place}.{key}", f"a tool call has no place for {key!r}", call[key])
        if message.get("tool_calls"):
            self._refuse(place, "the message also has tool_calls", call)
        self.open = {"name": call["name"], "id": next(self._ids)}
        self.changes.append(Hit(place, "wrote the function_call as tool_calls"))
        written = {"id": self.open["id"], "type": "function", "function": call}
        rest = {k: v for k, v in message.items() if k not in ("function_call", "tool_calls")}
        return {**rest, "content": message.get("content"), "tool_calls": [written]}

    def _result(self, message: Row, place: str) -> Row:
        name, call = message.get("name"), self.open
        if call is None:
            self._refuse(place, "a function's message follows no function_call", name)
            return message
        if name is not None and name != call["name"]:
            self._refuse(f"{place}.name", f"the function called before it is {call['name']!r}", name)  # fmt: skip
            return message
        self.open = None
        self.changes.append(Hit(f"{place}.role", "wrote the role function as tool"))
        return {**message, "role": "tool", "tool_call_id": call["id"]}

    def _refuse(self, place: str, why: str, value: Any) -> None:
        self.refused.append(Hit(place, f"not converted to tools: {why}", value))


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str) and bool(value["name"])


def _function_of(tool: Any) -> Row | None:
    function = tool.get("function") if isinstance(tool, dict) else None
    return function if _is_named(function) else None


def _ids_in(row: Row) -> set[Any]:
    return {
        call["id"]
        for message in _all_messages(row)
        for call in message.get("tool_calls") or ()
        if isinstance(call, dict) and isinstance(call.get("id"), str)
    }


def _all_messages(row: Row) -> Iterator[Row]:
    prompt = row.get("input")
    lists = [row.get("messages"), *(row.get(name) for name in OUTPUTS)]
    lists.append(prompt.get("messages") if isinstance(prompt, dict) else None)
    for messages in lists:
        for message in messages if isinstance(messages, list) else ():
            if isinstance(message, dict) and isinstance(message.get("tool_calls") or [], list):
                yield message
