"""Which keys mean nothing: none that a format, the reading of columns or a rule looks at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ftsdk.dataset
from ftsdk.dataset.formats.columns import ANSWERED, ASKED, STANDARD
from ftsdk.dataset.rules.extra_keys import extra_keys, means_nothing, strings_in

LOOKS_AT = re.compile(
    r'\brow\.get\("(\w+)"|"(\w+)" (?:not )?in (?:row|names|value)\b|\brow\["(\w+)"\]|_key\(row, "(\w+)"\)'
)
WITHIN = {"role", "from", "content", "name", "function", "arguments", "input_schema"}
"""Keys of messages, calls and tools."""


def keys_in_the_source() -> Iterator[str]:
    """Every key of a row that a format or a rule names in its source."""
    for room in ("formats", "rules"):
        for path in (Path(ftsdk.dataset.__file__).parent / room).glob("*.py"):
            for groups in LOOKS_AT.findall(path.read_text("utf-8")):
                yield from filter(None, groups)


def test_no_key_that_is_looked_at_means_nothing() -> None:
    found = set(keys_in_the_source())
    assert {"messages", "schemaVersion", "query", "systemInstruction", "text"} <= found
    assert {key for key in found - WITHIN if means_nothing(key)} == set()


@pytest.mark.parametrize("key", [*sorted(STANDARD), *ASKED, *ANSWERED, "train", "thought", "system_instruction",
                                 "Messages", "ID ", "a.b", "messages[0]", "", "naïve", "Unnamed: 0",
                                 "__index_level_0__", "x" * 41])  # fmt: skip
def test_keys_that_may_mean_something(key: str) -> None:
    assert not means_nothing(key)


@pytest.mark.parametrize("key", ["id", "ID", "source", "meta", "metadata", "prompt_id", "mesages"])
def test_keys_that_mean_nothing(key: str) -> None:
    assert means_nothing(key)


def test_columns_of_questions_mean_nothing_beside_messages() -> None:
    assert means_nothing("prompt", beside_turns=True)
    assert not means_nothing("Prompt", beside_turns=True)
    assert not means_nothing("completion", beside_turns=True)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"b": 1, "text": "x", "a": [2]}', {"b": 1, "a": [2]}),
        (b'{"text": "x"}', None),
        (b'{"text": "x", "label": true}', None),
        (b'{"text": "x", "id": 1, "id": 1}', None),
        (b'{"text": "x", "id": {"a": 1, "a": 1}}', None),
        (b'{"text": "x", "id": 123456789012345678901234567890}', None),
        (b'{"text": "x", "id": 18446744073709551615}', {"id": 2**64 - 1}),
        (b'{"text": "x", "id": [18446744073709551616]}', None),
        (b'{"text": "x", "id": 1e300}', {"id": 1e300}),
        (
            b'{"text": "x", "id": ' + b"[" * 63 + b"]" * 63 + b"}",
            {"id": json.loads("[" * 63 + "]" * 63)},
        ),
        (b'{"text": "x", "id": ' + b"[" * 64 + b"]" * 64 + b"}", None),
        (b'{"text": "x", "id": ' + b"[" * 500 + b"]" * 500 + b"}", None),
        (b'{"text": "x", "id": {"' + b"k" * 1025 + b'": 1}}', None),
        (b'{"text": "x", ' + b", ".join(b'"k%d": 1' % n for n in range(300)) + b"}", None),
        (b'{"text": "x", "id": "\xff"}', None),
        (b'{"text": "x", "id": NaN}', None),
    ],
)
def test_extra_keys_are_in_the_order_of_the_record(raw: bytes, expected: Any) -> None:
    found = extra_keys(raw, frozenset(("text",)), raw.count(b'"') - 4)
    assert found == expected
    assert found is None or list(found) == list(expected)


def test_a_text_that_is_read_as_json_is_no_extra_key() -> None:
    own = frozenset(("messages",))
    assert extra_keys(b'{"messages": [], "prompt": "Why?"}', own, 4) == {"prompt": "Why?"}
    assert extra_keys(b'{"messages": [], "prompt": "[{\\"role\\": 1}]"}', own, 6) is None


def test_strings_in() -> None:
    assert set(strings_in({"a": ["b", {"c": "d"}, 1, None]})) == {"a", "b", "c", "d"}
