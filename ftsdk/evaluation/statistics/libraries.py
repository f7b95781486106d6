"""numpy and scipy, loaded at first use: they are the extra `eval`."""

from __future__ import annotations

import importlib
from typing import Any

from ftsdk.errors import MissingExtra


def load(module: str) -> Any:
    """Import and return a module of the extra `eval`. Raises `MissingExtra` where it is absent."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"Comparing models needs {module.partition('.')[0]}, which cannot be imported",
            where=str(error),
            hint="pip install 'ftsdk[eval]'",
        ) from error


def numpy() -> Any:
    """Return numpy."""
    return load("numpy")


def stats() -> Any:
    """Return `scipy.stats`."""
    return load("scipy.stats")
