"""The durable memory of jobs. Only this room knows SQL."""

from __future__ import annotations

from ftsdk.store.journal import Journal, KeyTaken, Move

__all__ = ["Journal", "KeyTaken", "Move"]
