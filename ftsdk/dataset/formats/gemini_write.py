"""Gemini contents written from the canonical row; `wire_gemini` reads them and tells the shape."""

from __future__ import annotations

from typing import Any

from ftsdk.dataset.findings.registry import Hit
from ftsdk.dataset.formats.gemini import CARRIED, TITLE
from ftsdk.dataset.formats.openapi_schema import openapi_schema
from ftsdk.dataset.formats.shared import (
    Row,
    Written,
    as_object,
    declared_functions,
    image_of,
    is_text_part,
    later_system,
    left_over,
    same_object,
    take_system,
    write_texts,
)  # fmt: skip

__all__ = ["write_gemini"]


def write_gemini(row: Row) -> Written:
    """A canonical chat row as contents, or what they cannot carry."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        return [Hit("messages", f"{TITLE} holds a list of messages", messages)]
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
            if role != "system":  # told as a later system message
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
            self._hits.append(Hit(place, f"{TITLE} holds calls of functions only", calls))
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
                Hit(f"{place}.function.arguments", f"{TITLE} holds arguments that are a JSON object",
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
                                  "this one stands before another's", known[0]))  # fmt: skip
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
                    f"{TITLE} holds results as text only",
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
