"""Exact and normalized texts, reasoning before an answer, and chrF."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ftsdk.evaluation.metrics.chrf import chrf
from ftsdk.evaluation.metrics.metric import Metric
from ftsdk.evaluation.metrics.reasoning import PAIRS, pairs_of, without_reasoning
from ftsdk.evaluation.metrics.text import Exact, Normalized, normalized


def passed(metric: Metric, row: Any, answer: Any, reference: str, text: str) -> bool | None:
    one = row(reference)
    return metric.score(one["messages"][-1], answer(text), one).passed


@pytest.mark.parametrize(
    ("reference", "text", "exact", "same"),
    [
        ("Paris", "Paris", True, True),
        ("Paris", " Paris\n", True, True),
        ("Paris", "paris", False, True),
        ("Paris", "Paris.", False, False),
        ("-5", "5", False, False),
        ("A", "The", False, False),
        ("Straße", "STRASSE", False, True),
        ("é", "e\u0301", False, True),
        ("ＡＢＣ１", "abc1", False, True),
        ("שלום", "\u200fשלום\u200e", False, True),
        ("می\u200cخواهم", "میخواهم", False, False),  # a joiner spells the word
        ("a  b", "a\nb", False, True),
        ("", "", True, True),
        ("", "x", False, False),
    ],
)
def test_exact_and_normalized(
    row: Any, answer: Any, reference: str, text: str, exact: bool, same: bool
) -> None:
    assert passed(Exact(), row, answer, reference, text) is exact
    assert passed(Normalized(), row, answer, reference, text) is same


@pytest.mark.parametrize("code", [0x200B, 0x200E, 0x200F, 0x202A, 0x202E, 0x2066, 0x2069, 0xFEFF])
def test_marks_that_do_not_show_are_no_difference(code: int) -> None:
    assert normalized(f"a{chr(code)}b") == "ab"
    assert normalized(f"a{chr(0x200D)}b") != "ab"


def test_articles_and_punctuation_go_only_when_asked() -> None:
    assert normalized("The cat, and a dog.") == "the cat, and a dog."
    assert normalized("The cat, and a dog.", articles=True, punctuation=True) == "cat and dog"
    assert normalized("A", articles=True, punctuation=True) == "a", "a label is not an article"
    assert normalized("...", punctuation=True) == "..."


@pytest.mark.parametrize("number", ["-5", "1.5", "1,000", "12:30"])
def test_punctuation_of_numbers_stays(number: str) -> None:
    assert normalized(f"It is {number}.", punctuation=True) == f"it is {number}"
    assert normalized("7-5", punctuation=True) == "7 5"


# --- reasoning -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>Is it 4? Yes.</think>\n\n4", "4"),
        ("\n<think>\n</think>\n4", "4"),
        ("It is 4, I think.\n</think>\n\n4", "4"),  # the template opened it
        ("<think>never ends", ""),
        ("<think>one</think><think>two</think>4", "4"),
        ("[THINK]so[/THINK]4", "4"),
        ("◁think▷so◁/think▷4", "4"),
        ("<|START_THINKING|>so<|END_THINKING|><|START_RESPONSE|>4<|END_RESPONSE|>", "4"),
        ("<|channel|>analysis<|message|>so<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>", "4"),
        ("4", "4"),
        ("the answer <think>is</think> 4", "the answer <think>is</think> 4"),
        ("", ""),
    ],
)  # fmt: skip
def test_reasoning_before_the_answer_is_left_out(text: str, left: str) -> None:
    assert without_reasoning(text) == left


def test_many_ends_of_reasoning_take_no_time() -> None:
    start = time.process_time()
    assert without_reasoning("</think>" * 5_000 + "4") == "4"
    assert time.process_time() - start < 5


def test_the_tags_of_a_template() -> None:
    assert pairs_of("{{ '[THINK]' }}…{{ '[/THINK]' }}") == (("[THINK]", "[/THINK]"),)
    assert pairs_of("{% if '</think>' in content %}") == (("<think>", "</think>"),)
    assert pairs_of("no reasoning") == PAIRS


def test_the_answer_is_scored_without_its_reasoning(row: Any, answer: Any) -> None:
    assert passed(Exact(), row, answer, "4", "<think>2 + 2</think>4")
    assert passed(Exact(), row, answer, "<think>2 + 2</think>4", "4"), "nor that of the reference"
    assert not passed(Exact(), row, answer, "4", "<think>2 + 2 = 4")
    about = "Close it with </think>."
    assert passed(Exact(), row, answer, about, about), "a reference about the tags keeps them"
    assert passed(Exact(), row, answer, about, f"<think>how?</think>{about}")
    assert not passed(Exact(), row, answer, about, ".")


# --- chrF ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reference", "sacrebleu"),
    [
        # sacrebleu 2.6.0: sentence_chrf(text, [reference]).score
        ("The cat is on the mat.", "The cat sat on the mat.", 64.5817),
        ("kitten", "sitting", 19.0251),
        ("今天天气很好", "今天的天气非常好", 16.0165),
        ("שלום עולם", "שלום לעולם", 43.526),
        ("abc", "abc", 100.0),
        ("a", "a", 100.0),
        ("a", "b", 0.0),
        ("x", "a long reference", 0.0),
        ("a long answer that goes on", "short", 14.9901),
        ("aaaaaaaa", "aaaa", 74.2263),
        ("Hello  world", "Helloworld", 100.0),
        ("", "abc", 0.0),
        ("abc", "", 0.0),
    ],
)
def test_chrf_is_that_of_sacrebleu(text: str, reference: str, sacrebleu: float) -> None:
    assert 100 * chrf(text, reference) == pytest.approx(sacrebleu, abs=5e-5)


def test_two_empty_texts_are_the_same() -> None:
    assert chrf("", "") == chrf(" ", "\n") == 1.0
