"""Datasets: what a file contains, what a provider accepts, and what a model is shown.

The names below are loaded when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftsdk.dataset.codes import RULES, Rule
    from ftsdk.dataset.conversion.convert import convert
    from ftsdk.dataset.dataset import Dataset, inspect
    from ftsdk.dataset.findings.finding import Fault
    from ftsdk.dataset.findings.report import DatasetReport
    from ftsdk.dataset.inspection.report import InspectionReport
    from ftsdk.dataset.inspection.report import InspectionReport as Xray  # noqa: F401  # its old name
    from ftsdk.dataset.provider_limits import Limits
    from ftsdk.dataset.validation.fix import FixReport, fix
    from ftsdk.dataset.validation.validate import validate, validate_for_job

__all__ = [
    "RULES",
    "Dataset",
    "DatasetReport",
    "Fault",
    "FixReport",
    "InspectionReport",
    "Limits",
    "Rule",
    "convert",
    "fix",
    "inspect",
    "validate",
    "validate_for_job",
]

_MODULES = {
    "RULES": "codes",
    "Rule": "codes",
    "convert": "conversion.convert",
    "Dataset": "dataset",
    "inspect": "dataset",
    "Fault": "findings.finding",
    "DatasetReport": "findings.report",
    "InspectionReport": "inspection.report",
    "Limits": "provider_limits",
    "FixReport": "validation.fix",
    "fix": "validation.fix",
    "validate": "validation.validate",
    "validate_for_job": "validation.validate",
}
_OLD_NAMES = {"Xray": "InspectionReport"}


def __getattr__(name: str) -> Any:
    name = _OLD_NAMES.get(name, name)
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
