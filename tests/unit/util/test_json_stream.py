"""JSON that is written piece by piece is the JSON that is written at once."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ftsdk.util.json_stream import Streamed, json_blocks


def test_the_document_is_the_same() -> None:
    rows = [{"text": "ä\n" * 100, "score": 0.5, "none": None}] * 2000
    document = {"name": "x", "rows": rows, "empty": [], "after": [1, [2]]}
    streamed = {**document, "rows": Streamed(lambda: iter(rows)), "empty": Streamed(tuple)}
    blocks = list(json_blocks(streamed))
    assert b"".join(blocks).decode() == json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    assert len(blocks) > 5


def test_values_are_made_when_they_are_written() -> None:
    made = list[int]()

    def rows() -> Iterator[dict[str, str]]:
        for number in range(1000):
            made.append(number)
            yield {"text": "x" * 1000}

    blocks = json_blocks({"rows": Streamed(rows)})
    next(blocks)
    assert 0 < len(made) < 200
