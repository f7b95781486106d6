"""Converting: what fits comes back as it was, what does not is refused by name and never dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.dataset import Dataset, convert, validate
from ftsdk.dataset.conversion.convert import WRITERS, write_row
from ftsdk.dataset.formats.registry import FORMATS, detect
from ftsdk.dataset.row import shape_of
from ftsdk.errors import DatasetError, UsageError

text = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20
)
parts = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": text}), min_size=2, max_size=3
)
content = st.one_of(text, text, parts)


@st.composite
def chats(draw: st.DrawFn) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(content)})
    for _ in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(content)})
        answer: dict[str, Any] = {"role": "assistant", "content": draw(content)}
        for key, values in (
            ("weight", st.sampled_from([0, 1])),
            ("name", text),
            ("reasoning_content", text),
        ):
            if draw(st.integers(0, 5)) == 0:
                answer[key] = draw(values)
        messages.append(answer)
    row: dict[str, Any] = {"messages": messages}
    if draw(st.integers(0, 5)) == 0:
        row["tools"] = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    if draw(st.integers(0, 5)) == 0:
        row["parallel_tool_calls"] = draw(st.booleans())
    return row


@st.composite
def preferences(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "input": {"messages": draw(chats())["messages"][:-1]},
        "preferred_output": [{"role": "assistant", "content": draw(content)}],
        "non_preferred_output": [{"role": "assistant", "content": draw(content)}],
    }


rows = st.one_of(chats(), preferences(), st.fixed_dictionaries({"text": text}))


def said(value: Any) -> str:
    """Everything a row says, to find out whether something was dropped."""
    return json.dumps(value, ensure_ascii=False)


@given(rows, st.sampled_from(sorted(WRITERS)))
def test_a_row_comes_back_or_is_refused_by_name(row: dict[str, Any], to: str) -> None:
    written = WRITERS[to](row)
    if isinstance(written, list):
        assert all(hit.message for hit in written)
        assert to not in {"chat", "preference", "text"} or FORMATS[to].shape != shape_of(row)
        return
    assert json.loads(json.dumps(written)) == written
    assert FORMATS[to].read(json.loads(json.dumps(written))) == row
    assert detect(written) == to or {to, detect(written)} <= {"chat", "claude"}


@settings(max_examples=100, deadline=None)
@given(chats())
def test_features_are_never_dropped(row: dict[str, Any]) -> None:
    rich = any(len(m) > 2 for m in row["messages"]) or len(row) > 1
    for to in ("completion", "instruction", "sharegpt", "claude"):
        if rich:
            assert isinstance(WRITERS[to](row), list), to


def test_convert_writes_a_file_that_reads_the_same(tmp_path: Path) -> None:
    source = [
        {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "a"},
                      {"role": "assistant", "content": "b"}]},
        {"messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]},
    ]  # fmt: skip
    for to in ("converse", "claude", "gemini", "sharegpt", "instruction", "bedrock", "vertex"):
        path = tmp_path / f"{to}.jsonl"
        assert convert(source, to, path) == 2
        assert list(Dataset.load(path)) == source, to


def test_what_does_not_fit_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    good = {"messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}
    bad = {"messages": [{"role": "user", "content": "c", "name": "Ann"},
                        {"role": "assistant", "content": "d", "weight": 1}]}  # fmt: skip
    with pytest.raises(DatasetError) as caught:
        convert([good, bad, good], "gemini", tmp_path / "out.jsonl")
    found = [(f.code, f.line, f.field) for f in caught.value.report.faults]
    assert found == [("FT216", 2, "messages[0].name"), ("FT216", 2, "messages[1].weight")]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DatasetError) as caught:
        convert([bad], "together", tmp_path / "out.jsonl")
    assert [f.code for f in caught.value.report.faults] == ["FT206"]
    with pytest.raises(UsageError, match="did you mean 'gemini'"):
        convert([good], "gemin", tmp_path / "out.jsonl")
    with pytest.raises(UsageError, match="text only"):
        write_row({"messages": [{"role": "user", "content": [1]}, good["messages"][1]]}, "claude")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"text": "t", "source": "web"}, "source"),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "score_chosen": 5}, "score_chosen"),
        ({"input": {"messages": [{"role": "user", "content": "a"}], "note": 1},
          "preferred_output": [{"role": "assistant", "content": "b"}],
          "non_preferred_output": [{"role": "assistant", "content": "c"}]}, "input.note"),
    ],
)  # fmt: skip
def test_keys_of_pairs_and_texts_that_a_provider_has_no_place_for_are_named(
    row: dict[str, Any], field: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError) as caught:
        convert([row], "together", tmp_path / "out.jsonl")
    assert [(f.code, f.field) for f in caught.value.report.faults] == [("FT206", field)]


USER, ANSWER = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
THOUGHT = {"type": "thinking", "thinking": "t", "signature": "s"}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"messages": [{"role": "robot", "content": "a"}, ANSWER]}, "messages[0].role"),
        ({"messages": [USER, {"role": "assistant", "content": [THOUGHT]}]}, "messages[1].content[0].type"),
        ({"contents": [{"role": "user", "parts": [{"fileData": {"mimeType": "video/mp4", "fileUri": "gs://v.mp4"}}]},
                       {"role": "model", "parts": [{"text": "b"}]}]}, "contents[0].parts[0]"),
        ({"schemaVersion": "bedrock-conversation-2024", "toolConfig": {"toolChoice": {"auto": {}}},
          "messages": [{"role": "user", "content": [{"text": "a"}]}, {"role": "assistant", "content": [{"text": "b"}]}]},
         "toolConfig"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "function_call", "value": "{}"}]},
         "conversations[1].from"),
    ],
)  # fmt: skip
def test_chat_rows_hold_nothing_that_chat_has_no_place_for(
    row: dict[str, Any], field: str, tmp_path: Path
) -> None:
    for to in ("chat", "openai", "local"):
        with pytest.raises(DatasetError) as caught:
            convert([row], to, tmp_path / "out.jsonl")
        found = [f.field for f in caught.value.report.faults if f.code == "FT216"]
        assert found == [field], to
    assert list(tmp_path.iterdir()) == []


def test_pairs_hold_nothing_that_they_have_no_place_for(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "robot", "content": "a"}], "chosen": [ANSWER],
           "rejected": [{"role": "assistant", "content": [THOUGHT]}]}  # fmt: skip
    with pytest.raises(DatasetError) as caught:
        convert([row], "preference", tmp_path / "out.jsonl")
    found = [(f.code, f.field) for f in caught.value.report.faults]
    assert found == [("FT216", "prompt[0].role"), ("FT216", "rejected[0].content[0].type")]


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "human", "value": "a", "content": "lost"}, {"from": "gpt", "value": "b"}]},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "role": "lost", "value": "b"}]},
        {"instruction": ["lost"], "input": "a", "output": "b"},
    ],
)  # fmt: skip
def test_what_is_said_twice_or_wrongly_is_a_fault_and_not_dropped(row: dict[str, Any]) -> None:
    assert "lost" in said(list(Dataset.load([row])))
    assert not validate([row]).ok


def test_an_input_without_instruction_is_the_question() -> None:
    (row,) = Dataset.load([{"instruction": "", "input": "a", "output": "b"}])
    assert row == {"messages": [USER, ANSWER]}


@pytest.mark.parametrize(
    ("row", "name", "field"),
    [
        ({"prompt": "a", "completion": ""}, "completion", "completion"),
        ({"instruction": "a", "output": ""}, "instruction", "output"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": ""}]}, "sharegpt",
         "conversations[1].value"),
        ({"conversations": [{"from": "robot", "value": "a"}, {"from": "gpt", "value": "b"}]}, "sharegpt",
         "conversations[0].from"),
        ({"contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": []}]}, "gemini",
         "contents[1].parts"),
        ({"prompt": "a", "chosen": "b", "rejected": ""}, "chosen", "rejected"),
        ({"system": "x", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]},
         "claude", "messages[1].content"),
    ],
)  # fmt: skip
def test_faults_have_the_field_names_of_the_file(
    row: dict[str, Any], name: str, field: str
) -> None:
    report = validate([row])
    assert report.format == name
    assert field in [f.field for f in report.faults]


def test_mixed_and_forced_formats(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}
    mixed = validate([chat, {"text": "x"}, {"foo": 1}])
    assert [(f.code, f.line) for f in mixed.faults] == [("FT101", 2), ("FT100", 3)]
    both = {"prompt": "p", "completion": "c", "text": "t"}
    assert validate([both]).format == "completion"
    assert validate([both], format="text").format == "text"
    with pytest.raises(UsageError, match="no row format"):
        validate([chat], format="chatt")


def says(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def test_a_prompt_and_a_completion_may_be_messages() -> None:
    """As TRL has them; the prompt's own answers are context, unless they say otherwise."""
    row = {
        "prompt": [says("user", "Hi"), says("assistant", "Hello."), says("user", "Sky?")],
        "completion": [says("assistant", "Blue.")],
    }
    assert detect(row) == "completion"
    assert FORMATS["completion"].read(row) == {
        "messages": [
            says("user", "Hi"),
            says("assistant", "Hello.", weight=0),
            says("user", "Sky?"),
            says("assistant", "Blue."),
        ]
    }
    row["prompt"][1]["weight"] = 1
    assert FORMATS["completion"].read(row)["messages"][1]["weight"] == 1
    row["completion"][0]["content"] = ""
    (fault,) = validate([row]).faults
    assert (fault.code, fault.field) == ("FT109", "completion[0].content")


def test_a_prompt_that_both_conversations_begin_with_is_said_once() -> None:
    """As UltraFeedback has it: the prompt as a text, and again in both lists."""
    asked = [says("system", "Be right."), says("user", "Sky?")]
    row = {
        "prompt": "Sky?",
        "chosen": [*asked, says("assistant", "Blue.")],
        "rejected": [*asked, says("assistant", "Green.")],
    }
    assert FORMATS["chosen"].read(row) == {
        "input": {"messages": asked},
        "preferred_output": [says("assistant", "Blue.")],
        "non_preferred_output": [says("assistant", "Green.")],
    }
    assert validate([row], method="dpo").ok
    row["rejected"][2]["content"] = ""
    (fault,) = validate([row], method="dpo").faults
    assert fault.field == "rejected[2].content"
    row["prompt"] = "Sea?"  # not what the conversations begin with: nothing is dropped
    assert {f.code for f in validate([row], method="dpo").faults} >= {"FT126"}
