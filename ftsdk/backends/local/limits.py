"""The dataset limits of the local trainer."""

from __future__ import annotations

from ftsdk.dataset.provider_limits import OPENAI_ROLES, Limits

LIMITS = Limits(
    "local", "this machine",
    {
        "sft": frozenset(("chat", "text")),
        "dpo": frozenset(("preference",)),
        "orpo": frozenset(("preference",)),
        "kto": frozenset(("chat",)),  # each with its label
    },
    "ftsdk's own trainer",
    refuses_long_rows=True,
    cuts_text=True,
    features=frozenset(("name", "weight", "tools", "reasoning", "parallel_tool_calls", "extra")),
    roles=OPENAI_ROLES,
)  # fmt: skip
