"""Datasets of function calls with formats of their own: xLAM, and Glaive's turns in one text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ftsdk.dataset.formats.questions import system_turns
from ftsdk.dataset.formats.shared import Row, Said, Turn, as_text, messages_from, rest, unsaid
from ftsdk.dataset.formats.tool_turns import as_tools, tool_turns
from ftsdk.dataset.readers import strict_json

# --- xLAM ------------------------------------------------------------------------------------


def xlam_turns(row: Row, said: Said = unsaid) -> Iterator[Turn]:
    """A query, and its answers as the calls of one message."""
    answers = row.get("answers")
    answered = Turn(
        "answers", {"role": "assistant", "content": None, "tool_calls": _json(answers)}, ""
    )
    asked = Turn("query", {"role": "user", "content": row.get("query")}, "", "")
    turns = [*system_turns(row, None), asked, answered]
    return iter(tool_turns(turns, _xlam_tools(row), said))


def read_xlam(row: Row, said: Said = unsaid) -> Row:
    """A row of xLAM (query, answers, tools) as a chat row of calls."""
    read = {
        "messages": messages_from(xlam_turns(row, said)),
        **rest(row, "query", "answers", "tools", "system"),
    }
    return {**read, "tools": _xlam_tools(row, said)}


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = strict_json.parse(value.encode("utf-8", "surrogatepass"))
    return value if isinstance(found, strict_json.Flaw) else found


def _xlam_tools(row: Row, said: Said = unsaid) -> Any:
    tools = as_tools(_json(row.get("tools")))
    if not isinstance(tools, list):
        return tools
    return [_with_schema(tool, said) for tool in tools]


_PYTHON_TYPES = {
    "str": "string", "string": "string", "int": "integer", "integer": "integer", "float": "number",
    "number": "number", "bool": "boolean", "boolean": "boolean", "dict": "object", "object": "object",
    "list": "array", "array": "array", "tuple": "array", "set": "array",
}  # fmt: skip
_LIST = re.compile(r"(?:list|array|tuple|set)\[.*\]")
_DICT = re.compile(r"dict\[.*\]")


def _with_schema(tool: Any, said: Said) -> Any:
    """A tool whose parameters are named by Python's types, with a JSON schema instead."""
    function = tool.get("function") if isinstance(tool, dict) else None
    parameters = function.get("parameters") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(parameters, dict):
        return tool
    if "properties" in parameters or not all(isinstance(p, dict) for p in parameters.values()):
        return tool
    properties = {name: _property(one) for name, one in parameters.items()}
    if None in properties.values():
        return tool
    said("the parameters of tools are read as a JSON schema")
    required = [n for n, p in parameters.items() if "default" not in p and "optional" not in str(p.get("type"))]  # fmt: skip
    schema: Row = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return {**tool, "function": {**function, "parameters": schema}}


def _property(parameter: Row) -> Row | None:
    """A parameter as a JSON schema; None when its type is not known."""
    if "type" not in parameter:
        return dict(parameter)
    name = parameter["type"]
    if not isinstance(name, str):
        return None
    plain = name.lower().partition(",")[0].strip().removeprefix("optional[").removesuffix("]")
    if plain.count("[") > plain.count("]"):
        plain += "]"
    found = _PYTHON_TYPES.get(plain)
    if found is None and _LIST.fullmatch(plain):
        found = "array"
    if found is None and _DICT.fullmatch(plain):
        found = "object"
    return None if found is None else {**parameter, "type": found}


def is_xlam(row: Row) -> bool:
    """Whether a row has a query and answers that are calls."""
    answers = _json(row.get("answers")) if "query" in row else None
    return isinstance(answers, list) and all(isinstance(a, dict) and "name" in a for a in answers)


# --- Glaive ----------------------------------------------------------------------------------

_GLAIVE = re.compile(r"(?:^|\n)\s*(USER|ASSISTANT|FUNCTION RESPONSE|SYSTEM): ?")
_GLAIVE_ROLES = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool", "SYSTEM": "system"}  # fmt: skip
_GLAIVE_CALL = re.compile(r"<functioncall>\s*(\{.*\})\s*\Z", re.DOTALL)
_GLAIVE_ARGUMENTS = re.compile(r"""("arguments":\s*)'(.*)'(\s*\}\s*)\Z""", re.DOTALL)
_END = "<|endoftext|>"


def glaive_turns(row: Row, said: Said = unsaid) -> Iterator[Turn]:
    """The turns in the text of a Glaive row."""
    turns = [*_glaive_system(row), *_glaive_chat(row.get("chat"))]
    return iter(tool_turns(turns, None, said))


def read_glaive(row: Row, said: Said = unsaid) -> Row:
    """A row of Glaive (`system` with functions, `chat` with turns in one text) as a chat row."""
    said("the turns in the text of chat are read as messages")
    read = {"messages": messages_from(glaive_turns(row, said)), **rest(row, "system", "chat")}
    tools = _glaive_tools(row.get("system"))
    return {**read, "tools": tools} if tools else read


def _glaive_system(row: Row) -> Iterator[Turn]:
    text = row.get("system")
    if isinstance(text, str) and text.strip():
        content = text.removeprefix("SYSTEM: ").strip()
        yield Turn("system", {"role": "system", "content": content}, "", "")


def _glaive_tools(text: Any) -> list[Any]:
    """The functions that a system text lists, one JSON object after the other."""
    start = text.find("\n{") if isinstance(text, str) else -1
    found = []
    while isinstance(text, str) and start >= 0:
        end = text.find("\n}", start)
        if end < 0:
            return []
        value = strict_json.parse(text[start : end + 2].strip().encode("utf-8", "surrogatepass"))
        if not isinstance(value, dict):
            return []
        found.append(value)
        start = text.find("\n{", end)
    tools: list[Any] = as_tools(found)
    return tools


def _glaive_chat(text: Any) -> Iterator[Turn]:
    if not isinstance(text, str):
        yield Turn("chat", text)
        return
    marks = list(_GLAIVE.finditer(text))
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        end = len(text) if following is None else following.start()
        said = text[mark.end() : end].strip().removesuffix(_END).strip()
        yield Turn("chat", _glaive_message(_GLAIVE_ROLES[mark[1]], said), "", "")


def _glaive_message(role: str, text: str) -> Row:
    found = _GLAIVE_CALL.search(text) if role == "assistant" else None
    if found is None:
        return {"role": role, "content": text}
    call = _glaive_call(found[1])
    if call is None:
        return {"role": role, "content": text}
    return {"role": role, "content": text[: found.start()].strip() or None, "tool_calls": [call]}


def _glaive_call(text: str) -> Row | None:
    """A call whose arguments are JSON in single quotes; None when it cannot be read."""
    quoted = _GLAIVE_ARGUMENTS.search(text)
    if quoted is not None:
        arguments = quoted[2].replace("\\'", "'")
        text = text[: quoted.start()] + quoted[1] + as_text(arguments) + quoted[3]
    value = strict_json.parse(text.encode("utf-8", "surrogatepass"))
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    return {"name": value["name"], "arguments": value.get("arguments", "{}")}
