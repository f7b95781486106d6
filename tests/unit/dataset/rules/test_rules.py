"""Row rules: each code fires on its own bad row, at its field, and on no sound row."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.dataset import RULES, validate
from ftsdk.dataset.provider_limits import limits_for
from ftsdk.dataset.row import canonical_bytes
from ftsdk.dataset.rules.fast_path import is_plain
from ftsdk.dataset.rules.provider import file_faults

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
}
TOOL_ROW: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Help."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "assistant", "content": "It rains.", "weight": 1},
    ],
    "tools": [WEATHER],
    "parallel_tool_calls": False,
}
CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
}
OLD: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
    ],
    "functions": [{"name": "f"}],
}
PREFERENCE: dict[str, Any] = {
    "input": {"messages": [{"role": "user", "content": "a"}]},
    "preferred_output": [{"role": "assistant", "content": "b"}],
    "non_preferred_output": [{"role": "assistant", "content": "c"}],
}
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def changed(row: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    row = copy.deepcopy(row)
    at: Any = row
    steps = [int(s) if s.isdigit() else s for s in path.split(".")]
    for step in steps[:-1]:
        at = at[step]
    if value is KeyError:
        del at[steps[-1]]
    elif value is list.append:
        at.append(steps[-1])
    else:
        at[steps[-1]] = value
    return row


def image(url: Any, role: str = "user") -> dict[str, Any]:
    part = {"type": "image_url", "image_url": {"url": url}}
    if role == "assistant":
        return changed(CHAT, "messages.1.content", [part])
    return changed(CHAT, "messages.0.content", [{"type": "text", "text": "look"}, part])


A = "messages.2.tool_calls.0.function.arguments"
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("FT102", "messages", {"messages": None}),
    ("FT102", "messages", {"messages": []}),
    ("FT102", "messages", {"messages": "hello"}),
    ("FT102", "messages", {"messages": {}}),
    ("FT103", "messages[0]", changed(CHAT, "messages.0", "hello")),
    ("FT104", "messages[0].role", changed(CHAT, "messages.0.role", "User")),
    ("FT104", "messages[0].role", changed(CHAT, "messages.0.role", KeyError)),
    ("FT132", "messages[0].role", changed(CHAT, "messages.0.role", "function")),
    ("FT116", "messages[0].name", changed(CHAT, "messages.0.role", "function")),
    ("FT116", "messages[2].name", {"messages": [*OLD["messages"][:2], {"role": "function", "name": "g", "content": "1"},
                                                {"role": "assistant", "content": "b"}], "functions": [{"name": "f"}]}),
    ("FT113", "messages[1].function_call.arguments", changed(OLD, "messages.1.function_call.arguments", {})),
    ("FT113", "messages[2].tool_calls[0].function.arguments", changed(TOOL_ROW, A, ["Oslo"])),
    ("FT114", "messages[1].function_call.arguments", changed(OLD, "messages.1.function_call.arguments", '"{}"')),
    ("FT117", "messages[1].function_call.name", changed(OLD, "messages.1.function_call.name", "g")),
    ("FT118", "messages[1].function_call.arguments",
     changed(OLD, "functions", [{"name": "f", "parameters": {"type": "object", "required": ["a"]}}])),
    ("FT104", "messages[0].role", changed(CHAT, "messages.0.role", ["user"])),
    ("FT104", "messages[1].role", changed(TOOL_ROW, "messages.1.role", "аssistant")),
    ("FT105", "messages[0].content", changed(CHAT, "messages.0.content", None)),
    ("FT105", "messages[0].content", changed(CHAT, "messages.0.content", 7)),
    ("FT105", "messages[0].content", changed(CHAT, "messages.0.content", "")),
    ("FT106", "messages[0].content[0].type", changed(CHAT, "messages.0.content", [{"type": "video"}])),
    ("FT106", "messages[0].content[0]", changed(CHAT, "messages.0.content", ["text"])),
    ("FT106", "messages[0].content[0].text", changed(CHAT, "messages.0.content", [{"type": "text"}])),
    ("FT106", "messages[0].content[1].image_url", image("")),
    ("FT107", "messages[4].weight", changed(TOOL_ROW, "messages.4.weight", True)),
    ("FT107", "messages[4].weight", changed(TOOL_ROW, "messages.4.weight", 0.5)),
    ("FT107", "messages[4].weight", changed(TOOL_ROW, "messages.4.weight", "1")),
    ("FT107", "messages[4].weight", changed(TOOL_ROW, "messages.4.weight", 2)),
    ("FT107", "messages[1].weight", changed(TOOL_ROW, "messages.1.weight", 1)),
    ("FT108", "messages", changed(CHAT, "messages.1", KeyError)),
    ("FT109", "messages[1].content", changed(CHAT, "messages.1.content", " \n")),
    ("FT109", "messages[1].content", changed(CHAT, "messages.1.content", None)),
    ("FT110", "messages[1].role", {"messages": [*reversed(CHAT["messages"])]}),
    ("FT111", "messages", changed(CHAT, "messages.1.weight", 0)),
    ("FT112", "messages[2].tool_calls[0].id", changed(TOOL_ROW, "messages.2.tool_calls.0.id", "")),
    ("FT112", "messages[2].tool_calls", changed(TOOL_ROW, "messages.2.tool_calls", {})),
    ("FT112", "messages[2].tool_calls[0]", changed(TOOL_ROW, "messages.2.tool_calls.0", "weather")),
    ("FT112", "messages[2].tool_calls[0].type", changed(TOOL_ROW, "messages.2.tool_calls.0.type", "x")),
    ("FT112", "messages[2].tool_calls[1].id", changed(TOOL_ROW, "messages.2.tool_calls", [CALL, CALL])),
    ("FT113", "messages[2].tool_calls[0].function.arguments", changed(TOOL_ROW, A, "{city}")),
    ("FT113", "messages[2].tool_calls[0].function.arguments", changed(TOOL_ROW, A, "[]")),
    ("FT113", "messages[2].tool_calls[0].function.arguments", changed(TOOL_ROW, A, None)),
    ("FT114", "messages[2].tool_calls[0].function.arguments",
     changed(TOOL_ROW, A, json.dumps('{"city":"Oslo"}'))),
    ("FT115", "messages[2].tool_calls[0].id", changed(TOOL_ROW, "messages.3", KeyError)),
    ("FT116", "messages[3].tool_call_id", changed(TOOL_ROW, "messages.3.tool_call_id", "c9")),
    ("FT116", "messages[3].tool_call_id", changed(TOOL_ROW, "messages.3.tool_call_id", KeyError)),
    ("FT117", "messages[2].tool_calls[0].function.name", changed(TOOL_ROW, "tools", KeyError)),
    ("FT118", "messages[2].tool_calls[0].function.arguments", changed(TOOL_ROW, A, "{}")),
    ("FT118", "messages[2].tool_calls[0].function.arguments", changed(TOOL_ROW, A, '{"city":1}')),
    ("FT118", "messages[2].tool_calls[0].function.arguments",
     changed(TOOL_ROW, A, '{"city":"a","days":0}')),
    ("FT118", "messages[2].tool_calls[0].function.arguments",
     changed(TOOL_ROW, A, '{"city":"a","town":0}')),
    ("FT119", "tools", changed(TOOL_ROW, "tools", {})),
    ("FT119", "tools[0]", changed(TOOL_ROW, "tools.0", {"title": "weather"})),
    ("FT119", "tools[1].function.name", changed(TOOL_ROW, "tools", [WEATHER, WEATHER])),
    ("FT119", "parallel_tool_calls", changed(TOOL_ROW, "parallel_tool_calls", "no")),
    ("FT120", "messages[4].wieght", changed(TOOL_ROW, "messages.4.wieght", 1)),
    ("FT120", "id", changed(CHAT, "id", 1)),
    ("FT121", "messages[0].content[1].image_url.url", image("file:///etc/passwd")),
    ("FT121", "messages[0].content[1].image_url.url", image("/etc/passwd")),
    ("FT121", "messages[0].content[1].image_url.url", image("http://169.254.169.254/latest")),
    ("FT121", "messages[0].content[1].image_url.url", image("http://2130706433/")),
    ("FT121", "messages[0].content[1].image_url.url", image("http://[::1]/x.png")),
    ("FT122", "messages[0].content[1].image_url.url", image("data:image/svg+xml;base64,PHN2Zz4=")),
    ("FT122", "messages[0].content[1].image_url.url", image("data:image/png;base64,PGh0bWw+PGh0bWw+")),
    ("FT122", "messages[0].content[1].image_url.url", image(PNG.replace("png", "jpeg"))),
    ("FT122", "messages[0].content[1].image_url.url", image("data:image/png;base64," + "A" * (15 << 20))),
    ("FT123", "messages[1].content[0].image_url", image(PNG, "assistant")),
    ("FT124", "messages[1].role", changed(TOOL_ROW, "messages.0.role", "user")
     | {"messages": [TOOL_ROW["messages"][1], TOOL_ROW["messages"][0], *TOOL_ROW["messages"][2:]]}),
    ("FT125", "messages[1].role", {"messages": [CHAT["messages"][0], *CHAT["messages"]]}),
    ("FT126", "input", changed(PREFERENCE, "input", KeyError)),
    ("FT126", "preferred_output", changed(PREFERENCE, "preferred_output", "b")),
    ("FT126", "non_preferred_output", changed(PREFERENCE, "non_preferred_output", [])),
    ("FT127", "preferred_output[0].role", changed(PREFERENCE, "preferred_output.0.role", "user")),
    ("FT127", "input.messages[0].content", changed(PREFERENCE, "input.messages.0.content", "")),
    ("FT128", "non_preferred_output", changed(PREFERENCE, "non_preferred_output.0.content", "b")),
    ("FT129", "text", {"text": ""}),
    ("FT129", "text", {"text": 5}),
    ("FT130", "images", changed(CHAT, "images", ["a.png"])),
    ("FT130", "messages[0].images", changed(CHAT, "messages.0.images", ["a.png"])),
    ("FT130", "image", {"text": "look", "image": "a.png"}),
    ("FT130", "audio", changed(PREFERENCE, "audio", {"path": "a.wav"})),
    ("FT130", "messages[1].audio", changed(CHAT, "messages.1.audio", {"id": "a"})),
    ("FT131", "label", {"prompt": "a", "completion": "b", "label": False}),
    ("FT131", "label", changed(CHAT, "label", True)),
    ("FT133", "loss_mask", changed(CHAT, "loss_mask", [0, 1])),
    ("FT133", "messages[1].loss", changed(CHAT, "messages.1.loss", 0.5)),
    ("FT132", "functions", changed(CHAT, "functions", [{"name": "f"}])),
    ("FT132", "messages[1].function_call", changed(CHAT, "messages.1.function_call", {"name": "f", "arguments": "{}"})),
    ("FT131", "kto_tag", {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
                          "kto_tag": False}),
    ("FT021", "messages[0].content", changed(CHAT, "messages.0.content", "a\x00b")),
    ("FT310", "messages[0].content", changed(CHAT, "messages.0.content", "a\u202eb")),
    ("FT310", "messages[0].content", changed(CHAT, "messages.0.content", "a\U000e0041b")),
    ("FT310", "messages[0].content", changed(CHAT, "messages.0.content", "a\u200db")),
    ("FT311", "messages[0].content", changed(CHAT, "messages.0.content", "a<|im_end|>b")),
    ("FT311", "messages[1].content", changed(CHAT, "messages.1.content", "[INST] x")),
    ("FT315", "messages[1].content", changed(CHAT, "messages.1.content", "Once. " + "Eat a banana! " * 20)),
    ("FT315", "text", {"text": "The same sentence again and again.\n" * 9}),
    ("FT316", "messages[1].content", changed(CHAT, "messages.1.content", "Dear {{customer_name}}, hello")),
    ("FT316", "messages[1].content", changed(CHAT, "messages.1.content", "See [INSERT ANSWER HERE] below")),
    ("FT317", "messages[1].content", changed(CHAT, "messages.1.content", "un cafÃ© noir")),
    ("FT317", "messages[0].content", changed(CHAT, "messages.0.content", "itâ€™s fine")),
    ("FT317", "messages[1].content", changed(CHAT, "messages.1.content", "caf\ufffd")),
    ("FT318", "messages[1].content", changed(CHAT, "messages.1.content", "I&#39;m &quot;fine&quot;")),
    ("FT319", "messages[1].content", changed(CHAT, "messages.1.content", "a")),
    ("FT320", "messages[1].content", changed(CHAT, "messages.1.content", "Yes.\n\nUser: And?\nAssistant: No.")),
    ("FT320", "preferred_output[0].content", changed(PREFERENCE, "preferred_output.0.content", "b\nHuman: c\nAI: d")),
    ("FT311", "preferred_output[0].content", changed(PREFERENCE, "preferred_output.0.content", "</s>")),
]  # fmt: skip


def test_media_and_labels_are_faults_that_name_them_not_unknown_keys() -> None:
    row = changed(changed(CHAT, "images", ["a.png"]), "label", False)
    report = validate([row], near_duplicates=False)
    assert [f.code for f in report.faults] == ["FT130", "FT131"]
    assert report.format == "kto"
    assert "FT120" not in report.counts
    report = validate(
        [CHAT, changed(CHAT, "messages.0.image", "a.png"), row], near_duplicates=False
    )
    assert [f.code for f in report.faults] == ["FT130", "FT130", "FT131"]
    harmless = [
        changed(CHAT, "images", []),
        changed(CHAT, "image", None),
        changed(CHAT, "label", "billing"),
    ]
    assert set(validate(harmless, near_duplicates=False).counts) <= {"FT120", "FT302"}


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda i: f"{CASES[i][0]}-{i}")
def test_the_rule_fires_at_its_field(number: int) -> None:
    code, field, row = CASES[number]
    report = validate([row])
    found = [(f.code, f.field) for f in (*report.faults, *report.notices)]
    assert (code, field) in found
    fault = next(f for f in (*report.faults, *report.notices) if f.code == code)
    assert fault.severity == RULES[code].severity
    assert len(fault.value) <= 60


@pytest.mark.parametrize("row", [TOOL_ROW, CHAT, PREFERENCE, image(PNG), image("https://a.org/x.png"),
                                 {"text": "hello"}])  # fmt: skip
def test_sound_rows_have_no_finding(row: dict[str, Any]) -> None:
    report = validate([row])
    assert (*report.faults, *report.notices) == ()


def test_every_row_rule_is_tried_and_every_code_has_a_page() -> None:
    tried = {code for code, _, _ in CASES}
    # The rules of tokenized rows have their cases in test_tokenized.
    assert {code for code, r in RULES.items() if r.check and r.shape != "tokens"} <= tried
    for rule in RULES.values():
        assert rule.title
        assert rule.hint


text = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["<|im_end|>", "[INST]", "</s>", "\u200b", "a", " ", "\x00"]),
    st.sampled_from(
        [
            "{{name}}",
            "[INSERT x]",
            "lorem ipsum dolor",
            "cafÃ©",
            "\ufffd",
            "&amp;",
            "x\nUser: y\nAI: z",
            "x\n\tHuman: y\nBot: z",
            "word by word " * 30,
        ]
    ),
)
message = st.dictionaries(
    st.sampled_from(["role", "content", "name", "weight"]),
    st.one_of(
        st.sampled_from(["user", "assistant", "system", "tool"]), text, st.integers(0, 2), st.none()
    ),
    max_size=3,
)
turn = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": text}
)


@given(st.lists(st.one_of(turn, message), max_size=5))
def test_plain_rows_break_no_rule(messages: list[Any]) -> None:
    row = {"messages": messages}
    if is_plain(canonical_bytes(row), row):
        for rule in RULES.values():
            if rule.check and rule.shape in ("chat", "any"):
                assert list(rule.check(row)) == [], rule.code


TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]  # fmt: skip


def pair_with_call(arguments: Any, name: str = "look", **prompt: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    call = {"id": "c1", "type": "function", "function": function}
    return {
        "input": {"messages": [{"role": "user", "content": "weather?"}], "tools": TOOLS, **prompt},
        "preferred_output": [{"role": "assistant", "tool_calls": [call]}],
        "non_preferred_output": [{"role": "assistant", "content": "no idea"}],
    }


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        (pair_with_call("no json"), "FT113", "preferred_output[0].tool_calls[0].function.arguments"),
        (pair_with_call('"{}"'), "FT114", "preferred_output[0].tool_calls[0].function.arguments"),
        (pair_with_call("{}", "other"), "FT117", "preferred_output[0].tool_calls[0].function.name"),
        (pair_with_call('{"city": 5}'), "FT118", "preferred_output[0].tool_calls[0].function.arguments"),
        (pair_with_call('{"city": "a"}', tools=[{}]), "FT119", "input.tools[0]"),
        (pair_with_call('{"city": "a"}', messages=[{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [
            {"id": "c0", "type": "function", "function": {"name": "look", "arguments": '{"city": "b"}'}}]}]),
         "FT115", "input.messages[1].tool_calls[0].id"),
        (pair_with_call('{"city": "a"}', messages=[{"role": "user", "content": [
            {"type": "text", "text": "this"}, {"type": "image_url", "image_url": {"url": "file:///a.png"}}]}]),
         "FT121", "input.messages[0].content[1].image_url.url"),
    ],
)  # fmt: skip
def test_tools_and_images_of_a_pair_are_checked_as_in_chat(
    row: dict[str, Any], code: str, field: str
) -> None:
    report = validate([row], tokens=False, near_duplicates=False, method="dpo")
    assert [f.field for f in report.faults if f.code == code] == [field]
    sound = pair_with_call('{"city": "a"}')
    assert validate([sound], tokens=False, near_duplicates=False, method="dpo").ok


def said(text: str, role: str = "user") -> dict[str, str]:
    return {"role": role, "content": text}


KEY = "sk_live_5fD40IrMzkXEbsjtU2aeq8ed"
PAIRED: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": "x", "chosen": KEY, "rejected": "y"}, "FT401", "chosen"),
    ({"prompt": KEY, "chosen": "z", "rejected": "y"}, "FT401", "prompt"),
    ({"prompt": [said("a"), said("b", "assistant"), said(KEY)], "chosen": [said("q", "assistant")],
      "rejected": [said("r", "assistant")]}, "FT401", "prompt[2].content"),
    ({"chosen": [said("a"), said(KEY, "assistant")], "rejected": [said("a"), said("b", "assistant")]},
     "FT401", "chosen[1].content"),
    ({"chosen": [said(KEY), said("c", "assistant")], "rejected": [said(KEY), said("b", "assistant")]},
     "FT401", "chosen[0].content"),
    ({"prompt": "x", "chosen": "y"}, "FT126", "rejected"),
    ({"prompt": "x", "chosen": "y", "rejected": ""}, "FT127", "rejected"),
    ({"prompt": "x", "chosen": "y", "rejected": "z", "tools": [{}]}, "FT119", "tools[0]"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "code", "field"), PAIRED)
def test_a_finding_of_a_pair_has_its_place_in_the_file(
    row: dict[str, Any], code: str, field: str
) -> None:
    report = validate([row], tokens=False, near_duplicates=False, method="dpo")
    found = [f.field for f in (*report.faults, *report.notices) if f.code == code]
    assert found == [field]


def test_a_secret_in_a_key_is_found() -> None:
    row = {"messages": [said("a"), said("b c d", "assistant")], "metadata": {"anna.lee@corp-mail.net": 1}}  # fmt: skip
    report = validate([row], tokens=False, near_duplicates=False)
    assert [(f.code, f.field) for f in report.findings] == [("FT406", "metadata")]


@pytest.mark.parametrize(
    ("provider", "severity"), [("openai", "notice"), ("azure", "fault"), ("fireworks", "fault")]
)
def test_a_file_over_the_limit_stops_a_job_where_that_is_sure(provider, severity):
    limits = limits_for(provider)
    facts = {"method": "sft", "format_name": "chat", "rows": 100, "image_rows": 0}
    most = limits.max_file_bytes.value
    assert not list(file_faults(limits, size_bytes=most, **facts))
    (found,) = file_faults(limits, size_bytes=most + 1, **facts)
    assert (found.code, found.severity) == ("FT203", severity)
    assert ("UNCONFIRMED" in found.hint) == (severity == "notice")
