"""Notices of what a chat template leaves out: the end token of an answer, and its reasoning."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

pytest.importorskip("tokenizers", reason="needs ftsdk[local]")
pytest.importorskip("jinja2", reason="needs ftsdk[local]")

from ftsdk.dataset import validate
from ftsdk.dataset.findings.report import DatasetReport
from ftsdk.dataset.rules.token_counts import Counting
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.counters import TemplateCounter
from ftsdk.dataset.validation.checked import Checked
from tests.train import tiny

TURN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
SAYS_ALL = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.thinking or '' }}{{ m.content }}"
LAST_ONLY = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if loop.last %}{{ m.reasoning_content or '' }}{% endif %}{{ m.content }}"
)
END = "<|im_end|>\n{% endfor %}" + PROMPT
NO_END = "\n{% endfor %}" + PROMPT


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.write_tokenizer(folder)
    return ChatTokenizer.from_folder(folder)


def chat(number: int, turns: int = 1, **more: Any) -> dict[str, Any]:
    pair = [
        {"role": "user", "content": f"one {number}"},
        {"role": "assistant", "content": f"two {number}", **more},
    ]
    return {"messages": pair * turns}


def look(loaded: ChatTokenizer, template: str, rows: list[Any], **options: Any) -> DatasetReport:
    chosen = dataclasses.replace(loaded, template=template, _compiled={})
    return validate(rows, tokenizer=chosen, near_duplicates=False, **options)


def test_a_template_without_an_end_token_is_a_notice(loaded: ChatTokenizer) -> None:
    rows = [chat(i) for i in range(3)]
    report = look(loaded, TURN + NO_END, rows)
    (found,) = (f for f in report.notices if f.code == "FT510")
    assert (found.severity, found.line) == ("notice", 0)
    assert report.ok
    assert "FT510" not in look(loaded, TURN + END, rows).counts
    assert "FT510" not in look(loaded, TURN + NO_END, [{"text": "one"}]).counts


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_dropped_reasoning_is_one_notice_with_its_number_of_rows(
    loaded: ChatTokenizer, key: str
) -> None:
    rows = [chat(0), chat(1, **{key: "so be it"}), chat(2, **{key: "so be it"}), chat(3)]
    report = look(loaded, TURN + END, rows)
    (found,) = (f for f in report.notices if f.code == "FT511")
    assert (found.line, found.rows) == (2, 2)
    assert "FT511" not in look(loaded, SAYS_ALL + END, rows).counts


def test_reasoning_that_is_not_trained_may_be_dropped(loaded: ChatTokenizer) -> None:
    shown = chat(1, weight=0, reasoning_content="so be it")["messages"]
    rows = [{"messages": [*shown, *chat(2)["messages"]]}]
    assert "FT511" not in look(loaded, TURN + END, rows).counts
    each_alone = [chat(1, turns=2, reasoning_content="so be it")]
    assert "FT511" not in look(loaded, LAST_ONLY + END, each_alone).counts


def test_each_answer_is_looked_at_without_those_after_it(loaded: ChatTokenizer) -> None:
    first, second = (chat(1, reasoning_content=words) for words in ("so be it", "let me see"))
    row = {"messages": [*first["messages"], *second["messages"]]}
    assert "FT511" not in look(loaded, LAST_ONLY + END, [row]).counts
    assert look(loaded, TURN + END, [row]).row_counts["FT511"] == 1


def test_reasoning_of_pairs_and_of_validation_rows_is_seen(loaded: ChatTokenizer) -> None:
    answer = {"role": "assistant", "content": "two"}
    pair = {
        "input": {"messages": [{"role": "user", "content": "one"}]},
        "preferred_output": [answer],
        "non_preferred_output": [{**answer, "content": "no", "thinking": "so be it"}],
    }
    assert look(loaded, TURN + END, [pair], method="dpo").row_counts["FT511"] == 1
    held = [chat(1, thinking="so be it")]
    report = look(loaded, TURN + END, [chat(0)], validation=held)
    (found,) = (f for f in report.notices if f.code == "FT511")
    assert found.message.startswith("validation: ")


def test_parts_of_a_file_are_joined(loaded: ChatTokenizer) -> None:
    counter = TemplateCounter(dataclasses.replace(loaded, template=TURN + END, _compiled={}))
    whole, part = Checked(counting=Counting(counter)), Checked(counting=Counting(counter))
    assert part.counting is not None
    part.counting.add(2, chat(1, thinking="so be it"))
    for first_line in (0, 10, 20):
        whole.join(part.to_dict(), part.arrays(), first_line)
    assert whole.counting is not None
    assert whole.counting.dropped_reasoning == (3, 2)
