"""The metrics are chosen by the rows, with a reason of one line."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("scipy", reason="the metrics need the extra `eval`")

from ftsdk.errors import UsageError
from ftsdk.evaluation.metrics.choose import choose
from ftsdk.evaluation.metrics.function import Function

CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}  # fmt: skip
LONG = "A longer answer that may be right in many other words than those of the reference answer."


@pytest.mark.parametrize(
    ("references", "names", "reason"),
    [
        ([CALL, "Hello"] * 5, ["tool_calls"], "5 of 10 answers call tools"),
        (
            [json.dumps({"a": i}) for i in range(10)],
            ["json_fields", "json"],
            "all 10 answers are JSON",
        ),
        (["refund", "card lost"] * 10, ["label"], "20 answers are 2 different short texts"),
        (["1", "2", "3", "4", "5"] * 4, ["label"], "20 answers are 5 different short texts"),
        (
            [f"so\n#### {i}" for i in range(10)],
            ["number"],
            "10 answers mark their number, 0 are a number",
        ),
        ([f"\\boxed{{{i}}}" for i in range(10)], ["number"], "10 answers mark"),
        ([f"{i}" for i in range(10)], ["number"], "0 answers mark their number, 10 are a number"),
        ([f"Town {i}" for i in range(10)], ["exact", "chrf"], "10 of 10 answers are one line"),
        ([f"{LONG} {i}" for i in range(10)], ["chrf"], "10 answers are free text"),
        (
            ["今天天气很好，我们去公园散步吧。" * 5 + str(i) for i in range(10)],
            ["chrf"],
            "10 answers",
        ),
        ([""] * 10, ["exact"], "10 of 10 answers are one line"),
        # too long for labels, though few differ
        ([LONG, f"{LONG} No."] * 10, ["chrf"], "20 answers are free text"),
        # one row that is not JSON is one too many
        (["{}"] * 9 + ["none"], ["label"], "10 answers are 2 different short texts"),
    ],
)
def test_the_choice(row: Any, references: list[Any], names: list[str], reason: str) -> None:
    chosen = choose([row(one) for one in references])
    assert [one.metric.name for one in chosen] == names
    assert chosen[0].reason.startswith(reason)
    assert all("\n" not in one.reason for one in chosen)


def test_labels_are_those_of_the_rows(row: Any) -> None:
    [chosen] = choose([row(label) for label in ("b", "a") * 10])
    assert chosen.metric.labels == ("a", "b")  # type: ignore[attr-defined]


def test_a_schema_takes_the_place_of_plain_validity(row: Any) -> None:
    rows = [row('{"a": 1}')] * 10
    chosen = choose(rows, schema={"type": "object", "properties": {"a": {"pattern": "x"}}})
    assert [one.metric.name for one in chosen] == ["json_fields", "json_schema"]
    assert chosen[1].reason == "a schema is given; not checked in it: pattern"


def test_given_metrics(row: Any) -> None:
    def polite(reference: str, text: str) -> bool:
        return "please" in text

    chosen = choose([row("a")], ["exact", polite, Function(polite, "kind")])
    assert [one.metric.name for one in chosen] == ["exact", "polite", "kind"]
    assert choose([row("a")], "normalized")[0].metric.name == "normalized"


@pytest.mark.parametrize(
    ("metrics", "what"),
    [
        (["exakt"], "There is no metric 'exakt'; did you mean 'exact'?"),
        (["exact", "exact"], "Two metrics are called exact"),
        ([], "No metric is given"),
    ],
)
def test_wrong_metrics(row: Any, metrics: list[str], what: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose([row("a")], metrics)
    assert caught.value.what == what
    assert caught.value.hint


def test_rows_without_an_answer_have_nothing_to_compare_with() -> None:
    with pytest.raises(UsageError, match="No row ends in an answer"):
        choose([{"messages": [{"role": "user", "content": "?"}]}])
