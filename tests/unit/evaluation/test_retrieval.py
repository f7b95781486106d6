"""Examples by retrieval: the nearest training rows, and never one that may hold the answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.fake import FakeBackend
from ftsdk.client import Client
from ftsdk.errors import UsageError
from ftsdk.evaluation.cases import Case, case_of_chat
from ftsdk.evaluation.retrieval import ExampleIndex, terms
from tests.unit.cli.conftest import Cli, cli

pytest.importorskip("scipy", reason="needs the extra `eval`")
pytest.importorskip("bm25s", reason="needs the extra `eval`")
__all__ = ["cli"]  # a fixture


def row(asked: str, answer: str = "yes", **more: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "Answer."},
            {"role": "user", "content": asked},
            {"role": "assistant", "content": answer, "weight": 1},
        ],
        **more,
    }


def case(asked: str, *before: str) -> Case:
    turns = [
        {"role": "user" if i % 2 == 0 else "assistant", "content": text}
        for i, text in enumerate((*before, asked))
    ]
    found = case_of_chat({"messages": [*turns, {"role": "assistant", "content": "?"}]}, 1)
    assert found is not None
    return found


def asked_in(index: ExampleIndex, one: Case, k: int, **more: Any) -> list[str]:
    return [found.messages[0]["content"] for found in index.nearest(one, k, **more)]


PARCELS = [
    row("where is my parcel from berlin"),
    row("my card was declined in a shop"),
    row("is my parcel late"),
    row("how do i top up the card"),
    row("a parcel for my neighbour came to me"),
    row("what is the exchange rate"),
]


def test_the_nearest_come_last() -> None:
    index = ExampleIndex(PARCELS)
    found = asked_in(index, case("where is the parcel to berlin"), 3)
    assert found[-1] == "where is my parcel from berlin"
    assert len(found) == 3
    assert found == asked_in(ExampleIndex(PARCELS), case("where is the parcel to berlin"), 3)
    assert found[1:] == asked_in(index, case("where is the parcel to berlin"), 2)


def test_equal_scores_are_in_the_order_of_the_rows() -> None:
    rows = [row(f"{word} zebra") for word in ("one", "two", "six", "ten")]
    assert asked_in(ExampleIndex(rows), case("a zebra"), 3) == [
        "six zebra",
        "two zebra",
        "one zebra",
    ]


def test_what_shares_no_word_is_no_example() -> None:
    index = ExampleIndex(PARCELS)
    assert asked_in(index, case("quetzalcoatl"), 3) == []
    assert asked_in(index, case("???"), 3) == []
    assert asked_in(index, case("the exchange"), 6) == ["how do i top up the card", "what is the exchange rate"]  # fmt: skip


def test_examples_have_no_system_message_and_no_weight() -> None:
    [one] = ExampleIndex(PARCELS).nearest(case("exchange"), 1)
    assert one.messages == (
        {"role": "user", "content": "what is the exchange rate"},
        {"role": "assistant", "content": "yes"},
    )


QUESTION = "please send the replacement card to my new address in the old town"
LEAKS = {
    "equal": row(QUESTION, "SECRET"),
    "another writing": row(f"  {QUESTION.upper()} ", "SECRET"),
    "another system message": {
        "messages": [{"role": "system", "content": "Be brief."}, *row(QUESTION, "SECRET")["messages"][1:]]
    },
    "nearly equal": row(f"{QUESTION}!", "SECRET"),
    "one word more": row(f"{QUESTION} today", "SECRET"),
    "goes on": {
        "messages": [
            *row(QUESTION, "SECRET")["messages"],
            {"role": "user", "content": "thanks, and by when would that be, roughly, in days?"},
            {"role": "assistant", "content": "SECRET"},
        ]
    },
    "its group": row("which address do you have", "SECRET", metadata={"chat": "c1"}),
    "its group, at the top": row("which address do you have", "SECRET", chat="c1"),
}  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS.values(), ids=list(LEAKS))
def test_a_row_that_may_hold_the_answer_is_never_shown(leak: dict[str, Any]) -> None:
    index = ExampleIndex(
        [*PARCELS, leak, row("the card for my new flat")],
        group_of=lambda one: one.get("chat", (one.get("metadata") or {}).get("chat")),
    )
    found = index.nearest(case(QUESTION), 8, "c1")
    assert len(found) >= 3
    assert "SECRET" not in str([one.messages for one in found])
    assert index.passed.near + index.passed.same_group == 1
    assert "passed over" in index.passed.note(8, len(index))


def test_a_question_inside_a_conversation_is_compared_with_all_of_it() -> None:
    earlier = ("my card is lost", "I blocked it.")
    longer = {
        "messages": [
            {"role": "user", "content": "my card is lost"},
            {"role": "assistant", "content": "I blocked it."},
            {"role": "user", "content": "where do i get a new card"},
            {"role": "assistant", "content": "SECRET"},
        ]
    }
    index = ExampleIndex([longer, row("my card is lost", "I blocked it.")])
    found = index.nearest(case("where do i get a new card", *earlier), 5)
    assert [one.messages[-1]["content"] for one in found] == ["I blocked it."]


def test_no_answer_leaks_from_a_thousand_spoiled_rows() -> None:
    chance = random.Random(7)
    words = [f"w{i}" for i in range(60)]
    questions = [" ".join(chance.sample(words, 14)) for _ in range(40)]

    def spoiled(number: int) -> dict[str, Any]:
        parts = questions[number].split()
        if chance.random() < 0.5:
            parts[-1] = chance.choice(words)
        return row(" ".join(parts), f"answer {number}")

    rows = [spoiled(chance.randrange(40)) for _ in range(500)]
    rows += [row(" ".join(chance.sample(words, 14)), "other") for _ in range(500)]
    index = ExampleIndex(rows)
    for number, question in enumerate(questions):
        found = index.nearest(case(question), 10)
        assert len(found) == 10
        assert f"answer {number}" not in [one.messages[-1]["content"] for one in found]


def test_examples_stay_within_the_tokens() -> None:
    rows = [row("card " * 500), row("card one"), row("card two"), row("card three")]

    def count(messages: Sequence[Mapping[str, Any]]) -> int:
        return sum(len(str(one["content"]).split()) for one in messages)

    index = ExampleIndex(rows, count=count, most_tokens=7)
    assert asked_in(index, case("card"), 4) == ["card two", "card one"]
    assert index.passed.too_long == 2
    assert asked_in(ExampleIndex(rows, count=count, most_tokens=0), case("card"), 4) == []


def test_texts_without_spaces_are_found_by_pairs_of_characters() -> None:
    assert terms("信用卡 Card9") == ["信用", "用卡", "card9"]
    assert terms("ｃａｒｄ Straße") == ["card", "strasse"]
    rows = [row("我的信用卡被拒绝了"), row("包裹在哪里"), row("今天的汇率是多少")]
    assert asked_in(ExampleIndex(rows), case("信用卡丢了"), 1) == ["我的信用卡被拒绝了"]
    thai = [row("บัตรเครดิตของฉันถูกปฏิเสธ"), row("พัสดุอยู่ที่ไหน")]
    assert asked_in(ExampleIndex(thai), case("บัตรเครดิตหาย"), 1) == ["บัตรเครดิตของฉันถูกปฏิเสธ"]


@pytest.mark.parametrize(
    "rows", [[], [{"text": "abc"}], [{"messages": [{"role": "user", "content": "no answer"}]}]]
)
def test_rows_without_question_and_answer_are_no_examples(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match="No training row can be shown"):
        ExampleIndex(rows)


# --- in an evaluation ---

LABELS = ("late", "lost", "fine")


def parcel(number: int, **more: Any) -> dict[str, Any]:
    asked = f"what of parcel {number * 3}, which was sent {number * number + 7} days ago?"
    return {
        "messages": [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": LABELS[number % 3]},
        ],
        **more,
    }


TEST = [parcel(number) for number in range(30)]
TRAIN = [
    {
        "messages": [
            {"role": "user", "content": f"parcel {i} {i * i} is gone"},
            {"role": "assistant", "content": f"from training {i}"},
        ]
    }
    for i in range(30)
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[Mapping[str, Any]]]:
    """Collect what the fake provider is asked."""
    seen: list[list[Mapping[str, Any]]] = []
    real: Callable[..., Any] = FakeBackend.chat

    def kept(self: Any, handle: Any, messages: Any, options: Any) -> Any:
        seen.append(list(messages))
        return real(self, handle, messages, options)

    monkeypatch.setattr(FakeBackend, "chat", kept)
    return seen


def late(_: Sequence[Mapping[str, Any]]) -> str:
    return "late"


def made(client: Client, rows: Any = TRAIN) -> ftsdk.ModelHandle:
    return client.create_job(rows).wait().result()


def test_each_question_gets_its_own_examples(
    client: Client, asked: list[list[Mapping[str, Any]]]
) -> None:
    prompt = ftsdk.Prompt("Say it.", made(client), examples=2, training=[*TRAIN, *TEST])
    found = client.evaluate(TEST, [late, prompt])
    assert len(asked) == 30
    for messages in asked:
        assert [one["role"] for one in messages] == [
            "system", "user", "assistant", "user", "assistant", "user",
        ]  # fmt: skip
        assert messages[0]["content"] == "Say it."
        shown = [one["content"] for one in messages if one["role"] == "user"]
        assert shown[-1] not in shown[:-1]
    assert len({str(messages[1:-1]) for messages in asked}) == 3
    assert any("2.0 of 2 examples a row, the nearest of 60 training rows" in n for n in found.notes)


def test_without_training_rows_they_come_from_the_tuned_model(
    client: Client, asked: list[list[Mapping[str, Any]]]
) -> None:
    handle = made(client)
    client.evaluate(TEST, [handle, ftsdk.Prompt(model=handle, examples=1, name="p")])
    prompted = [one for one in asked if len(one) == 3]
    assert len(prompted) == 30
    assert all("from training" in one[1]["content"] for one in prompted)


def test_rows_of_one_group_are_not_shown_to_each_other(
    client: Client, asked: list[list[Mapping[str, Any]]]
) -> None:
    rows = [{**parcel(i), "metadata": {"chat": str(i % 3)}} for i in range(30)]
    training = [
        {**one, "metadata": {"chat": str(i % 3)}} for i, one in enumerate(TRAIN)
    ]  # `from training i` is in the chat i % 3
    prompt = ftsdk.Prompt(model=made(client), examples=4, training=training)
    client.evaluate(rows, [late, prompt], cluster="chat")
    number = {one["messages"][0]["content"]: i for i, one in enumerate(rows)}
    for messages in asked:
        shown = {
            int(one["content"].split()[-1]) % 3 for one in messages if "from" in one["content"]
        }
        assert shown
        assert number[messages[-1]["content"]] % 3 not in shown


def test_the_same_evaluation_again_asks_nothing(
    client: Client, asked: list[list[Mapping[str, Any]]]
) -> None:
    prompt = ftsdk.Prompt(model=made(client), examples=3, training=TRAIN)
    first = client.evaluate(TEST, [late, prompt])
    again = client.evaluate(TEST, [late, prompt])
    assert len(asked) == 30
    assert again.compare() == first.compare()


def test_rows_that_a_prompt_shows_are_not_evaluated(client: Client) -> None:
    prompt = ftsdk.Prompt(model=made(client), examples=TEST[:3])
    assert client.evaluate(TEST, [late, prompt]).left_out == (1, 2, 3)


def test_rows_that_the_model_of_a_prompt_was_trained_on_are_not_evaluated(client: Client) -> None:
    prompt = ftsdk.Prompt("Say it.", made(client, [*TRAIN, *TEST[:3]]))
    assert client.evaluate(TEST, [late, prompt]).left_out[:3] == (1, 2, 3)


def test_examples_need_a_source(client: Client) -> None:
    untuned = ftsdk.Prompt(model="m", provider="fake", examples=3)
    with pytest.raises(UsageError, match="Nothing says which rows the examples come from"):
        client.evaluate(TEST, [late, untuned])


def write(name: str, rows: list[dict[str, Any]]) -> None:
    import json

    Path(name).write_text("".join(json.dumps(one) + "\n" for one in rows))


def test_the_command_asks_with_examples(cli: Cli, asked: list[list[Mapping[str, Any]]]) -> None:
    write("train.jsonl", TRAIN)
    write("test.jsonl", TEST)
    cli.ok("create", "train.jsonl", "--yes")
    job: str = cli.ok("list", "--json").json["jobs"][0]["id"]
    ran = cli(
        "evaluate", "test.jsonl", "--reference", job, "--prompt", job, "--system", "Say it.",
        "--examples", 2, "--examples-from", "train.jsonl", "--json",
    )  # fmt: skip
    names = [one["name"] for one in ran.json["models"]]
    assert names == [job, f"prompt on {job}"]
    assert sum(len(one) == 6 and one[0]["content"] == "Say it." for one in asked) == 30


def test_the_command_refuses_examples_without_a_prompt(cli: Cli) -> None:
    write("test.jsonl", TEST)
    ran = cli("evaluate", "test.jsonl", "--model", "base", "--examples", 2)
    assert ran.code != 0
    assert "belong to a prompt" in ran.err
    none = cli("evaluate", "test.jsonl")
    assert "No candidate is given" in none.err
