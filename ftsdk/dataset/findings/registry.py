"""The rule table: every code with its severity, title, hint and page; and how a rule is written.

A rule is one function that takes a canonical row (others look at the whole set) and yields hits. Its
docstring is its page in the documentation: the first line is the title.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ftsdk.dataset.findings.finding import Fault, Hit, Severity, short
from ftsdk.dataset.findings.secret_patterns import scan_text

RowCheck = Callable[[dict[str, Any]], Iterator[Hit]]


@dataclass(frozen=True)
class Rule:
    """One stable code. `check` is set for rules over a single row; other codes are reported elsewhere."""

    code: str
    severity: Severity
    title: str
    hint: str
    page: str = ""
    check: RowCheck | None = None
    shape: str = "chat"
    fixable: bool = False


RULES: dict[str, Rule] = {}
"""Every code, in order of code once all rule modules are loaded."""


def row_rule(
    code: str,
    severity: Severity,
    hint: str,
    *,
    shape: str = "chat",
    fixable: bool = False,
) -> Callable[[RowCheck], RowCheck]:
    """Register a rule over one canonical row of `shape`."""

    def register(check: RowCheck) -> RowCheck:
        title, _, page = inspect.cleandoc(check.__doc__ or "").partition("\n")
        _put(
            Rule(
                code,
                severity,
                title.rstrip("."),
                hint,
                page.strip(),
                check,
                shape,
                fixable,
            )
        )
        return check

    return register


def note(
    code: str,
    severity: Severity,
    title: str,
    hint: str,
    page: str = "",
    *,
    fixable: bool = False,
) -> Rule:
    """Register a code that another part of the package reports (the reader, the duplicates, …)."""
    return _put(Rule(code, severity, title, hint, inspect.cleandoc(page), fixable=fixable))


def _put(rule: Rule) -> Rule:
    if rule.code in RULES:
        raise ValueError(f"the code {rule.code} is taken")
    RULES[rule.code] = rule
    return rule


def fault_of(code: str, line: int, hit: Hit, *, offset: int | None = None) -> Fault:
    """A finding of a registered code."""
    rule = RULES[code]
    return Fault(
        code=code,
        severity=rule.severity,
        line=line,
        offset=offset,
        field=hit.field,
        message=hit.message,
        hint=_drop_hint(rule.hint, hit.field) if hit.droppable else rule.hint,
        value="" if hit.value is None else shown(hit.value),
    )


def _drop_hint(hint: str, field: str) -> str:
    """A hint with the option that leaves the key at a field path out."""
    path = re.sub(r"\[\d+\]", "", field)
    return hint if not path or re.search(r"[\s,'\"]", path) else f"{hint}: --drop {path}"


def shown(value: Any) -> str:
    """A value as one short line; a value that may have a secret is hidden."""
    text = value if isinstance(value, str) else repr(value)
    if "…" not in text and any(True for _ in scan_text(text[:4096])):
        return "(hidden: it looks like a secret or personal data)"
    return short(value)
