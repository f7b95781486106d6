"""The commonest row, recognised fast: chat, role and text only, nothing that a rule could mind."""

from __future__ import annotations

from typing import Any

from ftsdk.dataset.rules_content import UNSEEN

__all__ = ["is_plain"]

_ROLES = frozenset(("system", "developer", "user", "assistant"))


_IN_TAGS = ("<|", "s>", "SYS>>", "_of_turn>", "\uff5c")


def _is_odd(content: str) -> bool:
    """Whether a text may hold a special token, a NUL or an unseen character: look closer."""
    return (
        ("<" in content and any(mark in content for mark in _IN_TAGS))
        or ("]" in content and ("INST]" in content or "OS]" in content))
        or "\x00" in content
        or (not content.isascii() and UNSEEN.search(content) is not None)
    )


def is_plain(raw: bytes, value: Any) -> bool:
    """True when no row rule can fire on `value`, and `raw` hides no duplicate key.

    `raw` is the record that `value` was read from. Every string token of a plain row is known, so
    the number of quotes is too: a dropped duplicate key would leave two more. A test holds that
    the full rules find nothing in a row that this function lets through.
    """
    if type(value) is not dict or len(value) != 1:
        return False
    messages = value.get("messages")
    if type(messages) is not list or not messages:
        return False
    quotes = 2
    previous = ""
    for message in messages:
        if type(message) is not dict or len(message) != 2:
            return False
        role = message.get("role")
        content = message.get("content")
        if type(content) is not str or type(role) is not str or role not in _ROLES:
            return False
        if role == previous or (role in ("system", "developer") and previous):
            return False
        if not content or content.isspace() or _is_odd(content):
            return False
        quotes += 8 + content.count('"')
        previous = role
    return (
        previous == "assistant"
        and len(messages) > 1
        and raw.count(b'"') == quotes
        and b"\\u0022" not in raw
    )
