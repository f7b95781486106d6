"""Choices of a simulated chat: cut off, refused, filtered, with tools, log probabilities, several.

A marker in the last message decides what becomes of a request: `[[refuse]]` (the model declines),
`[[filter]]` (a filter stops the answer), `[[tool]]` (the first tool is called). An answer with
more words than `max_tokens` is cut off; a word counts as a token.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

REFUSE, FILTER, TOOL = "[[refuse]]", "[[filter]]", "[[tool]]"
REFUSAL = "I'm sorry, but I can't help with that."
_MOST_LOGPROBS = 20


def choices_of(body: Mapping[str, Any], text: str, *, variant: int = 0) -> list[dict[str, Any]]:
    """Return the choices for a request whose usual answer is `text`.

    `variant` differs between repeats of a request whose answers should differ. So do several
    choices at a temperature above 0.
    """
    number = int(body.get("n") or 1)
    varied = bool(body.get("temperature"))
    return [
        {"index": index, **_choice(body, _varied(text, variant + (index if varied else 0)))}
        for index in range(number)
    ]


def _varied(text: str, variant: int) -> str:
    return f"{text} ({variant})" if variant else text


def _choice(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    asked = last_text(body["messages"])
    if REFUSE in asked:
        return _answered("stop", None, refusal=REFUSAL)
    if FILTER in asked:
        return _answered("content_filter", None)
    call = _tool_call(body, asked)
    if call is not None:
        return {**_answered("tool_calls", None), **_message(None, tool_calls=[call])}
    words = text.split(" ")
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    is_cut = isinstance(most, int) and len(words) > most
    given = " ".join(words[:most]) if is_cut else text
    found = _answered("length" if is_cut else "stop", given)
    if body.get("logprobs"):
        found["logprobs"] = {"content": _logprobs(given, int(body.get("top_logprobs") or 0))}
    return found


def _message(content: str | None, **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, "refusal": None, **more}}


def _answered(reason: str, content: str | None, *, refusal: str | None = None) -> dict[str, Any]:
    return {
        **_message(content, refusal=refusal),
        "logprobs": None,
        "finish_reason": reason,
    }


def last_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last message."""
    content = messages[-1].get("content")
    return content if isinstance(content, str) else json.dumps(content or "")


def _tool_call(body: Mapping[str, Any], asked: str) -> dict[str, Any] | None:
    """Return a call of the tool that is wanted; its arguments have the spaces a model may write."""
    tools, choice = body.get("tools") or [], body.get("tool_choice")
    if not tools or choice == "none" or not (TOOL in asked or choice not in (None, "auto")):
        return None
    named = choice["function"]["name"] if isinstance(choice, Mapping) else None
    functions = [one["function"] for one in tools if one.get("type", "function") == "function"]
    function = next((one for one in functions if named in (None, one["name"])), None)
    if function is None:
        return None
    properties = (function.get("parameters") or {}).get("properties") or {}
    arguments = {name: _value(schema, asked) for name, schema in properties.items()}
    digest = hashlib.sha256(asked.encode()).hexdigest()
    text = json.dumps(arguments, separators=(", ", ": "))
    function_call = {"name": function["name"], "arguments": text}
    return {"id": f"call_{digest[:24]}", "type": "function", "function": function_call}


def _value(schema: Mapping[str, Any], asked: str) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    usual = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    return usual.get(str(schema.get("type")), asked[:40])


def _logprobs(text: str, top: int) -> list[dict[str, Any]]:
    return [_logprob(word, min(top, _MOST_LOGPROBS)) for word in text.split(" ")]


def _logprob(word: str, top: int) -> dict[str, Any]:
    share = int(hashlib.sha256(word.encode()).hexdigest()[:4], 16) / 0xFFFF
    likely = math.log(0.5 + 0.49 * share)
    others = [
        {"token": f"{word}~{rank}", "logprob": likely - rank, "bytes": None}
        for rank in range(1, top)
    ]
    first = {"token": word, "logprob": likely, "bytes": list(word.encode())}
    return {**first, "top_logprobs": [first, *others] if top else []}


def usage_of(prompt_tokens: int, choices: Sequence[Mapping[str, Any]], cached: int) -> Any:
    """Return the usage of a completion, with its details."""
    made = sum(_words(choice["message"]) for choice in choices)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": made,
        "total_tokens": prompt_tokens + made,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _words(message: Mapping[str, Any]) -> int:
    text = message.get("content") or message.get("refusal") or ""
    calls = message.get("tool_calls") or []
    return len((text + "".join(one["function"]["arguments"] for one in calls)).split())
