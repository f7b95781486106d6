"""Gemini contents: rows of Google's tuning, read into the canonical row and written from it.

As Google's pages on tuning text, images and function calling show them (read 2026-11-25):
`systemInstruction`, `contents` of roles `user` and `model`, parts with `text`, `fileData`,
`functionCall` and `functionResponse`, and `tools` with `functionDeclarations`. Both spellings are
read (`systemInstruction`, `system_instruction`); the first is written.

Gemini pairs calls and results by name and order and has no ids: on reading they are `call_1`,
`call_2`, … A result is an object: a text that is none is written as `{"output": text}`, as Google's
own SDK says it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.formats.openapi_schema import json_schema, openapi_schema
from ftsdk.dataset.formats.shared import (
    Row,
    Turn,
    Written,
    as_object,
    as_text,
    declared_functions,
    image_of,
    image_part,
    is_text_part,
    later_system,
    left_over,
    messages_from,
    numbered,
    rest,
    same_object,
    sole,
    take_system,
    write_texts,
)  # fmt: skip

TITLE = "Gemini contents"
CARRIED = ("generationConfig",)
"""Gemini's own row keys, which are copied unchanged (`mediaResolution` is in there)."""


def _key(row: Mapping[str, Any], camel: str) -> str:
    """The spelling of a key that the row has: `fileData` or `file_data`."""
    if camel in row:
        return camel
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in camel)
    return snake if snake in row else camel


# --- reading ---------------------------------------------------------------------------------


def read_gemini(row: Row) -> Row:
    """A row of contents as a canonical chat row."""
    system, tools = _key(row, "systemInstruction"), row.get("tools")
    contents = row.get("contents")
    messages = messages_from(gemini_turns(row)) if isinstance(contents, list) else contents
    read: Row = {"messages": messages}
    if tools is not None:
        read["tools"] = _read_tools(tools)
    return {**read, **rest(row, "contents", system, "tools")}


def gemini_turns(row: Mapping[str, Any]) -> Iterator[Turn]:
    """The messages of a row of contents with their places."""
    key = _key(row, "systemInstruction")
    system = row.get(key)
    if isinstance(system, dict):
        content = _read_content(system.get("parts"))
        message = {"role": "system", "content": content, **rest(system, "role", "parts")}
        yield Turn(key, message, ".parts")
    elif system is not None:
        yield Turn(key, {"role": "system", "content": system}, "")
    contents = row.get("contents")
    reader = _Reader(contents)
    for i, turn in enumerate(contents if isinstance(contents, list) else []):
        for message in reader.messages(turn):
            yield Turn(f"contents[{i}]", message, ".parts")


def own_gemini(row: Row) -> Iterator[tuple[str, Hit]]:
    """Findings for roles that other formats have and this one does not."""
    contents = row.get("contents")
    for i, turn in enumerate(contents if isinstance(contents, list) else []):
        role = turn.get("role") if isinstance(turn, dict) else None
        if role in ("assistant", "system", "developer"):
            where = "belongs in systemInstruction" if role != "assistant" else "is called 'model'"
            yield "FT104", Hit(f"contents[{i}].role", f"the role {role!r} {where} in {TITLE}", role)


class _Reader:
    """Reads the turns of one conversation; knows which calls are still to be answered."""

    def __init__(self, contents: Any) -> None:
        given = [
            call.get("id")
            for turn in (contents if isinstance(contents, list) else [])
            for part in (_parts(turn) or [])
            if isinstance(call := _value(part, "functionCall"), dict)
        ]
        self._ids = numbered(i for i in given if isinstance(i, str))
        self._open: list[tuple[str, Any]] = []

    def messages(self, turn: Any) -> Iterator[Any]:
        parts = _parts(turn)
        if parts is None:
            yield {**rest(turn, "parts", "role"), "role": _role(turn), "content": turn.get("parts")} if isinstance(turn, dict) else turn  # fmt: skip
        elif turn.get("role") == "model":
            yield self._model(turn, parts)
        else:
            yield from self._others(turn, parts)

    def _model(self, turn: Row, parts: list[Any]) -> Row:
        more = rest(turn, "role", "parts")
        calls = [p for p in parts if _value(p, "functionCall") is not None]
        said = [p for p in parts if _value(p, "functionCall") is None]
        thought = [p for p in said if _is_thought(p)]
        said = [p for p in said if not _is_thought(p)]
        # In a canonical message calls follow the texts; another order is kept as it is.
        if parts != [*thought, *said, *calls] or any(
            set(p) != {_key(p, "functionCall")} for p in calls
        ):
            return {"role": "assistant", "content": [_read_part(p) for p in parts], **more}
        message: Row = {"role": "assistant", "content": _read_content(said) if said else None}
        if not said and not calls:
            message["content"] = []
        if thought:
            message["reasoning_content"] = "".join(p["text"] for p in thought)
        if calls:
            message["tool_calls"] = [self._call(_value(p, "functionCall")) for p in calls]
            self._open = [(c["id"], c["function"].get("name")) for c in message["tool_calls"]
                          if isinstance(c, dict)]  # fmt: skip
        return {**message, **more}

    def _call(self, call: Any) -> Any:
        if not isinstance(call, dict):
            return call
        args = call.get("args", {})
        function = {
            "name": call.get("name"),
            "arguments": as_text(args) if isinstance(args, dict) else args,
        }
        name = call["id"] if isinstance(call.get("id"), str) else next(self._ids)
        return {
            "id": name,
            "type": "function",
            "function": function,
            **rest(call, "id", "name", "args"),
        }

    def _others(self, turn: Row, parts: list[Any]) -> Iterator[Row]:
        """The messages of another role's turn: one for each result, and one for the parts between two."""
        more = rest(turn, "role", "parts")
        pending: list[Any] = []
        for part in parts:
            result = _value(part, "functionResponse")
            if not isinstance(result, dict) or set(part) != {_key(part, "functionResponse")}:
                pending.append(part)
                continue
            if pending:
                yield {"role": _role(turn), "content": _read_content(pending), **more}
                pending = []
            yield {**self._result(result), **more}
        if pending or not parts:
            yield {"role": _role(turn), "content": _read_content(pending), **more}

    def _result(self, result: Row) -> Row:
        name, answer = result.get("name"), result.get("response")
        message: Row = {"role": "tool"}
        known = next((o for o in self._open if o[0] == result.get("id") or
                      ("id" not in result and o[1] == name)), None)  # fmt: skip
        if known is not None:
            self._open.remove(known)
            message["tool_call_id"] = known[0]
        if known is None or known[1] != name:
            message["name"] = name
        message["content"] = _text_of_response(answer)
        used = ("name", "response") if known is None else ("name", "response", "id")
        return {**message, **rest(result, *used)}


def _text_of_response(answer: Any) -> Any:
    if not isinstance(answer, dict):
        return answer
    if set(answer) == {"output"} and isinstance(answer["output"], str):
        return answer["output"]
    return as_text(answer)


def _role(turn: Any) -> Any:
    role = turn.get("role")
    return "assistant" if role == "model" else role


def _parts(turn: Any) -> list[Any] | None:
    parts = turn.get("parts") if isinstance(turn, dict) else None
    return parts if isinstance(parts, list) and all(isinstance(p, dict) for p in parts) else None


def _value(part: Row, camel: str) -> Any:
    return part.get(_key(part, camel))


def _is_thought(part: Row) -> bool:
    return (
        set(part) == {"text", "thought"}
        and part["thought"] is True
        and isinstance(part["text"], str)
    )


def _read_content(parts: Any) -> Any:
    return sole([_read_part(p) for p in parts]) if isinstance(parts, list) else parts


def _read_part(part: Any) -> Any:
    """A part as the canonical one; what has none stays, and the rules name it."""
    if not isinstance(part, dict) or len(part) != 1:
        return part
    key, value = next(iter(part.items()))
    if key == "text":
        return {"type": "text", "text": value}
    if not isinstance(value, dict):
        return part
    media = value.get(_key(value, "mimeType"))
    if not isinstance(media, str) or not media.startswith("image/") or len(value) != 2:
        return part
    if key in ("fileData", "file_data") and isinstance(
        url := value.get(_key(value, "fileUri")), str
    ):
        return image_part(url, media)
    if key in ("inlineData", "inline_data") and isinstance(value.get("data"), str):
        return image_part(f"data:{media};base64,{value['data']}", None)
    return part


def _read_tools(tools: Any) -> Any:
    if not isinstance(tools, list):
        return tools
    read: list[Any] = []
    for tool in tools:
        key = _key(tool, "functionDeclarations") if isinstance(tool, dict) else ""
        declared = tool.get(key) if isinstance(tool, dict) and set(tool) == {key} else None
        if isinstance(declared, list):
            read += [_read_declaration(d) for d in declared]
        else:
            read.append(tool)
    return read


def _read_declaration(declared: Any) -> Any:
    if not isinstance(declared, dict):
        return declared
    function = dict(declared)
    schema = _key(function, "parametersJsonSchema")
    if isinstance(function.get("parameters"), dict):
        function["parameters"] = json_schema(function["parameters"])
    elif "parameters" not in function and schema in function:
        function["parameters"] = function.pop(schema)
    return {"type": "function", "function": function}


# --- writing ---------------------------------------------------------------------------------


def write_gemini(row: Row) -> Written:
    """A canonical chat row as contents, or what they cannot carry."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        return [Hit("messages", f"{TITLE} needs a list of messages", messages)]
    hits = left_over(row, ("messages", "tools", *CARRIED), TITLE) + later_system(messages, TITLE)
    written: Row = {}
    system, turns = take_system(messages)
    first = len(messages) - len(turns)
    if first:
        hits += left_over(messages[0], ("role", "content"), TITLE, "messages[0].")
        parts = write_texts(system, "messages[0].content", TITLE, hits)
        written["systemInstruction"] = {"role": "system", "parts": parts}
    writer = _Writer(hits)
    for i, message in enumerate(turns, start=first):
        writer.add(f"messages[{i}]", message)
    written["contents"] = writer.contents
    if "tools" in row:
        written["tools"] = _write_tools(row["tools"], hits)
    return hits or {**written, **{k: row[k] for k in CARRIED if k in row}}


class _Writer:
    """Writes messages in order; results of one round of calls share a turn."""

    def __init__(self, hits: list[Hit]) -> None:
        self.contents: list[Row] = []
        self._hits = hits
        self._open: list[tuple[Any, Any]] = []
        self._results: Row | None = None

    def add(self, place: str, message: Any) -> None:
        role = message.get("role") if isinstance(message, dict) else None
        if role == "tool":
            self._tool(place, message)
            return
        self._results = None
        if role not in ("user", "assistant"):
            if role != "system":  # reported as a later system message
                self._hits.append(Hit(f"{place}.role", f"{TITLE} has no role {role!r}", role))
            return
        used = ("role", "content", "tool_calls") if role == "assistant" else ("role", "content")
        self._hits += left_over(message, used, TITLE, f"{place}.")
        calls = message.get("tool_calls")
        content = message.get("content")
        parts: list[Row] = []
        if not (calls and (content is None or content == "")):
            parts = _write_parts(content, f"{place}.content", self._hits)
        if calls is not None:
            parts += self._calls(f"{place}.tool_calls", calls)
        self.contents.append({"role": "model" if role == "assistant" else "user", "parts": parts})

    def _calls(self, place: str, calls: Any) -> list[Row]:
        if not isinstance(calls, list) or not calls:
            self._hits.append(Hit(place, f"{TITLE} supports function calls only", calls))
            return []
        self._open = []
        return [self._call(f"{place}[{j}]", call) for j, call in enumerate(calls)]

    def _call(self, place: str, call: Any) -> Row:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            self._hits.append(Hit(f"{place}.function", "the tool call names no function", call))
            return {}
        self._hits += left_over(call, ("id", "type", "function"), TITLE, f"{place}.")
        self._hits += left_over(function, ("name", "arguments"), TITLE, f"{place}.function.")
        args = as_object(function.get("arguments"))
        if args is None:
            self._hits.append(
                Hit(f"{place}.function.arguments", f"{TITLE} needs arguments that are a JSON object",
                    function.get("arguments"))
            )  # fmt: skip
        self._open.append((call.get("id"), function["name"]))
        return {"functionCall": {"name": function["name"], "args": args}}

    def _tool(self, place: str, message: Row) -> None:
        self._hits += left_over(
            message, ("role", "content", "tool_call_id", "name"), TITLE, f"{place}."
        )
        known = next((o for o in self._open if o[0] == message.get("tool_call_id")), None)
        if known is None:
            self._hits.append(Hit(f"{place}.tool_call_id", f"{TITLE} names the function of a result, and no open "
                                  "call has this id", message.get("tool_call_id")))  # fmt: skip
            return
        if next(o for o in self._open if o[1] == known[1]) is not known:
            self._hits.append(Hit(f"{place}.tool_call_id", f"{TITLE} pairs results of one function by their order, and "
                                  "this one comes before another's", known[0]))  # fmt: skip
        self._open.remove(known)
        if message.get("name", known[1]) != known[1]:
            self._hits.append(
                Hit(
                    f"{place}.name",
                    f"{TITLE} names the called function, {known[1]!r}",
                    message["name"],
                )
            )
        if not isinstance(message.get("content"), str):
            self._hits.append(
                Hit(
                    f"{place}.content",
                    f"{TITLE} supports results as text only",
                    message.get("content"),
                )
            )
            return
        part = {"functionResponse": {"name": known[1], "response": _response(message["content"])}}
        if self._results is None:
            self._results = {"role": "user", "parts": []}
            self.contents.append(self._results)
        self._results["parts"].append(part)


def _response(text: str) -> Row:
    """A result as the object that Gemini wants, from which `_text_of_response` reads the same."""
    value = same_object(text)
    if value is None or (set(value) == {"output"} and isinstance(value["output"], str)):
        return {"output": text}
    return value


def _write_parts(content: Any, place: str, hits: list[Hit]) -> list[Row]:
    if not isinstance(content, list) or not content:
        return write_texts(content, place, TITLE, hits)
    written = []
    for j, part in enumerate(content):
        at = f"{place}[{j}]"
        if is_text_part(part):
            written.append({"text": part["text"]})
            continue
        image = image_of(part, TITLE, at, hits)
        if image is None:
            continue
        if image.data is not None:
            written.append({"inlineData": {"mimeType": image.media_type, "data": image.data}})
        else:
            written.append({"fileData": {"mimeType": image.media_type, "fileUri": image.url}})
    return written


def _write_tools(tools: Any, hits: list[Hit]) -> list[Row]:
    declared = []
    for place, function in declared_functions(tools, TITLE, hits):
        written = dict(function)
        if "parameters" in function:
            written["parameters"] = openapi_schema(
                function["parameters"], f"{place}.parameters", TITLE, hits
            )
        declared.append(written)
    return [{"functionDeclarations": declared}] if declared else []
