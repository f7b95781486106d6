"""Token counters: each count is one that can be computed by hand, or with the public encoding."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset.rules.token_counts import Counting
from ftsdk.dataset.tokenize import counters
from ftsdk.dataset.tokenize.counters import (
    EstimateCounter,
    OpenAICounter,
    TemplateCounter,
    TokenizedRowCounter,
    encoding_of,
)
from ftsdk.errors import MissingExtra


def said(role: str, text: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": text, **more}


def pair(asked: str, preferred: str, other: str) -> dict[str, Any]:
    return {
        "input": {"messages": [said("user", asked)]},
        "preferred_output": [said("assistant", preferred)],
        "non_preferred_output": [said("assistant", other)],
    }


@pytest.fixture(scope="module")
def public() -> Any:
    return pytest.importorskip("bpe_openai").get_encoding("o200k_base")


@pytest.fixture(scope="module")
def counter() -> OpenAICounter:
    pytest.importorskip("bpe_openai")
    return OpenAICounter("o200k_base")


def around(messages: int, *roles: str, public: Any) -> int:
    """The tokens around the texts, by the rule of OpenAI's cookbook."""
    return 3 * messages + sum(len(public.encode(role)) for role in roles) + 3


LONG, SHORT, ASKED = "a longer answer of many words " * 9, "brief", "What is it, and why?"


def test_openai_counts_a_chat_by_the_rule_of_the_cookbook(
    counter: OpenAICounter, public: Any
) -> None:
    asked, answer = len(public.encode(ASKED)), len(public.encode(LONG))
    plain = around(2, "user", "assistant", public=public)
    row = {"messages": [said("user", ASKED), said("assistant", LONG)]}
    assert counter.count(row) == (plain + asked + answer, answer, plain + asked + answer)
    row["messages"][1]["weight"] = 0
    assert counter.count(row) == (plain + asked + answer, 0, plain + asked + answer)
    row["messages"][1]["weight"] = 1
    assert counter.count(row)[1] == answer
    row["messages"][0]["name"] = "Ada"
    named = len(public.encode("Ada")) + 1
    assert counter.count(row)[0] == plain + asked + answer + named
    thought = {"messages": [said("user", ASKED), said("assistant", LONG, reasoning_content=SHORT)]}
    more = len(public.encode(SHORT))
    assert counter.count(thought)[:2] == (plain + asked + answer + more, answer + more)
    assert counter.exact


@pytest.mark.parametrize("longer_first", [True, False])
def test_openai_counts_the_longer_answer_of_a_pair_as_its_longest(
    counter: OpenAICounter, public: Any, longer_first: bool
) -> None:
    first, second = (LONG, SHORT) if longer_first else (SHORT, LONG)
    asked, long, short = (len(public.encode(text)) for text in (ASKED, LONG, SHORT))
    plain = around(2, "user", "assistant", public=public)
    total, trained, longest = counter.count(pair(ASKED, first, second))
    assert total == 2 * (plain + asked) + long + short
    assert trained == long + short
    assert longest == plain + asked + long


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"messages": [said("user", "a"), {"role": "assistant", "tool_calls": [{"id": "c"}]}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url"}]},
                said("assistant", "b"),
            ]
        },
    ],
)
def test_openai_counts_what_has_no_published_count_as_an_estimate(more: dict[str, Any]) -> None:
    pytest.importorskip("bpe_openai")
    counter = OpenAICounter("o200k_base")
    row: dict[str, Any] = {"messages": [said("user", "a"), said("assistant", "b")]}
    plain = counter.count(row)[0]
    assert counter.exact
    assert counter.count({**row, **more})[0] > 0
    assert not counter.exact
    assert counter.count(row)[0] == plain


def test_openai_counts_text_and_parts(counter: OpenAICounter, public: Any) -> None:
    size = len(public.encode(LONG))
    assert counter.count({"text": LONG}) == (size, size, size)
    assert counter.count({"text": None}) == (0, 0, 0)
    parts = [{"type": "text", "text": LONG}, {"type": "text", "text": LONG}]
    row = {"messages": [{"role": "user", "content": parts}, said("assistant", SHORT)]}
    plain = around(2, "user", "assistant", public=public)
    assert counter.count(row)[0] == plain + 2 * size + len(public.encode(SHORT))


def test_the_estimate_is_four_characters_a_token_and_four_a_message() -> None:
    count = EstimateCounter().count
    row = {"messages": [said("user", "x" * 400), said("assistant", "y" * 43)]}
    assert count(row) == (104 + 14, 10, 104 + 14)
    assert count({"text": "x" * 40}) == (14, 14, 14)


@pytest.mark.parametrize("longer_first", [True, False])
def test_the_estimate_of_a_pair_counts_the_prompt_twice_and_the_longer_answer(
    longer_first: bool,
) -> None:
    first, second = ("x" * 400, "y" * 40) if longer_first else ("y" * 40, "x" * 400)
    total, trained, longest = EstimateCounter().count(pair("q" * 80, first, second))
    assert (total, trained, longest) == (2 * 24 + 104 + 14, 104 + 14, 24 + 104)


def test_the_estimate_of_half_a_pair() -> None:
    row = {
        "input": {"messages": [said("user", "q" * 80)]},
        "preferred_output": [said("assistant", "x" * 40)],
    }
    assert EstimateCounter().count(row) == (2 * 24 + 14, 14, 24 + 14)


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        ({"input_ids": [5, 6, 7]}, (3, 2, 3)),  # the first token is never predicted
        ({"input_ids": [5]}, (1, 0, 1)),
        ({"input_ids": []}, (0, 0, 0)),
        ({"input_ids": [5, 6, 7], "labels": [5, 6, -100]}, (3, 1, 3)),
        ({"input_ids": [5, 6, 7], "labels": [-100, -100, -100]}, (3, 0, 3)),
        ({"input_ids": [5, 6, 7], "labels": [5, -100, -100]}, (3, 0, 3)),
        ({}, (0, 0, 0)),
    ],
)
def test_tokenized_rows_count_the_labels_that_are_predicted(
    row: dict[str, Any], counts: tuple[int, int, int]
) -> None:
    assert TokenizedRowCounter().count(row) == counts


def test_a_models_own_template_counts_the_longest_piece(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    pytest.importorskip("jinja2")
    from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
    from ftsdk.dataset.tokenize.render import render_row
    from tests.train import tiny

    tiny.write_tokenizer(tmp_path)
    chat = ChatTokenizer.from_folder(tmp_path)

    def size(answer: str) -> tuple[int, int]:
        whole = render_row({"messages": [said("user", "one"), said("assistant", answer)]}, chat)
        return len(whole), whole.trained_count

    (long, learned_long), (short, learned_short) = size("cat dog red"), size("cat")
    assert long > short
    for row in (pair("one", "cat dog red", "cat"), pair("one", "cat", "cat dog red")):
        counted = TemplateCounter(chat).count(row)
        assert counted == (long + short, learned_long + learned_short, long)
    assert (TemplateCounter(chat).name, TemplateCounter(chat).exact) == (chat.name, True)
    assert (OpenAICounter("cl100k_base").name, EstimateCounter().name) == (
        "cl100k_base",
        "4 characters a token",
    )


@pytest.mark.parametrize("longer_first", [True, False])
@pytest.mark.parametrize("counter_of", [EstimateCounter, lambda: OpenAICounter("o200k_base")])
def test_a_pair_is_reported_as_truncated_from_one_token_over(
    counter_of: Any, longer_first: bool
) -> None:
    pytest.importorskip("bpe_openai")
    long, short = "word and word " * 40, "brief"
    row = pair("What is it?", *((long, short) if longer_first else (short, long)))
    total, _, longest = counter_of().count(row)
    assert longest < total
    for max_length, truncated in ((longest, 0), (longest - 1, 1)):
        counting = Counting(counter_of())
        counting.add(1, row)
        counting.add(2, row)
        found = list(counting.faults(None, "dpo", max_length))
        assert [(f.code, f.severity, f.line) for f in found] == [
            ("FT502", "notice", line) for line in (1, 2)[: 2 * truncated]
        ]
        assert all(f.message == f"{longest:,} tokens, max_length is {max_length:,}" for f in found)
        summary = counting.summary(max_length, max_length)
        assert summary is not None
        assert summary.truncated_rows == 2 * truncated
        assert summary.kept == 2 * (total - truncated)
        assert (summary.total, summary.longest, summary.longest_line) == (2 * total, total, 1)


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-0613", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("davinci-002", "cl100k_base"),
        ("babbage-002", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("gpt-4o-2024-08-06", "o200k_base"),
        ("gpt-4.1-mini-2025-04-14", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("o1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("o4-mini", "o200k_base"),
        ("chatgpt-4o-latest", "o200k_base"),
        ("FT:GPT-4O-2024-08-06", "o200k_base"),
        ("ft:gpt-3.5-turbo", "cl100k_base"),
        ("o200k_base", "o200k_base"),
        ("gpt-oss-20b", None),
        ("Qwen/Qwen3-8B", None),
        ("", None),
        (None, None),
    ],
)
def test_the_encoding_of_a_model(model: str | None, encoding: str | None) -> None:
    """As in tiktoken's table of models; gpt-oss has an encoding of its own."""
    assert encoding_of(model) == encoding


WITHOUT_THE_PACKAGE = """
import sys, warnings
warnings.simplefilter("error")
from ftsdk.dataset.tokenize.counters import OpenAICounter
counter = OpenAICounter("o200k_base")
counted = counter.count({"text": "three words here"})
assert "bpe_openai" not in sys.modules
warnings.simplefilter("ignore")
import bpe_openai
from bpe_openai import _bindings
assert _bindings is OpenAICounter("o200k_base")._bindings
assert counted == 3 * (len(bpe_openai.get_encoding("o200k_base").encode("three words here")),)
"""


def test_counting_reads_no_encoding_but_its_own() -> None:
    """The package around the Rust module reads all of them, and still works when it is imported later."""
    pytest.importorskip("bpe_openai")
    subprocess.run([sys.executable, "-c", WITHOUT_THE_PACKAGE], check=True)


@pytest.mark.usefixtures("no_extension")
def test_a_counter_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "bpe_openai", None)
    with pytest.raises(MissingExtra, match="bpe-openai") as caught:
        OpenAICounter("o200k_base")
    assert "ftsdk[openai]" in str(caught.value)


@pytest.fixture
def no_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, counters._EXTENSION, raising=False)
