"""Messages in the shape that one chat template reads: tool arguments, content parts, reasoning.

Templates disagree on whether a tool call's arguments are a JSON string or a mapping, and on whether
content is text or a list of parts. The wrong choice is silent in many of them: arguments are
escaped twice, or lost. So each template is tried once with a probe message that it must render correctly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.dataset.tokenize.chat_template import ChatTokenizer, TemplateFailed

REASONING = ("reasoning_content", "thinking", "reasoning")
"""The keys of a message's reasoning; the first is the usual one."""

_WORD = "ftsdkprobe"
_ARGUMENTS = {"ftsdkprobe": "Oslo"}
_TOOL = {"type": "function", "function": {
    "name": "other", "description": "", "parameters": {"type": "object", "properties": {}}}}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Style:
    """The form in which a template expects messages.

    `parts`: content as a list of parts. `mapping`: tool arguments as a mapping; None when the
    template renders tool calls correctly in neither form. `null`: it renders them only when the
    content is null; otherwise missing content becomes an empty text, as many templates would
    write "None". `both`: it also writes the calls of a message that has text.
    """

    parts: bool
    mapping: bool | None
    null: bool
    both: bool


def style_of(tokenizer: ChatTokenizer, *, with_tools: bool = False) -> Style:
    """The style of a tokenizer's template, found once by trying it.

    `with_tools` uses the template for conversations with tools, where the model has one.
    """
    separate = with_tools and tokenizer.tools_template is not None
    key = "tools_style" if separate else "style"
    known: Style | None = tokenizer._compiled.get(key)
    if known is None:
        tools = [_TOOL] if separate else None
        parts = not _says(tokenizer, _user(_WORD), tools) and _says(
            tokenizer, _user([{"type": "text", "text": _WORD}]), tools
        )
        known = tokenizer._compiled[key] = _style(tokenizer, tools, parts=parts)
    return known


def fit_messages(
    messages: Sequence[Mapping[str, Any]],
    tokenizer: ChatTokenizer,
    *,
    tools: Sequence[Any] | None = None,
) -> list[dict[str, Any]]:
    """Canonical messages in the form that the template reads, without the keys of training.

    Raises `TemplateFailed` when there are tool calls and the template cannot write them.
    """
    style = style_of(tokenizer, with_tools=bool(tools))
    return [_fit(message, style) for message in messages]


def _fit(message: Mapping[str, Any], style: Style) -> dict[str, Any]:
    fitted = {k: v for k, v in message.items() if k != "weight"}
    reasoning = next((fitted[key] for key in REASONING if fitted.get(key) is not None), None)
    if reasoning is not None:  # templates read either name
        fitted = {"thinking": reasoning, **fitted, "reasoning_content": reasoning}
    content, calls = fitted.get("content"), fitted.get("tool_calls")
    if isinstance(calls, list) and calls:
        if style.mapping is None:
            why = "it has no place for tool calls, or writes their arguments twice"
            raise TemplateFailed(why)
        if content and not style.both:
            raise TemplateFailed("it drops the tool calls of a message that also has text")
        fitted["tool_calls"] = [_fit_call(call, mapping=style.mapping) for call in calls]
        if style.null and not content:
            return {**fitted, "content": None}
    if content is None:
        fitted["content"] = content = ""
    if style.parts and isinstance(content, str):
        fitted["content"] = [{"type": "text", "text": content}]
    elif not style.parts and isinstance(content, list) and all(_is_text(p) for p in content):
        fitted["content"] = "".join(p["text"] for p in content)
    return fitted


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, Mapping)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
    )


def _fit_call(call: Any, *, mapping: bool) -> Any:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return call
    arguments = function.get("arguments")
    if mapping and isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError as error:
            why = f"tool arguments are not JSON: {error.msg}"
            raise TemplateFailed(why) from error
    elif not mapping and isinstance(arguments, Mapping):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {**call, "function": {**function, "arguments": arguments}}


def _user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def _says(
    tokenizer: ChatTokenizer, messages: list[dict[str, Any]], tools: list[Any] | None
) -> bool:
    try:
        text, _ = tokenizer.render(messages, tools=tools)
    except TemplateFailed:
        return False
    return _WORD in text


def _style(tokenizer: ChatTokenizer, tools: list[Any] | None, *, parts: bool) -> Style:
    """The first form in which the template renders a call correctly.

    Arguments as a mapping are tried first, as most templates write them as JSON.
    """
    empty: Any = [{"type": "text", "text": ""}] if parts else ""
    said: Any = [{"type": "text", "text": "hi"}] if parts else "hi"
    for content in (empty, None):
        for mapping in (True, False):
            if _calls(tokenizer, tools, said, content, mapping=mapping):
                both = _calls(tokenizer, tools, said, said, mapping=mapping)
                return Style(parts, mapping, null=content is None, both=both)
    return Style(parts, None, null=False, both=False)


def _calls(
    tokenizer: ChatTokenizer, tools: list[Any] | None, asked: Any, content: Any, *, mapping: bool
) -> bool:
    """Whether a call with these arguments, in a message of this content, is written rightly."""
    arguments: Any = _ARGUMENTS if mapping else json.dumps(_ARGUMENTS)
    function = {"name": "probe_function", "arguments": arguments}
    call = {"id": "call12345", "type": "function", "function": function}
    answer = {"role": "assistant", "content": content, "tool_calls": [call]}
    try:
        text, _ = tokenizer.render([*_user(asked), answer], tools=tools)
    except TemplateFailed:
        return False
    return _WORD in text and f'\\"{_WORD}' not in text and "probe_function" in text
