"""Answers that look like mistakes, and those near them that do not."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.dataset import validate
from ftsdk.dataset.rules.quality import loops

FINE = [
    "Use {{ name }} in a template:\n```\n{{ name }}\n```",
    "<p>{{ name }}</p>",
    "{% for x in y %}{{ x }}{% endfor %}",
    "Q&A; R&D; AT&T",
    "<b>a &amp; b</b>",
    "SÃO PAULO, MAÇÃ, Ãngela",
    "voilà un café très bien",
    "User: is a word that may stand in a line",
    "An interview.\nUser: what is it?\nThat was all.",
    "Dear [Your Name], see you.",
    "-" * 400,
    "ha " * 100,
    "| a | b |\n|---|---|\n" + "".join(f"| {i} | {i * i} |\n" for i in range(60)),
    "".join(f"Step {i}: add {i} and {i + 1}.\n" for i in range(60)),
]


def codes(answer: str, question: str = "q") -> set[str]:
    row: dict[str, Any] = {"messages": [{"role": "user", "content": question},
                                        {"role": "assistant", "content": answer}]}  # fmt: skip
    return set(validate([row], near_duplicates=False).counts)


@pytest.mark.parametrize("answer", FINE)
def test_what_is_meant_is_no_finding(answer: str) -> None:
    assert not {code for code in codes(answer) if "FT315" <= code <= "FT320"}


@pytest.mark.parametrize(("times", "found"), [(4, False), (5, False), (12, True), (300, True)])
def test_a_loop_is_at_the_end_and_repeats_at_once(times: int, found: bool) -> None:
    sentence = "And then they all went home to sleep. "
    assert loops("Once upon a time. " * 2 + sentence * times) is found
    assert not loops(sentence * times + "The end of this story is another one, as it should be.")


def test_the_worse_answer_of_a_pair_may_be_bad() -> None:
    bad = [{"role": "assistant", "content": "Eat a banana! " * 30}]
    good = [{"role": "assistant", "content": "fine"}]
    row = {"input": {"messages": [{"role": "user", "content": "q"}]}, "preferred_output": good,
           "non_preferred_output": bad}  # fmt: skip
    assert validate([row], near_duplicates=False).counts == {}
    swapped = {**row, "preferred_output": bad, "non_preferred_output": good}
    assert validate([swapped], near_duplicates=False).counts == {"FT315": 1}


def test_an_answer_that_is_not_learned_is_not_judged() -> None:
    echo = {"role": "assistant", "content": "Eat a banana! " * 30, "weight": 0}
    user = {"role": "user", "content": "q"}
    row = {"messages": [user, echo, user, {"role": "assistant", "content": "b"}]}
    assert validate([row], near_duplicates=False).counts == {}


@pytest.mark.parametrize("given", ["<noinput>", "noinput", "nan"])
def test_an_input_that_says_there_is_none_is_none(given: str) -> None:
    report = validate([{"instruction": "a", "input": given, "output": "b"}], near_duplicates=False)
    assert report.counts == {"FT026": 1}
    assert repr(given) in report.notices[0].message


def test_rows_without_answers_contradict_nothing() -> None:
    asked = {"messages": [{"role": "user", "content": "q"}], "reference_answer": "x"}
    other = {**asked, "reference_answer": "y"}
    alone = [{"messages": [{"role": "assistant", "content": text}]} for text in "ab"]
    for rows in ([asked, other], alone):
        assert "FT301" not in validate(rows, near_duplicates=False).counts
    answered = [{"messages": [{"role": "user", "content": "q"}, *one["messages"]]} for one in alone]
    assert "FT301" in validate(answered, near_duplicates=False).counts
