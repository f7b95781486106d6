"""A double of OpenAI that counts what it is paid for."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ftsdk.testing.lab.openai.double import OpenAIDouble


class Metered(OpenAIDouble):
    """Counts each answer that it is paid for: the model and the question."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.paid: Counter[tuple[str, str]] = Counter()

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        reply = super()._completion(body)
        self.paid[body["model"], body["messages"][-1]["content"]] += 1
        return reply
