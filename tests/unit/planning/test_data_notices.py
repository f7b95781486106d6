"""The notices about the rows stand where the decision is made: in the plan, before a job is created."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.fake import FakeBackend
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.errors import DatasetError
from tests.train import tiny

Row = dict[str, Any]
TURN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
PLAIN = TURN + "<|im_end|>\n{% endfor %}" + PROMPT
OPEN = TURN + "\n{% endfor %}" + PROMPT


def chat(number: int, **answer: Any) -> Row:
    said = {"role": "assistant", "content": f"the answer is {number}", **answer}
    return {"messages": [{"role": "user", "content": f"question {number}"}, said]}


TOOLS = [{"type": "function", "function": {"name": "look"}}]


@pytest.fixture
def shown_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives the fake backend a tokenizer with a chat template."""
    tiny.write_tokenizer(tmp_path / "tokenizer")
    loaded = ChatTokenizer.from_folder(tmp_path / "tokenizer")

    def use(template: str) -> None:
        chosen = dataclasses.replace(loaded, template=template, _compiled={})
        monkeypatch.setattr(FakeBackend, "tokenizer_for", lambda *_: chosen)

    return use


def codes(tmp_path: Path, rows: list[Row], **options: Any) -> list[tuple[str, int]]:
    plan = ftsdk.Client(home=tmp_path).plan(rows, provider="fake", model="fake-1", **options)
    return [(one.code, one.rows) for one in plan.data]


def test_a_plan_has_the_notices_of_the_rows(tmp_path: Path) -> None:
    assert codes(tmp_path, [chat(1), chat(2)]) == []
    rows = [chat(1), chat(1), {**chat(2), "id": 7}]
    assert codes(tmp_path, rows) == [("FT120", 1), ("FT302", 2)]
    asked = [{"question": f"a {i}", "answer": f"b {i}"} for i in range(3)]
    plan = ftsdk.Client(home=tmp_path).plan(asked, provider="fake", model="fake-1")
    assert [one.code for one in plan.data] == ["FT026"]
    assert "question as prompt" in plan.explain()


def test_what_the_template_leaves_out_comes_first(
    tmp_path: Path, shown_by: Callable[[str], None]
) -> None:
    shown_by(PLAIN)
    rows = [
        chat(1),
        chat(1),
        chat(2, reasoning_content="because of it"),
        {**chat(3), "tools": TOOLS},
    ]
    found = [code for code, _ in codes(tmp_path, rows)]
    assert found[0] == "FT511"
    assert "FT507" in found
    assert "FT505" not in found  # the same as FT511
    assert found.index("FT302") > found.index("FT507")


def test_an_answer_without_an_end_is_one_notice(
    tmp_path: Path, shown_by: Callable[[str], None]
) -> None:
    shown_by(OPEN)
    found = [code for code, _ in codes(tmp_path, [chat(1), chat(2)])]
    assert "FT510" in found
    assert "FT503" not in found


def test_the_sample_is_named_as_one(tmp_path: Path, shown_by: Callable[[str], None]) -> None:
    shown_by(PLAIN)
    row = {**chat(1), "tools": TOOLS}
    rows = [{**row, "messages": chat(i)["messages"]} for i in range(230)]
    plan = ftsdk.Client(home=tmp_path).plan(rows, provider="fake", model="fake-1")
    (found,) = [one for one in plan.data if one.code == "FT507"]
    assert "of the first 200 rows" in found.message


def test_strict_refuses_a_job_with_a_notice_before_anything_is_journaled(tmp_path: Path) -> None:
    client = ftsdk.Client(home=tmp_path)
    rows = [chat(1), chat(1)]
    for make in (client.plan, client.create_job):
        with pytest.raises(DatasetError, match="rows are the same") as caught:
            make(rows, provider="fake", model="fake-1", strict=True)
        assert caught.value.submitted == "no"
    assert client.list_jobs() == []
    assert client.create_job([chat(1), chat(2)], provider="fake", model="fake-1", strict=True).id


def test_the_job_keeps_codes_and_numbers_but_no_text_of_the_rows(tmp_path: Path) -> None:
    rows = [chat(1), chat(1, reasoning_content="a secret thought"), {**chat(2), "id": 7}]
    job = ftsdk.Client(home=tmp_path).create_job(rows, provider="fake", model="fake-1")
    kept = job.snapshot.dataset["data_notices"]
    assert {"code": "FT120", "rows": 1} in kept
    assert "secret thought" not in str(kept)
