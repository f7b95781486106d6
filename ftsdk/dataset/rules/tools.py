"""Rules over tools: declarations, calls, arguments, results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.findings.registry import row_rule
from ftsdk.dataset.readers.strict_json import MAX_DEPTH
from ftsdk.dataset.row import kind_of, messages_of
from ftsdk.dataset.rules.json_schema import complaints

Row = dict[str, Any]


def calls_of(row: Row) -> Iterator[tuple[str, Any]]:
    """Every tool call of the row with its field path, malformed ones included."""
    for i, message in messages_of(row):
        calls = message.get("tool_calls")
        for j, call in enumerate(calls if isinstance(calls, list) else []):
            yield f"messages[{i}].tool_calls[{j}]", call


def called(row: Row) -> Iterator[tuple[str, Row]]:
    """Every function that the row calls, with its field path: by tool_calls or by function_call."""
    for place, call in calls_of(row):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield f"{place}.function", function
    for i, message in messages_of(row):
        if isinstance(message.get("function_call"), dict):
            yield f"messages[{i}].function_call", message["function_call"]


def declared(row: Row) -> dict[str, Any]:
    """The declared tools and functions by name: their parameter schema, or None."""
    found: dict[str, Any] = {}
    tools, functions = row.get("tools"), row.get("functions")
    declarations = (
        [t.get("function") for t in tools if isinstance(t, dict)] if isinstance(tools, list) else []
    )
    declarations += functions if isinstance(functions, list) else []
    for function in declarations:
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            found[function["name"]] = function.get("parameters")
    return found


def arguments_of(function: Row) -> Any:
    """The arguments of a called function; raises `ValueError` when they are not JSON."""
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        raise ValueError("not a string")
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError as error:
        raise ValueError(error.msg) from error


@row_rule("FT112", "fault", 'write {"id", "type": "function", "function": {"name", '
          '"arguments"}}')  # fmt: skip
def calls_are_whole(row: Row) -> Iterator[Hit]:
    """A tool call is malformed: no id, no function name, a duplicate id, or not the assistant's."""
    seen: set[str] = set()
    for i, message in messages_of(row):
        calls = message.get("tool_calls")
        place = f"messages[{i}].tool_calls"
        if calls is None:
            continue
        if not isinstance(calls, list) or not calls:
            what = "an empty list" if calls == [] else f"{kind_of(calls)}, not a list"
            yield Hit(place, f"the tool calls are {what}", calls)
            continue
        if message.get("role") != "assistant":
            yield Hit(place, f"the {message.get('role')}'s message has tool calls")
        for j, call in enumerate(calls):
            yield from _whole_call(f"{place}[{j}]", call, seen)


def _whole_call(place: str, call: Any, seen: set[str]) -> Iterator[Hit]:
    if not isinstance(call, dict):
        yield Hit(place, f"a tool call is {kind_of(call)}, not an object", call)
        return
    name = call.get("id")
    if not isinstance(name, str) or not name:
        yield Hit(f"{place}.id", "the tool call has no id")
    elif name in seen:
        yield Hit(f"{place}.id", f"the id {name!r} is on two tool calls", name)
    else:
        seen.add(name)
    if call.get("type") not in (None, "function"):
        yield Hit(f"{place}.type", f"the type is {call['type']!r}, not 'function'", call["type"])
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        yield Hit(f"{place}.function", "the tool call names no function")


@row_rule("FT113", "fault", "write the arguments as one string with a JSON object",
          fixable=True)  # fmt: skip
def arguments_are_json(row: Row) -> Iterator[Hit]:
    r"""Tool arguments are missing, not a string, or not a JSON object in a string.

    The format is a *string*: `"arguments": "{\"city\": \"Oslo\"}"`. An object in its place
    is refused by OpenAI and Azure; `--fix` writes it as a string.
    """
    for place, function in called(row):
        arguments = function.get("arguments")
        where = f"{place}.arguments"
        if arguments is None:
            yield Hit(where, 'the arguments are missing (write "{}" for none)')
        elif not isinstance(arguments, str):
            yield Hit(
                where, f"the arguments are {kind_of(arguments)}, not a JSON string", arguments
            )
        else:
            try:
                value = arguments_of(function)
            except ValueError as error:
                yield Hit(where, f"the arguments are not JSON: {error}", arguments)
                continue
            if not isinstance(value, dict | str):
                yield Hit(where, f"the arguments are {kind_of(value)}, not an object", arguments)


@row_rule("FT114", "fault", "encode the arguments once, not twice",
          fixable=True)  # fmt: skip
def arguments_are_encoded_once(row: Row) -> Iterator[Hit]:
    r"""Tool arguments are JSON inside a JSON string.

    The arguments were encoded twice: `"\"{\\\"city\\\": \\\"Oslo\\\"}\""`. The model would learn to
    answer with escaped quotes. `--fix` removes the second encoding.
    """
    for place, function in called(row):
        try:
            value = arguments_of(function)
        except ValueError:
            continue
        if isinstance(value, str):
            yield Hit(f"{place}.arguments",
                      "tool arguments are JSON inside a JSON string", value)  # fmt: skip


@row_rule("FT115", "fault", "add the tool's result, a message of role tool with this tool_call_id")
def calls_are_answered(row: Row) -> Iterator[Hit]:
    """A tool call without a result before the conversation goes on.

    A call in the last message needs none: it is what the model learns to say.
    """
    messages = messages_of(row)
    for at, (i, message) in enumerate(messages):
        calls = message.get("tool_calls")
        if not isinstance(calls, list) or at == len(messages) - 1:
            continue
        answered: set[Any] = set()
        for _, following in messages[at + 1 :]:
            if following.get("role") != "tool":
                break
            answered.add(_hashable(following.get("tool_call_id")))
        for j, call in enumerate(calls):
            name = call.get("id") if isinstance(call, dict) else None
            if isinstance(name, str) and name not in answered:
                yield Hit(f"messages[{i}].tool_calls[{j}].id", f"the tool call {name!r} has no result",
                          name)  # fmt: skip


@row_rule("FT116", "fault", "give it the tool_call_id of the call it answers, or remove it")
def results_have_a_call(row: Row) -> Iterator[Hit]:
    """A tool result that answers no call, or does not name it.

    A message of the role `function`, the old form, follows the `function_call` that it names.
    """
    open_calls: set[str] = set()
    before: Any = None
    for i, message in messages_of(row):
        if message.get("role") == "function" and (before is None or before != message.get("name")):
            yield Hit(f"messages[{i}].name", _no_function(message, before), message.get("name"))
        old = message.get("function_call")
        before = old.get("name") if isinstance(old, dict) else None
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            open_calls = {
                c["id"] for c in calls if isinstance(c, dict) and isinstance(c.get("id"), str)
            }
        if message.get("role") != "tool":
            continue
        name = message.get("tool_call_id")
        if not isinstance(name, str) or not name:
            yield Hit(
                f"messages[{i}].tool_call_id", "the tool result says not which call it answers"
            )
        elif name not in open_calls:
            yield Hit(f"messages[{i}].tool_call_id", f"no open tool call has the id {name!r}", name)
        else:
            open_calls.discard(name)


@row_rule("FT117", "fault", "declare it in tools, or correct the name")
def called_tools_are_declared(row: Row) -> Iterator[Hit]:
    """A call of a tool that the row does not declare.

    At inference the model sees only declared tools, so a row must show the same.
    """
    names = declared(row)
    for place, function in called(row):
        name = function.get("name")
        if isinstance(name, str) and name not in names:
            what = "declares no tools" if not names else f"declares {', '.join(sorted(names))[:60]}"
            yield Hit(f"{place}.name", f"calls {name!r}, but the row {what}", name)


@row_rule("FT118", "fault", "correct the arguments, or the tool's parameters")
def arguments_fit_the_schema(row: Row) -> Iterator[Hit]:
    """Tool arguments do not match the tool's parameter schema.

    Checked: types, required and unexpected properties, enum and const, bounds and lengths, items and
    uniqueItems, anyOf, oneOf, allOf, not and if; local `$ref` is followed. Not checked, and never
    guessed at: `pattern` and `format`, references to elsewhere, and words that JSON Schema does not
    have. At most 50 are reported for one call.
    """
    schemas = declared(row)
    for place, function in called(row):
        name = function.get("name")
        schema = schemas.get(name) if isinstance(name, str) else None
        if not isinstance(schema, dict):
            continue
        try:
            value = arguments_of(function)
        except ValueError:
            continue
        if isinstance(value, dict):
            for where, why in complaints(value, schema):
                spot = f" at {where}" if where else ""
                yield Hit(f"{place}.arguments", f"the arguments of {name!r} break its schema{spot}: {why}",
                          function["arguments"])  # fmt: skip


@row_rule("FT119", "fault", 'write {"type": "function", "function": {"name", '
          '"description"?, "parameters"?}}')  # fmt: skip
def tools_are_well_declared(row: Row) -> Iterator[Hit]:
    """A tool declaration is malformed, or two tools have one name.

    Each property of the parameters has a JSON schema of its own: `"city": null` is none.
    """
    tools = row.get("tools")
    if tools is None:
        return
    if not isinstance(tools, list):
        yield Hit("tools", f"the tools are {kind_of(tools)}, not a list", tools)
        return
    seen: set[str] = set()
    for i, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            yield Hit(f"tools[{i}]", "a tool has no function", tool)
            continue
        name = function.get("name")
        if not isinstance(name, str) or not name:
            yield Hit(f"tools[{i}].function.name", "a tool has no name")
        elif name in seen:
            yield Hit(f"tools[{i}].function.name", f"two tools have the name {name!r}", name)
        else:
            seen.add(name)
        parameters = function.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            yield Hit(f"tools[{i}].function.parameters",
                      f"the parameters are {kind_of(parameters)}, not a JSON schema", parameters)  # fmt: skip
        for path, value in _no_schemas(parameters):
            yield Hit(
                f"tools[{i}].function.parameters{path}",
                f"{kind_of(value)} is no JSON schema",
                value,
            )
    if type(row.get("parallel_tool_calls", True)) is not bool:
        yield Hit("parallel_tool_calls", "parallel_tool_calls is neither true nor false",
                  row["parallel_tool_calls"])  # fmt: skip


def _no_function(message: Row, before: Any) -> str:
    if before is None:
        return "a function's message follows no function_call"
    named = "no function" if message.get("name") is None else repr(message["name"])
    return f"a function's message names {named}, but {before!r} was called"


def _no_schemas(schema: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Each property, and each schema of items, that is neither an object nor a boolean."""
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return
    properties = schema.get("properties")
    inner = (
        [(f"{path}.properties.{k}", v) for k, v in properties.items()]
        if isinstance(properties, dict)
        else []
    )
    if "properties" in schema and not isinstance(properties, dict):
        yield f"{path}.properties", properties
    if "items" in schema and not isinstance(schema["items"], list):
        inner.append((f"{path}.items", schema["items"]))
    for place, one in inner:
        if isinstance(one, dict):
            yield from _no_schemas(one, place, depth + 1)
        elif not isinstance(one, bool):
            yield place, one


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str) else None


@row_rule("FT132", "notice", "write tools in the row and tool_calls in the message",
          fixable=True)  # fmt: skip
def calls_are_tool_calls(row: Row) -> Iterator[Hit]:
    """Functions as they were written before tools: `functions`, `function_call`, the role `function`.

    OpenAI and Azure still read them. No chat template does, so other providers would train the row
    without its calls: there they are a fault (FT206). `--fix` writes them as `tools` and
    `tool_calls`, with the ids that those have.
    """
    if row.get("functions"):
        yield Hit("functions", "functions are the old form of tools")
    for i, message in messages_of(row):
        if message.get("function_call"):
            place = f"messages[{i}].function_call"
            yield Hit(place, "a function_call is the old form of tool_calls")
        elif message.get("role") == "function":
            yield Hit(f"messages[{i}].role", "the role function is the old form of tool")
