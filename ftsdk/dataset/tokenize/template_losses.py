"""What a chat template leaves out of training: the end of an answer, and its reasoning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.dataset.row import OUTPUTS
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer, TemplateFailed
from ftsdk.dataset.tokenize.message_adapter import REASONING, fit_messages
from ftsdk.dataset.tokenize.render import RowFault, render_row


def trains_no_stop(tokenizer: ChatTokenizer) -> bool:
    """Whether the last trained token of an answer is an ordinary one, so that nothing ends it.

    False as well when the template cannot render the probe.
    """
    probe = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    try:
        rendered = render_row({"messages": probe}, tokenizer)
    except RowFault:
        return False
    last = rendered.ids[rendered.trained.rindex(1)]
    return last not in tokenizer.special_ids and last != tokenizer.eos_id


def drops_reasoning(row: Mapping[str, Any], tokenizer: ChatTokenizer) -> bool:
    """Whether the reasoning of some trained answer of a canonical row is not in its rendered text."""
    if "messages" in row:
        return _drops(row["messages"], row.get("tools"), tokenizer, first=0)
    prompt = row.get("input")
    if not isinstance(prompt, Mapping) or "messages" not in prompt:
        return False
    asked = list(prompt["messages"])
    answers = (list(row.get(key) or ()) for key in OUTPUTS)
    return any(
        _drops([*asked, *answer], prompt.get("tools"), tokenizer, first=len(asked))
        for answer in answers
    )


def _drops(messages: Any, tools: Any, tokenizer: ChatTokenizer, *, first: int) -> bool:
    """Whether the reasoning of a trained answer from message `first` on is dropped."""
    for index, message in enumerate(messages):
        reasoning = _reasoning(message)
        if index < first or not reasoning or message.get("weight", 1) == 0:
            continue
        try:
            clean = fit_messages(messages, tokenizer, tools=tools)
            text, marked = tokenizer.render(clean, tools=tools)
            if not marked:  # an answer may be trained alone, without those after it
                text, _ = tokenizer.render(clean[: index + 1], tools=tools)
        except TemplateFailed:
            return False  # reported as such
        if reasoning not in text:
            return True
    return False


def _reasoning(message: Mapping[str, Any]) -> str:
    if message.get("role") != "assistant":
        return ""
    found = next((message[key] for key in REASONING if message.get(key) is not None), "")
    return found.strip() if isinstance(found, str) else ""
