"""OpenAI, and the services that speak its fine-tuning API: Azure, Nebius, Crusoe, any base URL."""

from __future__ import annotations

from ftsdk.backends.openai.backend import (
    AzureBackend,
    CrusoeBackend,
    NebiusBackend,
    OpenAIBackend,
)

__all__ = ["AzureBackend", "CrusoeBackend", "NebiusBackend", "OpenAIBackend"]
