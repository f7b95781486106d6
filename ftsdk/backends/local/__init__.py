"""Fine-tuning on this machine. Importing it loads no torch; only the trainer and `chat` do."""

from __future__ import annotations

from ftsdk.backends.local.backend import LocalBackend

__all__ = ["LocalBackend"]
