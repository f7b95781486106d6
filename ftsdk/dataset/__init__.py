"""Dataset truth: what is in the file, what a provider will accept, what the model will learn.

Importing this package loads what a job needs to name its rows; the rules, the X-ray and the writers
are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ftsdk.dataset.dataset import Dataset
from ftsdk.dataset.findings.report import DatasetReport, Fault
from ftsdk.dataset.validation.validate import validate

if TYPE_CHECKING:
    from ftsdk.dataset.codes import RULES, Rule
    from ftsdk.dataset.conversion.convert import convert
    from ftsdk.dataset.inspection.inspect_rows import inspect
    from ftsdk.dataset.inspection.report import Xray
    from ftsdk.dataset.validation.fix import FixReport, fix

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
    "convert": "conversion.convert",
    "FixReport": "validation.fix",
    "fix": "validation.fix",
    "Xray": "inspection.report",
    "inspect": "inspection.inspect_rows",
}


def __getattr__(name: str) -> Any:
    module = _LATE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
