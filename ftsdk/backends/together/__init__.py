"""Together AI: managed fine-tuning with LoRA or all weights, SFT or DPO."""

from __future__ import annotations

from ftsdk.backends.together.backend import TogetherBackend

__all__ = ["TogetherBackend"]
