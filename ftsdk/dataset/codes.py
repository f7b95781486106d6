"""All codes: importing this module registers every rule of the package."""

from __future__ import annotations

from ftsdk.dataset.conversion import convert
from ftsdk.dataset.findings.registry import RULES, Rule
from ftsdk.dataset.inspection import inspect_rows
from ftsdk.dataset.rules import (
    chat,
    content,
    duplicates,
    file,
    language,
    near_duplicates,
    outliers,
    preference,
    provider,
    quality,
    secrets,
    token_counts,
    tokenized,
    tools,
)

__all__ = ["RULES", "Rule"]

_REGISTERED = (
    convert, secrets, language, inspect_rows, near_duplicates, duplicates, file, chat, content, preference,
    provider, quality, tokenized, tools, outliers, token_counts,
)  # fmt: skip
