"""Cases: what of a row is asked, what is its reference, and which rows are none."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.dataset import Dataset
from ftsdk.errors import DatasetError
from ftsdk.evaluation.cases import Case, cases_of

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


def row(*said: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in said], **more}


def test_the_last_answer_is_the_reference() -> None:
    [case] = cases_of(
        Dataset.load([row(("system", "s"), ("user", "q"), ("assistant", "a"), tools=TOOLS)])
    )
    assert [one["role"] for one in case.messages] == ["system", "user"]
    assert case.reference == {"role": "assistant", "content": "a"}
    assert case.options == {"tools": TOOLS}
    assert case.line == 1
    assert Case.from_dict(case.to_dict()) == case


def test_a_row_without_an_answer_is_asked_without_a_reference() -> None:
    [case] = cases_of(Dataset.load([row(("user", "q"))]))
    assert case.reference is None
    assert case.messages == ({"role": "user", "content": "q"},)


def test_earlier_answers_are_part_of_what_is_asked() -> None:
    said = [("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")]
    [case] = cases_of(Dataset.load([row(*said)]))
    assert [one["content"] for one in case.messages] == ["q1", "a1", "q2"]


def test_weights_are_not_sent() -> None:
    data = row(("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2"))
    data["messages"][1]["weight"] = 0
    data["messages"][3]["weight"] = 1
    [case] = cases_of(Dataset.load([data]))
    assert all("weight" not in one for one in case.messages)
    assert case.reference == {"role": "assistant", "content": "a2"}


def test_rows_that_ask_the_same_are_one_case() -> None:
    rows = [row(("user", "q"), ("assistant", text)) for text in ("a", "b")]
    other = row(("user", "q"), ("assistant", "a"), tools=TOOLS)
    found = cases_of(Dataset.load([*rows, other]))
    assert [case.line for case in found] == [1, 3]


def test_the_preferred_answer_of_a_pair_is_the_reference() -> None:
    pair = {
        "input": {"messages": [{"role": "user", "content": "q"}]},
        "preferred_output": [{"role": "assistant", "content": "good"}],
        "non_preferred_output": [{"role": "assistant", "content": "bad"}],
    }
    [case] = cases_of(Dataset.load([pair]))
    assert case.reference == {"role": "assistant", "content": "good"}


def test_all_rows_that_ask_nothing_are_named() -> None:
    fine = row(("user", "q"), ("assistant", "a"))
    nothing = row(("system", "s"), ("assistant", "a"))
    with pytest.raises(DatasetError) as caught:
        cases_of(Dataset.load([fine, nothing, fine, nothing]))
    assert caught.value.where == "rows: rows 2, 4"
