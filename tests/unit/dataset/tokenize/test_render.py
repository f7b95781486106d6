"""From a chat row to ids and mask, by templates of several makes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tokenizers", reason="needs ftsdk[local]")
pytest.importorskip("jinja2", reason="needs ftsdk[local]")

from ftsdk.dataset.tokenize.chat_template import ChatTokenizer, TemplateFailed
from ftsdk.dataset.tokenize.render import (
    RowFault,
    render_prompt,
    render_row,
    render_rows,
    render_sequences,
    stop_ids,
)
from ftsdk.errors import Unsupported
from tests.train import tiny

GENERATION = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and not loop.last %}...{% else %}{{ m.content }}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    tiny.write_tokenizer(path)
    return path


def tokenizer(folder: Path, template: str | None = None, **changes: Any) -> ChatTokenizer:
    import dataclasses

    loaded = ChatTokenizer.from_folder(folder, **changes)
    return (
        loaded if template is None else dataclasses.replace(loaded, template=template, _compiled={})
    )


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def learnt(row: list[dict[str, Any]], chat: ChatTokenizer) -> list[str]:
    """The trained pieces of text, in order."""
    rendered = render_row({"messages": row}, chat)
    pieces: list[list[int]] = []
    before = 0
    for token, trained in zip(rendered.ids, rendered.trained, strict=True):
        if trained and not before:
            pieces.append([])
        if trained:
            pieces[-1].append(token)
        before = trained
    return [chat.decode(piece) for piece in pieces]


@pytest.mark.parametrize("template", [None, GENERATION], ids=["by difference", "by generation"])
def test_answers_with_their_end_are_learnt_and_nothing_else(
    folder: Path, template: str | None
) -> None:
    chat = tokenizer(folder, template)
    row = [user("one"), assistant("two"), user("three"), assistant("cat dog")]
    assert learnt(row, chat) == ["two<|im_end|>", "cat dog<|im_end|>"]
    row[1]["weight"] = 0
    assert learnt(row, chat) == ["cat dog<|im_end|>"]


def test_the_whole_row_is_what_the_template_writes(folder: Path) -> None:
    chat = tokenizer(folder)
    rendered = render_row({"messages": [user("one"), assistant("two")]}, chat)
    assert chat.decode(list(rendered.ids)) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\none<|im_end|>\n"
        "<|im_start|>assistant\ntwo<|im_end|>\n"
    )
    prompt = render_prompt([user("one")], chat)
    assert list(rendered.ids)[: len(prompt)] == prompt
    assert rendered.trained.index(1) == len(prompt)
    assert len(rendered.trained) == len(rendered)


@pytest.mark.parametrize("start", ["\n", "\n\n", " ", "\t", "\u2028", "e\u0301", "\U0001f600"])
def test_the_prompt_of_training_is_the_prompt_of_inference(folder: Path, start: str) -> None:
    """Whatever an answer starts with, no token may reach across its start."""
    chat = tokenizer(folder)
    answer = start + "cat"
    rendered = render_row({"messages": [user("one"), assistant(answer)]}, chat)
    prompt = render_prompt([user("one")], chat)
    assert list(rendered.ids)[: len(prompt)] == prompt
    assert learnt([user("one"), assistant(answer)], chat) == [answer + "<|im_end|>"]


def test_stops_are_the_end_of_a_turn(folder: Path) -> None:
    chat = tokenizer(folder)
    assert stop_ids(chat) == {chat.eos_id}


def test_faults_name_every_row(folder: Path) -> None:
    chat = tokenizer(folder)
    rows = [
        {"messages": [user("one"), assistant("two")]},
        {"messages": [user("one")]},
        {"messages": [assistant("two"), user("one")]},
        {"messages": [user("red " * 99), assistant("two")]},
        {"messages": [user("one"), assistant("two", weight=0)]},
    ]
    done, faults = render_rows(rows, chat, max_length=60)
    assert len(done) == 1
    assert [(f.row, f.code) for f in faults] == [
        (2, "no_assistant"),
        (3, "assistant_first"),
        (4, "too_long"),
        (5, "no_assistant"),
    ]
    assert faults[2].tokens is not None
    assert faults[2].tokens > 60
    assert str(faults[2]).startswith("row 4: ")


def test_a_cut_row_keeps_its_start(folder: Path) -> None:
    chat = tokenizer(folder)
    row = {"messages": [user("one"), assistant("cat " * 60)]}
    [whole], _ = render_rows([row], chat)
    [cut], faults = render_rows([row], chat, max_length=50, truncate=True)
    assert not faults
    assert cut.ids == whole.ids[:50]
    assert cut.trained == whole.trained[:50]
    late = {"messages": [user("red " * 60), assistant("cat")]}
    done, faults = render_rows([late], chat, max_length=50, truncate=True)
    assert not done
    assert faults[0].code == "nothing_trained"


def test_a_row_of_exactly_max_length_is_whole(folder: Path) -> None:
    chat = tokenizer(folder)
    row = {"messages": [user("one"), assistant("cat")]}
    length = len(render_row(row, chat))
    for truncate in (False, True):
        [done], faults = render_rows([row], chat, max_length=length, truncate=truncate)
        assert (len(done), faults) == (length, [])
    done, [fault] = render_rows([row], chat, max_length=length - 1)
    assert (done, fault.code, fault.tokens) == ([], "too_long", length)
    assert f"{length} tokens, and max_length is {length - 1}" in fault.message


def test_one_trained_token_is_enough_to_keep_a_cut_row(folder: Path) -> None:
    chat = tokenizer(folder)
    row = {"messages": [user("one"), assistant("cat")]}
    start = len(render_prompt([user("one")], chat))
    [kept], _ = render_rows([row], chat, max_length=start + 1, truncate=True)
    assert kept.trained_count == 1
    done, [fault] = render_rows([row], chat, max_length=start, truncate=True)
    assert (done, fault.code) == ([], "nothing_trained")
    assert f"cut at max_length {start}, no assistant token is left" in fault.message


def test_a_row_that_trains_nothing_is_refused_by_name(folder: Path) -> None:
    silent = "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"  # fmt: skip
    chat = tokenizer(folder, silent)
    with pytest.raises(RowFault, match="its assistant turns are empty") as caught:
        render_row({"messages": [user("one"), assistant("two")]}, chat, number=7)
    assert (caught.value.code, caught.value.row) == ("nothing_trained", 7)
    done, [fault] = render_rows([{"messages": [user("one"), assistant("two")]}], chat)
    assert (done, fault.code) == ([], "nothing_trained")


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"input_ids": [5, 6, 7], "labels": [-100, -100, -100]}, "nothing_trained"),
        ({"input_ids": [5, 6, 7], "labels": [5, -100, -100]}, "nothing_trained"),
        ({"input_ids": [5]}, "nothing_trained"),  # the first token is never predicted
        ({"input_ids": []}, "nothing_trained"),
        ({"input_ids": [5, -1]}, "no_tokens"),
        ({"input_ids": [5, 6], "labels": [5]}, "no_tokens"),
        ({"input_ids": ["5", 6]}, "no_tokens"),
        ({"input_ids": 5}, "no_tokens"),
        ({"input_ids": [5, 2**40]}, "no_tokens"),
        ({"text": 5}, "no_text"),
        ({"input": None}, "no_messages"),
    ],
)
def test_rows_that_are_no_chat_are_refused_by_name(
    folder: Path, row: dict[str, Any], code: str
) -> None:
    with pytest.raises(RowFault) as caught:
        render_sequences(row, tokenizer(folder), number=4)
    assert (caught.value.code, caught.value.row) == (code, 4)


def test_a_token_row_is_what_it_says(folder: Path) -> None:
    chat = tokenizer(folder)
    [(_, given)] = render_sequences({"input_ids": [0, 6, 7], "labels": [-100, 6, -100]}, chat)
    assert (list(given.ids), list(given.trained), given.trained_count) == ([0, 6, 7], [0, 1, 0], 1)
    [(_, whole)] = render_sequences({"input_ids": [5, 6]}, chat)
    assert list(whole.trained) == [1, 1]


def test_a_template_that_rewrites_history_is_refused_or_split(folder: Path) -> None:
    chat = tokenizer(folder, FORGETFUL)
    row = [user("one"), assistant("two"), user("three"), assistant("cat")]
    with pytest.raises(RowFault) as caught:
        render_row({"messages": row}, chat)
    assert caught.value.code == "template_not_nested"
    assert chat.name in caught.value.message
    assert learnt([row[0], {**row[1], "weight": 0}, *row[2:]], chat) == ["cat<|im_end|>"]
    done, faults = render_rows([{"messages": row}], chat)
    assert not faults
    assert len(done) == 2


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ raise_exception('no tools') }}",
        "{{ messages[0].content + 1 }}",
        "{{ messages.append(1) }}",
        "{% if %}",
        "{{ 1 | no_such_filter }}",
        "{{ 1 / 0 }}",
        "{{ '{}'.format() }}",
        "{% for i in range(999999999) %}{% endfor %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_a_template_cannot_reach_out(folder: Path, template: str) -> None:
    chat = tokenizer(folder, template)
    with pytest.raises(TemplateFailed):
        chat.render([user("one")])
    with pytest.raises(RowFault, match="cannot render"):
        render_row({"messages": [user("one"), assistant("two")]}, chat)


TEXTS = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
PARTS = (
    "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}<|im_end|>{% endfor %}"
)


@pytest.mark.parametrize("template", [TEXTS, PARTS], ids=["reads text", "reads parts"])
@pytest.mark.parametrize("in_parts", [True, False])
def test_texts_and_parts_reach_the_template_in_the_form_that_it_reads(
    folder: Path, template: str, in_parts: bool
) -> None:
    chat = tokenizer(folder, template)
    texts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    row = {
        "messages": [
            {"role": "user", "content": texts if in_parts else "one two"},
            assistant("cat"),
        ]
    }
    rendered = render_row(row, chat)
    assert chat.decode(list(rendered.ids)) == "one two<|im_end|>cat<|im_end|>"


def test_a_template_that_closes_only_the_last_turn_and_opens_the_next(folder: Path) -> None:
    template = (
        "{% for m in messages %}{{ m.content }}"
        "{% if loop.last and not add_generation_prompt %}<|im_end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %} red{% endif %}"
    )
    chat = tokenizer(folder, template)
    assert learnt([user("one"), assistant("two")], chat) == ["two<|im_end|>"]


def test_marks_in_the_data_are_only_text(folder: Path) -> None:
    chat = tokenizer(folder, GENERATION)
    odd = "{% generation %}{{ 7*7 }}\ue000\ue001"
    assert learnt([user(odd), assistant(odd)], chat) == [odd + "<|im_end|>"]


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ("", '[{"b": 1, "a": "é"}]'),
        ("separators=(',', ':')", '[{"b":1,"a":"é"}]'),
        ("sort_keys=true", '[{"a": "é", "b": 1}]'),
        ("ensure_ascii=true", '[{"b": 1, "a": "\\u00e9"}]'),
        ("indent=1", '[\n {\n  "b": 1,\n  "a": "é"\n }\n]'),
    ],
)
def test_tools_are_written_as_the_template_asks(folder: Path, options: str, written: str) -> None:
    chat = tokenizer(folder, "{{ tools | tojson(" + options + ") }}")
    assert chat.render([user("one")], tools=[{"b": 1, "a": "é"}])[0] == written


@pytest.mark.parametrize("beside", ["in the configuration", "in files"])
def test_rows_with_tools_are_rendered_by_the_template_for_tools(
    folder: Path, tmp_path: Path, beside: str
) -> None:
    import json
    import shutil

    place = shutil.copytree(folder, tmp_path / "two")
    (place / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((place / "tokenizer_config.json").read_bytes())
    turns = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    calls = turns.replace("{{ m.content }}", "{{ m.content }}{{ (m.tool_calls or []) | tojson }}")
    for_tools = "{{ tools[0].function.name }}:" + calls
    config["chat_template"] = [
        {"name": "default", "template": turns},
        {"name": "tool_use", "template": for_tools},
    ]
    if beside == "in files":
        del config["chat_template"]
        (place / "chat_template.jinja").write_text(turns, encoding="utf-8")
        (place / "additional_chat_templates").mkdir()
        (place / "additional_chat_templates" / "tool_use.jinja").write_text(for_tools, "utf-8")
    (place / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    chat = ChatTokenizer.from_folder(place)
    tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    row = {"messages": [user("one"), {"role": "assistant", "content": None, "tool_calls": [call]}]}

    plain = render_row({"messages": [user("one"), assistant("two")]}, chat)
    assert chat.decode(list(plain.ids)) == "one<|im_end|>two<|im_end|>"
    shown = chat.decode(list(render_row({**row, "tools": [tool]}, chat).ids))
    assert shown.startswith("weather:one")
    assert '"arguments": {}' in shown
    with pytest.raises(RowFault, match="no place for tool calls"):
        render_row(row, chat)


CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"a": 1}'}}


def called(text: str | None) -> dict[str, Any]:
    return {"role": "assistant", "content": text, "tool_calls": [CALL]}


def test_a_template_that_writes_calls_for_null_content_gets_it(folder: Path) -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'assistant' and m.content is none %}"
        "{{ m.tool_calls[0].function.name + m.tool_calls[0].function.arguments }}"
        "{% else %}{{ m.content }}{% endif %}<|im_end|>{% endfor %}"
    )
    chat = tokenizer(folder, template)
    assert learnt([user("one"), called(None)], chat) == ['weather{"a": 1}<|im_end|>']
    assert learnt([user("one"), called("")], chat) == ['weather{"a": 1}<|im_end|>']
    with pytest.raises(RowFault, match="drops the tool calls"):
        render_row({"messages": [user("one"), called("I look")]}, chat)


@pytest.mark.parametrize("read", ["reasoning_content", "thinking"])
@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_reaches_the_template_by_the_name_that_it_reads(
    folder: Path, read: str, key: str
) -> None:
    template = "{% for m in messages %}{{ m." + read + " or '' }}{{ m.content }}<|im_end|>{% endfor %}"  # fmt: skip
    chat = tokenizer(folder, template)
    assert learnt([user("one"), assistant("two", **{key: "so: "})], chat) == ["so: two<|im_end|>"]


def test_the_day_in_a_prompt_can_be_held(folder: Path) -> None:
    day = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    chat = tokenizer(folder, "{{ strftime_now('%d %b %Y') }}", now=day)
    chat = tokenizer(folder, "{{ strftime_now('%d %b %Y') }}", now=day)
    assert chat.render([user("one")])[0] == "02 Jan 2026"


def test_a_folder_without_template_or_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"tokenizer\.json"):
        ChatTokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(Unsupported, match="chat template"):
        ChatTokenizer.from_folder(tmp_path)


def test_a_row_that_begins_with_its_answer_is_refused_as_such(folder: Path) -> None:
    from ftsdk.dataset import validate

    row = {"messages": [assistant("two"), user("one"), assistant("three")]}
    (fault,) = validate([row], tokenizer=tokenizer(folder)).faults
    assert fault.code == "FT509"
    assert "before it" in fault.hint
    row["messages"][0]["weight"] = 0
    assert validate([row], tokenizer=tokenizer(folder)).ok
