"""A fast path for the most common rows: roles and texts in which no rule can find anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftsdk.dataset.formats.typed_rows import Pair, Said, Turn
from ftsdk.dataset.rules.content import UNSEEN
from ftsdk.dataset.rules.quality import BROKEN, MIN_LOOP, loops


def is_plain(raw: bytes, value: Any) -> bool:
    """True when no row rule can report anything in `value`, and `raw` has no duplicate key.

    `raw` is the record that `value` was read from. Every string token of a plain row is known, so
    the number of quotes is too: a dropped duplicate key would leave two more. A test checks that
    the full rules find nothing in a row that this function lets through.
    """
    if type(value) is not dict or len(value) != 1:
        return False
    messages = value.get("messages")
    if type(messages) is not list or len(messages) < 2:
        return False
    quotes = 2
    previous = before = ""
    for message in messages:
        if type(message) is not dict or len(message) != 2:
            return False
        role = message.get("role")
        content = message.get("content")
        if type(content) is not str or not content or content.isspace():
            return False
        if role == "user":
            if previous == "user":
                return False
        elif role == "assistant":
            if previous != "user":
                return False
        elif role != "system" or previous:
            return False
        # A possible special token, NUL or unseen character is left to the rules.
        if not content.isascii() and (
            UNSEEN.search(content) or "\uff5c" in content or BROKEN.search(content)
        ):
            return False
        if role == "assistant" and (
            content == before or (len(content) >= MIN_LOOP and loops(content))
        ):
            return False
        if '"' in content:
            quotes += content.count('"')
        quotes += 8
        previous, before = role, content
    # Searching one byte costs a quarter of searching two, so it comes first.
    return (
        previous == "assistant"
        and raw.count(b'"') == quotes
        and (b"|" not in raw or b"<|" not in raw)
        and (
            raw.count(b"]") == 1
            or (b"INST]" not in raw and b"OS]" not in raw and b"[INSERT" not in raw)
        )
        and (
            b">" not in raw
            or (b"s>" not in raw and b"SYS>>" not in raw and b"_of_turn>" not in raw)
        )
        and (raw.count(b"{") == len(messages) + 1 or b"{{" not in raw)
        and (b"&" not in raw or b";" not in raw)
        and (b"\\n" not in raw or (b"User" not in raw and b"Human" not in raw))
        and b"\\u00" not in raw  # an escape may hide any of these
    )


def is_sound(said: Said) -> bool:
    """True when no row rule can report anything in a row that says this.

    What a rule looks for in a text must have been looked for before, by `byte_signs.rows_with_signs`.
    """
    if type(said) is tuple:
        asked, answer = said
        return (
            asked != answer
            and bool(asked and answer)
            and not (asked.isspace() or answer.isspace())
            and (len(answer) < MIN_LOOP or not loops(answer))
        )
    if type(said) is list:
        return _is_conversation(said)
    if isinstance(said, Pair):
        texts = (said.chosen, said.rejected, *(text for _, text in said.asked))
        is_whole = bool(said.asked) and said.chosen != said.rejected
        return is_whole and all(map(_has_text, texts)) and not loops(said.chosen)
    return isinstance(said, str) and _has_text(said) and not loops(said)


def _has_text(text: str) -> bool:
    return bool(text) and not text.isspace()


def _is_conversation(turns: Sequence[Turn]) -> bool:
    """Whether questions and sound answers alternate, after at most one system text."""
    previous = before = ""
    for role, text in turns:
        if not text or text.isspace():
            return False
        if role == "assistant":
            if previous != "user" or text == before or loops(text):
                return False
        elif role == previous or (role == "system" and previous):
            return False
        previous, before = role, text
    return previous == "assistant"
