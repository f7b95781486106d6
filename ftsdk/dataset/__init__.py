"""Dataset truth: what is in the file, what a provider will accept, what the model will learn.

Importing this package loads what a job needs to name its rows; the rules, the X-ray and the writers
are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ftsdk.dataset.check import validate
from ftsdk.dataset.dataset import Dataset
from ftsdk.dataset.report import DatasetReport, Fault

if TYPE_CHECKING:
    from ftsdk.dataset.codes import RULES, Rule
    from ftsdk.dataset.converting import convert
    from ftsdk.dataset.fixing import FixReport, fix
    from ftsdk.dataset.looking import inspect
    from ftsdk.dataset.xray import Xray

__all__ = [
    "RULES",
    "Dataset",
    "DatasetReport",
    "Fault",
    "FixReport",
    "Rule",
    "Xray",
    "convert",
    "fix",
    "inspect",
    "validate",
]

_LATE = {
    "RULES": "codes",
    "Rule": "codes",
    "convert": "converting",
    "FixReport": "fixing",
    "fix": "fixing",
    "Xray": "xray",
    "inspect": "looking",
}


def __getattr__(name: str) -> Any:
    module = _LATE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
