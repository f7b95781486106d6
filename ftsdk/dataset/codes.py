"""All codes: importing this module registers every rule, wherever it is written."""

from __future__ import annotations

from ftsdk.dataset import (
    converting,
    findings,
    languages,
    looking,
    near,
    repeats,
    rules_bytes,
    rules_chat,
    rules_content,
    rules_preference,
    rules_provider,
    rules_tokens,
    rules_tools,
    tallies,
    tokens,
)
from ftsdk.dataset.rules import RULES, Rule

__all__ = ["RULES", "Rule"]

_REGISTERED = (
    converting, findings, languages, looking, near, repeats, rules_bytes, rules_chat, rules_content, rules_preference,
    rules_provider, rules_tokens, rules_tools, tallies, tokens,
)  # fmt: skip
