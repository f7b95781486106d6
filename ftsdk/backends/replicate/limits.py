"""The dataset limits of Replicate's language trainers."""

from __future__ import annotations

from ftsdk.dataset.provider_limits import Limits

LIMITS = Limits(
    "replicate", "Replicate", {"sft": frozenset(("chat", "text"))},
    "each trainer has its own schema; the known language trainers read text or prompt/completion",
    writes={"chat": "completion", "text": "text"},
    roles=frozenset(("user", "assistant")),
)  # fmt: skip
