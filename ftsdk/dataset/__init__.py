"""Dataset truth: what is in the file, what a provider will accept, what the model will learn."""

from __future__ import annotations

from ftsdk.dataset import (
    rules_bytes,
    rules_chat,
    rules_content,
    rules_preference,
    rules_provider,
    rules_tools,
)
from ftsdk.dataset.check import validate
from ftsdk.dataset.convert import convert
from ftsdk.dataset.dataset import Dataset
from ftsdk.dataset.fix import FixReport, fix
from ftsdk.dataset.report import DatasetReport, Fault
from ftsdk.dataset.rules import RULES, Rule
from ftsdk.dataset.xray import Xray, inspect

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

_REGISTERED = (
    rules_bytes,
    rules_chat,
    rules_content,
    rules_preference,
    rules_provider,
    rules_tools,
)
