"""Providers behind one abstract class. Importing this loads no provider's SDK and no torch."""

from __future__ import annotations

from ftsdk.backends.base import Backend, Context, SubmitRequest
from ftsdk.backends.capabilities import Capabilities, FindBy, Range
from ftsdk.backends.registry import GROUP, backend_names, load_backend

__all__ = [
    "GROUP",
    "Backend",
    "Capabilities",
    "Context",
    "FindBy",
    "Range",
    "SubmitRequest",
    "backend_names",
    "load_backend",
]
