"""Rows are sliced by label, length, language, a key, or a function."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("scipy", reason="statistics need the extra `eval`")

from ftsdk.errors import UsageError
from ftsdk.evaluation.slices import slices_of


def row(question: str = "?", answer: str = "yes", **keys: Any) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": "x" * 500},
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]
    return {"messages": messages, **keys}


def names(rows: list[dict[str, Any]], *by: Any) -> dict[str, int]:
    return {one.name: len(one.rows) for one in slices_of(rows, by)}


def test_by_label_the_largest_first() -> None:
    rows = [row(answer="a")] * 12 + [row(answer="b")] * 20 + [row(answer="rare")] * 9
    assert names(rows, "label") == {"label=b": 20, "label=a": 12}
    assert slices_of(rows, ["label"])[1].rows == tuple(range(12))


def test_by_length_of_what_is_asked() -> None:
    rows = [row("x" * n) for n in range(1, 91)]
    found = names(rows, "length")
    assert list(found.values()) == [30, 30, 30]
    assert set(found) == {"length=up to 30 characters", "length=31 to 60 characters",
                          "length=over 60 characters"}  # fmt: skip
    assert names([row("xx")] * 20, "length") == {"length=2 characters": 20}


def test_by_language_or_script() -> None:
    german = "Wie kann ich die Karte sperren, wenn sie mir auf der Reise gestohlen wurde und ich kein Telefon habe?"
    english = "How do I block my card if it was stolen on a trip and there is no phone that I can use for this?"
    rows = (
        [row(german)] * 10
        + [row(english)] * 11
        + [row("今天天气很好")] * 12
        + [row("カードをなくした")] * 13
    )
    assert names(rows, "language") == {
        "language=Japanese": 13, "language=Han": 12, "language=English": 11, "language=German": 10,
    }  # fmt: skip


def test_by_a_key_of_the_row_or_of_its_metadata() -> None:
    rows = [row(tag="new")] * 10 + [row(metadata={"tag": ["new", "hard"]})] * 15 + [row()] * 5
    assert names(rows, "tag") == {"tag=new": 25, "tag=hard": 15}


def test_by_a_function() -> None:
    def asks(one: dict[str, Any]) -> bool | None:
        text = one["messages"][1]["content"]
        return None if not text else text.endswith("?")

    rows = [row("a?")] * 10 + [row("b")] * 11 + [row("")] * 12
    assert names(rows, asks, "label") == {"asks=False": 11, "asks=True": 10, "label=yes": 33}


@pytest.mark.parametrize(
    ("rows", "by", "what"),
    [
        ([row()] * 20, "tag", "No row has a value for the slices by 'tag'"),
        (
            [row(id=i) for i in range(200)],
            "id",
            "'id' has 200 values, of which 0 have 10 rows or more",
        ),
    ],
)
def test_keys_that_make_no_slices(rows: list[dict[str, Any]], by: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        slices_of(rows, [by])
    assert caught.value.what == what
    assert caught.value.hint
