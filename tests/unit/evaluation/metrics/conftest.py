"""Rows and answers for the tests of metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ftsdk.types.answer import ChatAnswer


def row_of(reference: Any, *, question: str = "?", **keys: Any) -> dict[str, Any]:
    message = (
        reference if isinstance(reference, dict) else {"role": "assistant", "content": reference}
    )
    return {"messages": [{"role": "user", "content": question}, message], **keys}


def answer_of(text: str = "", **keys: Any) -> ChatAnswer:
    message = keys.pop("message", {"role": "assistant", "content": text})
    return ChatAnswer(text=text, message=message, **keys)


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    return row_of


@pytest.fixture
def answer() -> Callable[..., ChatAnswer]:
    return answer_of
