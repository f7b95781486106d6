"""Replicate: trainings of any trainable model version."""

from __future__ import annotations

from ftsdk.backends.replicate.backend import ReplicateBackend

__all__ = ["ReplicateBackend"]
