"""Tool calls as people write them: as turns of their own, as texts, without ids, with objects.

The canonical form is OpenAI's: `tool_calls` with ids and arguments in a JSON string, and one `tool`
message for each result. What is not certain is left as it is, for the rules to name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import orjson

from ftsdk.dataset.formats.shared import Said, Turn, as_text, numbered, unsaid
from ftsdk.dataset.readers import strict_json
from ftsdk.dataset.row import Row

CALL_ROLES = frozenset(("tool_call", "tool_calls", "function_call", "function-call"))
RESULT_ROLES = frozenset(
    ("tool_response", "tool_result", "observation", "function_response", "function-response")
)
_RESULTS = RESULT_ROLES | {"tool"}
_CALLS = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_ANSWERS = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>", re.DOTALL)
_TOOLS = re.compile(r"<tools>\s*(.*?)\s*</tools>", re.DOTALL)
_MOST_LITERAL = 100_000
"""Longer texts in Python's notation are not read."""


def needs_tools_read(messages: list[Any]) -> bool:
    """Whether a message has calls, or is a call or a result, so that `tool_turns` may change it."""
    return any(
        type(m) is dict
        and (m.get("tool_calls") or role_of(m) in _RESULTS or role_of(m) in CALL_ROLES)
        for m in messages
    )


def role_of(message: Any) -> str | None:
    """The role of a message; None when it is none, or no text."""
    role = message.get("role") if isinstance(message, dict) else None
    return role if isinstance(role, str) else None


def tool_turns(
    turns: list[Turn], tools: Any, said: Said = unsaid, *, has_tags: bool = False
) -> list[Turn]:
    """The turns with calls and results in canonical form.

    `tools` are the row's canonical tools. `has_tags` reads `<tool_call>` and `<tool_response>` in
    the texts; a row of calls always has its results read so.
    """
    return _Reading(turns, tools, said, has_tags=has_tags).turns()


class _Reading:
    def __init__(self, turns: list[Turn], tools: Any, said: Said, *, has_tags: bool) -> None:
        self._turns, self._said, self._has_tags = turns, said, has_tags
        self._ids = numbered(_ids_in(turns))
        self._declared = dict(_parameters(tools))
        self._gives_ids = not any(map(_names_its_call, turns))
        self._open: list[tuple[Any, str]] = []  # the name and id of calls that were given an id
        self._out: list[Turn] = []

    def turns(self) -> list[Turn]:
        for turn in self._turns:
            role = role_of(turn.message)
            if role is None:
                self._out.append(turn)
            elif role in CALL_ROLES:
                self._take_call(turn, role)
            elif role in _RESULTS:
                self._out.extend(self._results(turn))
            else:
                self._out.append(self._other(turn, role))
        return self._out

    def _other(self, turn: Turn, role: str) -> Turn:
        self._open = []
        if role != "assistant":
            return turn
        message = turn.message
        if isinstance(message.get("tool_calls"), list):
            calls = self._calls(message["tool_calls"])
            return turn._replace(message={**message, "tool_calls": calls})
        if self._has_tags and "tool_calls" not in message:
            return turn._replace(message=self._tagged(message))
        return turn

    def _tagged(self, message: Row) -> Row:
        """A message with the calls of its `<tool_call>` tags; as it is when one cannot be read."""
        content = message.get("content")
        if not isinstance(content, str) or "<tool_call>" not in content:
            return message
        calls = [_call_in(found) for found in _CALLS.findall(content)]
        before, _, _ = content.partition("<tool_call>")
        left = _CALLS.sub("", content[len(before) :]).strip()
        if not calls or left or None in calls:
            return message
        self._said("the text <tool_call> is read as tool_calls")
        return {**message, "content": before.strip() or None, "tool_calls": self._calls(calls)}

    def _take_call(self, turn: Turn, role: str) -> None:
        """A turn that is a call: joined to the assistant's turn before it, or one of its own."""
        calls = _calls_in(turn.message.get("content"))
        if not calls:
            self._out.append(turn)
            return
        self._said(f"the role {role} is read as tool_calls of the assistant")
        before = self._out[-1] if self._out else None
        rest = {k: v for k, v in turn.message.items() if k not in ("role", "content")}
        if before is not None and _may_join(before.message):
            joined = [*(before.message.get("tool_calls") or ()), *self._calls(calls)]
            self._out[-1] = before._replace(
                message={**before.message, **rest, "tool_calls": joined}
            )
            return
        self._open = []
        message = {"role": "assistant", "content": None, "tool_calls": self._calls(calls), **rest}
        self._out.append(turn._replace(message=message))

    def _calls(self, calls: list[Any]) -> list[Any]:
        return [self._call(call) for call in calls]

    def _call(self, call: Any) -> Any:
        if not isinstance(call, dict):
            return call
        read: Row = dict(call)
        if "function" not in read and isinstance(read.get("name"), str):
            own = {k: read.pop(k) for k in ("name", "arguments") if k in read}
            read = {**read, "type": "function", "function": own}
        function: Any = read.get("function")
        if isinstance(function, dict) and isinstance(function.get("arguments"), dict):
            arguments = self._without_filled(function.get("name"), function["arguments"])
            read["function"] = {**function, "arguments": as_text(arguments)}
            self._said("tool arguments that are objects are read as JSON texts")
        if not read.get("id") and self._gives_ids:
            self._said("tool calls without ids are given ids, and results follow them in order")
            read = {"id": next(self._ids), **{k: v for k, v in read.items() if k != "id"}}
            name = function.get("name") if isinstance(function, dict) else None
            self._open.append((name, read["id"]))
        return read

    def _without_filled(self, name: Any, arguments: Row) -> Row:
        """The arguments without nulls that the called tool does not declare: a table filled them in."""
        found: Row = self._without_undeclared(arguments, self._declared.get(name), str(name))
        return found

    def _without_undeclared(self, value: Any, schema: Any, name: str) -> Any:
        """A value without the nulls that its schema does not declare; without a schema, as it is."""
        declared = schema.get("properties") if isinstance(schema, dict) else None
        if isinstance(value, list) and isinstance(schema, dict):
            return [self._without_undeclared(v, schema.get("items"), name) for v in value]
        if not isinstance(value, dict) or not isinstance(declared, dict):
            return value
        kept: Row = {}
        for key, inner in value.items():
            is_declared = declared.get(key) is not None
            if inner is None and not is_declared:
                self._said(
                    f"the null argument {key!r} is left out, as {name!r} does not declare it"
                )
                continue
            if inner is None:
                self._said(f"the null argument {key!r} is kept, as {name!r} declares it")
            kept[key] = self._without_undeclared(inner, declared.get(key), name)
        return kept

    def _results(self, turn: Turn) -> Iterator[Turn]:
        message = turn.message
        if message["role"] != "tool":
            self._said(f"the role {message['role']} is read as tool")
        for one in self._split(message):
            read = {**one, "role": "tool"}
            if not read.get("tool_call_id"):
                name = self._answered(read.get("name"))
                if name is not None:
                    read["tool_call_id"] = name
            yield turn._replace(message=read)

    def _split(self, message: Row) -> list[Row]:
        """The results in one message, as one message each; the message when it is one result."""
        content = message.get("content")
        if not isinstance(content, str) or message.get("tool_call_id"):
            return [message]
        tagged = _ANSWERS.findall(content)
        if tagged and not _ANSWERS.sub("", content).strip():
            self._said("the text <tool_response> is read as the result of a tool")
            return [{**message, "content": text} for text in tagged]
        if len(self._open) > 1 and content.lstrip().startswith("["):
            found = _value_in(content)
            if isinstance(found, list) and len(found) == len(self._open):
                texts = [v if isinstance(v, str) else as_text(v) for v in found]
                return [{**message, "content": text} for text in texts]
        return [message]

    def _answered(self, name: Any) -> str | None:
        """The id of the open call that a result without an id answers: by name, or the first."""
        at = next((i for i, (called, _) in enumerate(self._open) if name in (None, called)), None)
        return None if at is None else self._open.pop(at)[1]


def _names_its_call(turn: Turn) -> bool:
    """Whether a result has the id of its call, which then must have it, too."""
    return isinstance(turn.message, dict) and bool(turn.message.get("tool_call_id"))


def _may_join(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def _ids_in(turns: list[Turn]) -> set[Any]:
    found: set[Any] = set()
    for turn in turns:
        calls = turn.message.get("tool_calls") if isinstance(turn.message, dict) else None
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict) and isinstance(call.get("id"), str):
                found.add(call["id"])
    return found


def _parameters(tools: Any) -> Iterator[tuple[str, Any]]:
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            yield function["name"], function.get("parameters")


# --- texts -----------------------------------------------------------------------------------


def _calls_in(content: Any) -> list[Any]:
    """The calls of a turn that is one: JSON, in tags or without; empty when it cannot be read."""
    if isinstance(content, dict):
        return [content] if isinstance(content.get("name"), str) else []
    if not isinstance(content, str):
        return []
    tagged = _CALLS.findall(content)
    found = [_value_in(text) for text in tagged] if tagged else _value_in(content)
    calls = found if isinstance(found, list) else [found]
    return calls if all(map(_is_call, calls)) else []


def _call_in(text: str) -> Any:
    value = _value_in(text)
    return value if _is_call(value) else None


def _is_call(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str) and "arguments" in value


def _value_in(text: str) -> Any:
    """The value of a text in JSON, or in Python's notation as Hermes writes it; None for neither."""
    value = strict_json.parse(text.strip().encode("utf-8", "surrogatepass"))
    if not isinstance(value, strict_json.Flaw):
        return value
    if len(text) > _MOST_LITERAL or "'" not in text:
        return None
    try:
        read = ast.literal_eval(text.strip())
        orjson.dumps(read)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return read


# --- declarations ----------------------------------------------------------------------------


def as_tools(tools: Any, said: Said = unsaid) -> Any:
    """Declared tools as `{"type": "function", "function": …}`; what is none stays as it is."""
    if not isinstance(tools, list) or all(isinstance(t, dict) and "function" in t for t in tools):
        return tools
    return [_tool(one, said) for one in tools]


def _tool(tool: Any, said: Said) -> Any:
    value = _value_in(tool) if isinstance(tool, str) else tool
    if not isinstance(value, dict) or "function" in value:
        return value if isinstance(value, dict) else tool
    if not isinstance(value.get("name"), str) or "input_schema" in value:
        return tool
    said("tools without the type function are read as functions")
    return {"type": "function", "function": {k: v for k, v in value.items() if k != "type"}}


def tools_in_text(text: Any) -> list[Any] | None:
    """The tools that a system text declares within `<tools>`; None without them."""
    found = _TOOLS.search(text) if isinstance(text, str) else None
    if found is None:
        return None
    value = _value_in(found[1])
    if value is None:
        lines = [_value_in(line) for line in found[1].split("\n") if line.strip()]
        value = lines if all(isinstance(one, dict) for one in lines) else None
    return [value] if isinstance(value, dict) else value if isinstance(value, list) else None
