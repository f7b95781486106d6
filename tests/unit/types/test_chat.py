"""Chat options: what is added, and what replaces or leaves out an option."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.cli.options import chat_options
from ftsdk.errors import UsageError
from ftsdk.types.chat import with_defaults


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {"temperature": 0, "max_tokens": 256}),
        ({"max_tokens": 5, "top_p": 1}, {"temperature": 0, "max_tokens": 5, "top_p": 1}),
        ({"max_completion_tokens": 5}, {"temperature": 0, "max_completion_tokens": 5}),
        ({"temperature": None, "seed": 1}, {"max_tokens": 256, "seed": 1}),
        ({"max_tokens": None}, {"temperature": 0}),
    ],
)
def test_an_answer_is_limited_once(given: dict[str, Any], sent: dict[str, Any]) -> None:
    assert with_defaults(given) == sent


def test_the_command_line_takes_one_limit() -> None:
    assert chat_options(["top_p=1"], None) == {"top_p": 1}
    assert chat_options(["top_p=1"], 9) == {"top_p": 1, "max_tokens": 9}
    assert chat_options(["max_completion_tokens=5"], None) == {"max_completion_tokens": 5}
    for name in ("max_tokens", "max_completion_tokens"):
        with pytest.raises(UsageError, match=f"--max-tokens and --set {name}"):
            chat_options([f"{name}=5"], 9)
