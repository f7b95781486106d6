"""A judge in an evaluation: asked through the store, paid once and within the budget, and checked first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.catalogue.inference_cost import chat_price
from ftsdk.errors import BudgetError, UsageError
from ftsdk.evaluation.answers import AnswerStore
from ftsdk.evaluation.metrics.judge import Judge
from ftsdk.evaluation.report import EvaluationReport
from ftsdk.spending.ledger import ledger
from ftsdk.testing.lab.messages import Refusal
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.types.evaluation import Verdict
from ftsdk.util.clock import ManualClock
from tests.unit.cli.conftest import Cli, cli

pytest.importorskip("scipy", reason="needs the extra `eval`")
pytest.importorskip("openai", reason="needs the extra `openai`")
__all__ = ["cli"]  # a fixture
WRONG = ("I am a teapot, and the answer is purple.",)
MODEL = "gpt-4.1-mini-2025-04-14"
JUDGE = f"openai:{MODEL}"
Messages = Sequence[Mapping[str, Any]]


def row(number: int) -> dict[str, Any]:
    asked = f"what of parcel {number * 3}, which was sent {number * number + 7} days ago?"
    said = f"The right answer number {number} is quite a long one, longer than any wrong one."
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    }


TEST = [row(number) for number in range(40)]
RIGHT = {one["messages"][0]["content"]: one["messages"][1]["content"] for one in TEST}


def short(messages: Messages) -> str:
    return "No."


def right(messages: Messages) -> str:
    return RIGHT[messages[-1]["content"]]


def half(messages: Messages) -> str:
    """The right answer to every other row, and a shorter one to the rest."""
    text = RIGHT[messages[-1]["content"]]
    return text if "parcel 0," in messages[-1]["content"] else text[:40]


def both(asked: str) -> tuple[str, str]:
    first = asked.split("<answer_A>\n")[1].split("\n</answer_A>", maxsplit=1)[0]
    second = asked.split("<answer_B>\n")[1].split("\n</answer_B>", maxsplit=1)[0]
    return first, second


def by_length(_: str, messages: Messages) -> str:
    first, second = both(messages[-1]["content"])
    if len(first) == len(second):
        return "VERDICT: TIE"
    return f"VERDICT: {'A' if len(first) > len(second) else 'B'}"


@pytest.fixture
def double(clock: ManualClock) -> Iterator[OpenAIDouble]:
    with OpenAIDouble(clock=clock) as one:
        one.answers = by_length
        yield one


@pytest.fixture
def client(tmp_path: Path, double: OpenAIDouble, clock: ManualClock) -> Iterator[ftsdk.Client]:
    with ftsdk.Client(home=tmp_path / "home", clock=clock, env=double.variables()) as one:
        yield one


def evaluate(client: ftsdk.Client, *models: Any, **options: Any) -> EvaluationReport:
    return client.evaluate(TEST, list(models), judge=options.pop("judge", JUDGE), **options)


def chats(double: OpenAIDouble) -> int:
    return double.count("POST", "/chat/completions$")


def test_each_pair_is_asked_in_both_orders_and_paid_once(
    client: ftsdk.Client, double: OpenAIDouble
) -> None:
    found = evaluate(client, short, right)
    said = found.judged["right"]
    assert (said["candidate"], said["reference"], said["tie"]) == (40, 0, 0)
    assert said["flip_rate"] == 0
    assert said["requests"] == 80
    assert chats(double) == 15 + 80  # 5 wrong answers in both orders, 5 that are equal once
    assert found.compare(metric="judge").verdict is Verdict.BETTER
    assert Decimal(said["usd"]) > 0
    again = evaluate(client, short, right)
    assert chats(double) == 95
    assert again.judged == found.judged


def test_equal_answers_are_a_tie_that_costs_nothing(
    client: ftsdk.Client, double: OpenAIDouble
) -> None:
    found = evaluate(client, right, half)
    said = found.judged["half"]
    assert (said["reference"], said["tie"]) == (39, 1)
    assert said["requests"] == 78
    assert chats(double) == 15 + 78
    assert found.compare(metric="judge").verdict is Verdict.WORSE
    assert found.exit_code == 8


def test_a_judge_can_stop_a_candidate_and_never_carry_it(client: ftsdk.Client) -> None:
    found = evaluate(client, right, half, metrics=[lambda reference, answer: True])
    assert found.verdict == Verdict.INCONCLUSIVE
    assert found.exit_code == 8  # judged as worse
    carried = evaluate(client, half, right, metrics=[lambda reference, answer: True])
    assert carried.compare(metric="judge").verdict is Verdict.BETTER
    assert carried.exit_code == 7


def test_a_judge_that_fails_its_controls_is_paid_for_nothing_else(
    client: ftsdk.Client, double: OpenAIDouble
) -> None:
    double.answers = lambda *_: "VERDICT: A"
    with pytest.raises(UsageError, match="fails its controls"):
        evaluate(client, short, right)
    assert chats(double) == 15


def test_a_verdict_that_changes_with_the_order_is_a_tie(
    client: ftsdk.Client, double: OpenAIDouble
) -> None:
    def prefers_first(model: str, messages: Messages) -> str:
        asked = messages[-1]["content"]
        if "parcel 90," in asked or "parcel 93," in asked:  # no control is about these
            return "VERDICT: A"
        return by_length(model, messages)

    double.answers = prefers_first
    said = evaluate(client, short, right).judged["right"]
    assert said["flip_rate"] == 2 / 40
    assert (said["candidate"], said["tie"]) == (38, 2)
    assert said["kappa_with_metric"] is not None


def test_the_verdicts_count_in_the_budget(client: ftsdk.Client, double: OpenAIDouble) -> None:
    with pytest.raises(BudgetError, match="over its limit"):
        evaluate(client, short, right, budget="0.0001")
    assert chats(double) == 0
    evaluate(client, short, right, budget="1")
    [run] = ledger(client.session)
    price = chat_price("openai", MODEL)
    assert price is not None
    paid = double.meter.of(MODEL)
    usage = {"prompt_tokens": paid.prompt_tokens, "completion_tokens": paid.completion_tokens}
    assert paid.answers == 95
    assert run.counted == run.actual == price.cost(usage)


class Killed(BaseException):
    """The process ends here."""


def test_killed_it_continues_where_it_was(
    client: ftsdk.Client, double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = AnswerStore.add

    def killed(self: AnswerStore, *answers: Any) -> int:
        added = add(self, *answers)
        if len(self) == 50:
            raise Killed
        return added

    monkeypatch.setattr(AnswerStore, "add", killed)
    with pytest.raises(Killed):
        evaluate(client, short, right, concurrency=1)
    monkeypatch.setattr(AnswerStore, "add", add)
    found = evaluate(client, short, right, concurrency=1)
    assert chats(double) == 95
    assert found.judged["right"]["candidate"] == 40


def test_rows_without_a_verdict_are_not_hidden(client: ftsdk.Client, double: OpenAIDouble) -> None:
    def refuses(model: str, messages: Messages) -> str:
        if any(one in WRONG for one in both(messages[-1]["content"])) or model != MODEL:
            return by_length(model, messages)
        first, second = both(messages[-1]["content"])
        if first == second:
            return "VERDICT: TIE"
        raise Refusal(400, {"error": {"message": "no", "type": "invalid_request_error"}})

    double.answers = refuses
    found = evaluate(client, short, right)
    assert found.judged["right"]["unanswered"] == 40
    one = found.compare(metric="judge")
    assert one.verdict is Verdict.NOT_COMPARABLE
    assert "no answer on 40 of 40 rows" in one.reason


def test_own_instructions_and_a_handle(client: ftsdk.Client, double: OpenAIDouble) -> None:
    judge = Judge(JUDGE, instructions="Compare. End with VERDICT: A, B or TIE.")
    evaluate(client, short, right, judge=judge)
    asked = double.asked("POST", "/chat/completions$")[0].json()["messages"][0]["content"]
    assert asked == "Compare. End with VERDICT: A, B or TIE."

    class Anything:
        def chat(self, messages: Messages, /, **options: Any) -> Any:
            raise AssertionError

    with pytest.raises(UsageError, match="cannot be asked through the store"):
        evaluate(client, short, right, judge=Judge(Anything()))
    with pytest.raises(UsageError, match="only an evaluation can resolve"):
        Judge(JUDGE).compare(TEST[0], "a", "b")


def test_the_command_shows_what_a_judge_costs_and_says(
    cli: Cli, double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in double.variables().items():
        monkeypatch.setenv(name, value)
    Path("test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in TEST))
    train = [
        {"messages": [{"role": "user", "content": f"training {i}"}, {"role": "assistant", "content": f"said {i}"}]}
        for i in range(12)
    ]  # fmt: skip
    Path("train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in train))
    cli.ok("create", "train.jsonl", "--provider", "fake", "--yes")
    job: str = cli.ok("list", "--json").json["jobs"][0]["id"]
    command = ("evaluate", "test.jsonl", "--model", job, "--judge", JUDGE)
    dry = cli.ok(*command, "--dry-run").out
    assert f"judge    {MODEL}, in both orders" in dry
    assert "$" in dry.split("cost")[1]
    assert chats(double) == 0
    ran = cli(*command, "--yes")
    assert "judge of" in ran.err
    assert "requests, $" in ran.err
    whole = cli(*command, "--yes", "--json").json
    assert whole["judge"][job]["rows"] == 40
