"""Validation without a short way: every row is read in full, held against every rule, and searched."""

from __future__ import annotations

import pytest

from ftsdk.dataset import reader
from ftsdk.dataset.findings.secret_patterns import Allowed
from ftsdk.dataset.formats.typed_rows import TypedForm
from ftsdk.dataset.readers.lines import Block
from ftsdk.dataset.rules.tool_rows import ToolRows
from ftsdk.dataset.validation import checker
from ftsdk.dataset.validation.plain_rows import Looked


def look_at_nothing(
    block: Block, _form: TypedForm | None, _allowed: Allowed, _tool_rows: ToolRows | None
) -> Looked:
    """What a look finds that has seen nothing."""
    rows = list(range(len(block.rows)))
    return Looked(block.rows, [None] * len(rows), rows, lambda _number, _raw: True, {}, [])


def take_no_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on no row is known to break no rule before it was held against all of them."""
    monkeypatch.setattr(reader, "is_plain", lambda _raw, _row: False)
    monkeypatch.setattr(checker, "look", look_at_nothing)
