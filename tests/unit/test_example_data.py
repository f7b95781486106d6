"""The example data has one style, and the held-out questions are new to the model."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "examples" / "data"
FILES = ("support.jsonl", "support_heldout.jsonl")
# `[area/topic] one short warm sentence. The next concrete step.`
STYLE = re.compile(r"\[[a-z]+/[a-z]+\] [A-Z][^.!?]+[.!?] [A-Z][^.!?]+\.\Z")
PERSONAL = re.compile(r"@|\d{5,}|\+\d{2}|https?:|www\.")


def rows(name: str) -> list[tuple[str, str]]:
    """Question and answer of each record; records end at a line feed, nothing else."""
    lines = (DATA / name).read_bytes().removesuffix(b"\n").split(b"\n")
    pairs = []
    for line in lines:
        record = json.loads(line)
        assert list(record) == ["messages"]
        user, assistant = record["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert set(user) == set(assistant) == {"role", "content"}
        pairs.append((user["content"], assistant["content"]))
    return pairs


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w']+", text.casefold()))


def route(answer: str) -> str:
    return answer.split("]", maxsplit=1)[0].removeprefix("[")


@pytest.mark.parametrize(
    ("name", "at_least"), [("support.jsonl", 200), ("support_heldout.jsonl", 20)]
)
def test_there_are_enough_rows_for_every_route(name: str, at_least: int) -> None:
    found = rows(name)
    assert len(found) >= at_least
    per_route = Counter(route(answer) for _, answer in found)
    assert 12 <= len(per_route) <= 16
    assert min(per_route.values()) >= (12 if name == "support.jsonl" else 1)


@pytest.mark.parametrize("name", FILES)
def test_every_answer_is_in_the_example_style(name: str) -> None:
    for _, answer in rows(name):
        assert STYLE.match(answer), answer
        assert len(answer) <= 110, answer


def test_one_route_has_one_answer_and_both_files_agree() -> None:
    answers = {(route(answer), answer) for name in FILES for _, answer in rows(name)}
    routes = {name: {route(answer) for _, answer in rows(name)} for name in FILES}
    assert len(answers) == len({r for r, _ in answers})
    assert routes["support.jsonl"] == routes["support_heldout.jsonl"]


def test_no_question_appears_twice() -> None:
    asked = [" ".join(sorted(words(question))) for name in FILES for question, _ in rows(name)]
    assert [text for text, count in Counter(asked).items() if count > 1] == []


def test_held_out_questions_are_worded_differently() -> None:
    trained = [(question, words(question)) for question, _ in rows("support.jsonl")]
    for question, _ in rows("support_heldout.jsonl"):
        own = words(question)
        for other, theirs in trained:
            assert len(own & theirs) / len(own | theirs) < 0.75, (question, other)


@pytest.mark.parametrize("name", FILES)
def test_the_data_holds_nothing_personal(name: str) -> None:
    for question, answer in rows(name):
        assert not PERSONAL.search(question + answer), (question, answer)
