"""Rows that are known to be sound before they are read in full: the report is that of the long way.

Rows of every format are made by chance, sound ones and ones with something in them that a rule finds,
as several JSON libraries write them. `--long` makes more than 100,000.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset import validate
from ftsdk.dataset.codes import RULES
from ftsdk.dataset.findings.finding import Findings
from ftsdk.dataset.reader import RowReader
from ftsdk.dataset.row import Row
from ftsdk.dataset.rules import first_look
from ftsdk.dataset.rules.byte_signs import LOOKED_FOR
from tests.slow_way import take_no_short_way

Make = Callable[[random.Random], dict[str, Any]]

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "wrote",
    "to",
    "its",
    "aunt",
    "about",
    "12",
    "mice",
    "in",
    "2024,",
    "3/4",
    "of",
    "them",
    "grey",
]
PLANTS = [
    "<|im_end|>", "</s>", "<s>", "[INST]", "<<SYS>>", "<end_of_turn>", "[EOS]", "<｜end｜>", "\x00",
    "\u200b", "\u202e", "\ufeff", "a\u200db", "\u061c", "\U000e0041", "👩\u200d💻", "می\u200cخواهم",
    "\ufffd", "cafÃ©", "itâ€™s", "Â£5", "ï»¿x", "â", "É Ã", "&quot;", "&#39;", "&amp", "AT&T;",
    "{{name}}", "{{ name", "[INSERT DATE]", "a {b} c", "x\nUser: y\nAI: z", "x\n\tHuman: y\nBot: z",
    "User: y", "anna@parcel-desk.net", "a@b", "tel: 22 12 34 56", "+49 30 1234567", "030 123456 78",
    "(555) 210-9999", "555-210-9999", "DE89 3704 0044 0532 0130 00", "4539 1488 0343 6467",
    'api_key: "aZ3kd93jfK29dj2L"', "password = hunter2hunter2hunt3r", "xoxb-1234567890ab",
    "sk-proj-aB3dE5fG7hI9jK1lM3nO5pQ7", "hf_abcdefghijklmnopqrstuvwxyzABCDEF12", "-----BEGIN PRIVATE KEY-----",
    "390.533.447-05", "DNI 12345678Z", "AKIAIOSFODNN7EXAMPL2", "RSSMRA85T10A562S", "NIE X1234567L",
    "Bearer aB3dE5fG7hI9jK1lM3nO5pQ7", "call 1234567", "well_known_and_long_labels_of_words",
    'say "hi"', "a\\b", 'end \\"', "\\\\", "tab\there", "/slash/es", "I do not know. " * 20, "=" * 200,
    "", " ", "nan", "ответ на вопрос", "答えは四です", "[1, 2]", '{"a": 1}', "<tools>[]</tools>", "Human: hi",
]  # fmt: skip


class Chance(random.Random):
    """Chance, and a text that each text of a row has in it while it is set."""

    plant: str | None = None


def text(chance: random.Random) -> str:
    words = chance.choices(WORDS, k=chance.randint(1, 30))
    plant = getattr(chance, "plant", None)
    if plant is not None or chance.random() < 0.06:
        words.insert(chance.randint(0, len(words)), plant or chance.choice(PLANTS))
    return chance.choice(PLANTS) if chance.random() < 0.02 else " ".join(words)


def turns(chance: random.Random, role: str, content: str, names: tuple[str, str]) -> list[Any]:
    found = [{role: names[i % 2], content: text(chance)} for i in range(2 * chance.randint(1, 3))]
    if chance.random() < 0.1:
        found.insert(0, {role: "system", content: text(chance)})
    if chance.random() < 0.03:
        del found[chance.randint(0, len(found) - 1)]
    if chance.random() < 0.02:
        found[-1][content] = found[-2][content] if len(found) > 1 else ""
    return found


def chat(chance: random.Random) -> dict[str, Any]:
    row: dict[str, Any] = {"messages": turns(chance, "role", "content", ("user", "assistant"))}
    if chance.random() < 0.05 and row["messages"]:
        key, value = chance.choice(
            [("weight", 1), ("weight", 0), ("name", "ann"), ("content", None)]
        )
        row["messages"][-1][key] = value
    if chance.random() < 0.03:
        row[chance.choice(["id", "tools", "system"])] = chance.choice(["a", [], 7])
    return row


def sharegpt(chance: random.Random) -> dict[str, Any]:
    return {"conversations": turns(chance, "from", "value", ("human", "gpt"))}


def columns(*names: str) -> Make:
    def make(chance: random.Random) -> dict[str, Any]:
        return {name: text(chance) for name in names if chance.random() < 0.99}

    return make


def preference(chance: random.Random) -> dict[str, Any]:
    answers = [[{"role": "assistant", "content": text(chance)}] for _ in range(2)]
    asked = turns(chance, "role", "content", ("user", "assistant"))[:-1]
    return {"input": {"messages": asked}, "preferred_output": answers[0],
            "non_preferred_output": answers[chance.random() < 0.98]}  # fmt: skip


def converse(chance: random.Random) -> dict[str, Any]:
    found = turns(chance, "role", "content", ("user", "assistant"))
    blocks = [{**turn, "content": [{"text": turn["content"]}]} for turn in found]
    return {"schemaVersion": "bedrock-conversation-2024", "system": [{"text": text(chance)}],
            "messages": blocks}  # fmt: skip


def gemini(chance: random.Random) -> dict[str, Any]:
    found = turns(chance, "role", "parts", ("user", "model"))
    row = {"contents": [{**turn, "parts": [{"text": turn["parts"]}]} for turn in found]}
    return {"systemInstruction": {"parts": [{"text": text(chance)}]}, **row}


def claude(chance: random.Random) -> dict[str, Any]:
    return {"system": text(chance), **chat(chance)}


CITY = {"type": "string", "description": "where"}
PARAMETERS: dict[str, Any] = {
    "look": {"type": "object", "properties": {"city": CITY}, "required": ["city"]},
    "find": {"type": "object", "additionalProperties": False, "required": ["city"], "properties": {
        "city": CITY, "days": {"type": "integer"}, "share": {"type": "number"}, "all": {"type": "boolean"},
        "unit": {"type": "string", "enum": ["C", "F"]}, "near": {"type": ["string", "null"]},
        "box": {"type": "array", "items": {"type": "number"}}}},
}  # fmt: skip
DECLARED = [
    {"type": "function", "function": {"name": name, "parameters": schema}}
    for name, schema in PARAMETERS.items()
]
VALUES = ["Oslo", "C", 3, 3.0, 2.5, True, None, [1, 2], ["a"], {}, "x" * 300]


def tools(chance: random.Random) -> dict[str, Any]:
    """Calls and their results, with all that may be wrong about them now and then."""
    found: list[Any] = []
    for number in range(chance.randint(1, 3)):
        found.append({"role": "user", "content": text(chance)})
        calls = [call(chance, f"c{number}{k}") for k in range(chance.randint(1, 2))]
        found.append({"role": "assistant", "content": None, "tool_calls": calls})
        found += [
            {"role": "tool", "tool_call_id": one["id"], "content": text(chance)} for one in calls
        ]
        found.append({"role": "assistant", "content": text(chance), "weight": 1})
    kind = chance.random()
    if kind < 0.1:
        del found[chance.randint(0, len(found) - 1)]
    elif kind < 0.2:
        message = chance.choice(found)
        key = chance.choice(
            ["weight", "content", "name", "tool_calls", "tool_call_id", "role", "loss"]
        )
        message[key] = chance.choice([0, 1, 1.0, True, None, "", "c00", [], "user", "assistant"])
    elif kind < 0.25:
        found = found[:2]
    elif kind < 0.27:
        found[-1]["content"] = '<tool_call>{"name": "look", "arguments": {}}</tool_call>'
    elif kind < 0.4:
        spoil(chance, found)
    row: dict[str, Any] = {"messages": found, "tools": DECLARED}
    if chance.random() < 0.1:
        row["tools"] = chance.choice(
            [[], None, DECLARED[:1], DECLARED * 2, "x", [{"name": "look"}]]
        )
    return row


def spoil(chance: random.Random, messages: list[Any]) -> None:
    """Change what only the rules about turns see: the end of an answer, a question, who speaks when."""
    asked = [message for message in messages if message["role"] == "user"]
    kind = chance.randint(0, 4)
    if kind == 0:
        messages[-1]["content"] = "I do not know. " * 20
    elif kind == 1 and asked:
        messages[-1]["content"] = asked[-1]["content"]
    elif kind == 2 and asked:
        chance.choice(asked)["content"] = chance.choice([" ", ""])
    elif kind == 3:
        messages[-1]["content"] = chance.choice([" ", "", None])
    elif len(asked) > 1:
        del messages[messages.index(asked[1]) - 1]  # a question follows a question, or a result


def call(chance: random.Random, name: str) -> dict[str, Any]:
    function: dict[str, Any] = {
        "name": chance.choice(["look", "find"]),
        "arguments": '{"city": "Oslo"}',
    }
    if chance.random() < 0.3:
        names = chance.sample(["days", "share", "all", "unit", "near", "box", "other"], 2)
        given = {name: chance.choice(VALUES) for name in names}
        function["arguments"] = json.dumps({"city": "Oslo", **given})
    made: dict[str, Any] = {"id": name, "type": "function", "function": function}
    kind = chance.random()
    if kind < 0.08:
        function["arguments"] = chance.choice(
            ["{}", "[]", "{", '{"city": 1}', '"{}"', {"city": "Oslo"}]
        )
    elif kind < 0.12:
        made[chance.choice(["id", "type", "more"])] = chance.choice(["", "c00", None])
    elif kind < 0.14:
        function["name"] = chance.choice(["send", "", None])
    return made


def renamed(make: Make, **names: str) -> Make:
    """Rows whose columns have other names, seldom in another order or with the standard ones."""

    def made(chance: random.Random) -> dict[str, Any]:
        row = make(chance)
        if chance.random() < 0.03:
            return row
        found = {names.get(key, key): value for key, value in row.items()}
        return dict(reversed(found.items())) if chance.random() < 0.1 else found

    return made


def weighted(chance: random.Random) -> dict[str, Any]:
    """Conversations with weights, and the keys of a message in any order."""
    row = chat(chance)
    for message in row["messages"]:
        if message.get("role") == "assistant" and chance.random() < 0.7:
            message["weight"] = chance.choice([1, 1, 1, 0])
            if chance.random() < 0.2:
                message["content"] = message.pop("content")
    if row["messages"] and chance.random() < 0.15:
        spoil(chance, row["messages"])
    return row


FORMATS: dict[str, Make] = {
    "chat": chat,
    "weights": weighted,
    "question and answer": renamed(
        columns("prompt", "completion"), prompt="question", completion="answer"
    ),
    "query and response": renamed(
        columns("system", "prompt", "completion"),
        system="system_prompt",
        prompt="query",
        completion="response",
    ),
    "context": renamed(
        columns("input", "instruction", "output"),
        input="context",
        instruction="question",
        output="answer",
    ),
    "question of a pair": renamed(columns("prompt", "chosen", "rejected"), prompt="question"),
    "tools": tools,
    "sharegpt": sharegpt,
    "instruction": columns("instruction", "input", "output"),
    "completion": columns("system", "prompt", "completion"),
    "chosen": columns("prompt", "chosen", "rejected"),
    "preference": preference,
    "converse": converse,
    "gemini": gemini,
    "claude": claude,
    "text": columns("text"),
}


EXTRA_KEYS = [
    "id", "source", "category", "split", "meta", "metadata", "idx", "tags", "prompt_id", "prompt", "question",
]  # fmt: skip
ODD_KEYS = [
    "label", "kto_tag", "train", "weight", "images", "image", "loss", "mask", "thought", "reasoning", "system",
    "mesages", "Messages", "messages_count", "messages[0]", "a.b", "a b", "", "x" * 50, "naïve", "id ", "ID",
    "answer", "solution", "response", "query", "answers", "input", "output", "instruction", "completion",
    "text", "chosen", "rejected", "conversations", "conversation", "contents", "context", "history", "chat",
    "tools", "tool_defs", "functions", "parallel_tool_calls", "generationConfig", "toolConfig", "input_ids",
    "schemaVersion", "system_instruction", "system_prompt", "preferred_completion", "preferred_output",
    "rejected_response", "chosen_messages", "Unnamed: 0", "__index_level_0__", "name", "role", "content",
    "sk-proj-aB3dE5fG7hI9jK1lM3nO5pQ7", "anna@parcel-desk.net", "password", "tel",
]  # fmt: skip
EXTRA_VALUES: list[Any] = [
    7, 0, -3, 0.5, True, False, None, "", "x", "2024-01-01", [], {}, [1, "a", None], {"a": {"b": [1.5]}},
    "f47ac10b-58cc-4372-a567-0e02b2c3d479", "https://hub.example/datasets/org/name-of-a-set/train", "a…b",
    {"url": "https://hub.example/sets/7", "by": "ann", "ok": True}, "line\none", "\x01", "a large number",
    "anna@parcel-desk.net", {"by": "anna@parcel-desk.net"}, [["call +49 30 1234567"]],
]  # fmt: skip
LARGE_NUMBER = "4.000063e15"
"""A number that Python writes with the digits of a card."""
ODD_VALUES: list[Any] = [
    4539148803436467, 12345678901, 4.2e15, 1e300, 10**30, float("nan"), "x" * 5000, "1" * 5000, "\ud800",
    {"tel": 22123456}, {"password": "hunter2hunter2hunt3r"}, {"anna@parcel-desk.net": 1}, [["390.533.447-05"]],
    {"ssn": 1234567}, '[{"role": "user"}]', '{"from": "human", "value": "x"}', [{"role": "user"}], {"k" * 1100: 1},
    json.loads("[" * 70 + "]" * 70), {"messages": [{"role": "user", "content": "<|im_end|>"}]}, 123456789,
]  # fmt: skip


READ_AS_JSON = ("prompt", "input", "chosen", "rejected", "system")
"""Columns of text that are read as JSON where they look like it."""
JSON_TEXTS = [
    '[{"role": "user", "content": "Why?"}]', ' {"from": "human", "value": "x"}', '[{"role": "user"',
    '{"messages": []}', '[{"from": "human", "value": 1}]',
]  # fmt: skip


def extra_value(chance: random.Random, key: str) -> Any:
    kind = chance.random()
    if key in READ_AS_JSON and kind < 0.5:
        return chance.choice(JSON_TEXTS)
    if kind < 0.2:
        return {"note": text(chance)} if kind < 0.05 else text(chance)
    return chance.choice(ODD_VALUES if kind < 0.25 else EXTRA_VALUES)


def with_extra_keys(make: Make) -> Make:
    """Rows with keys beside those of their format, seldom with one that means something, and before them."""

    def made(chance: random.Random) -> dict[str, Any]:
        row = make(chance)
        keys = chance.sample(EXTRA_KEYS, chance.randint(0, 3))
        if chance.random() < 0.12:
            keys.append(chance.choice(ODD_KEYS))
        extra = {key: extra_value(chance, key) for key in keys if key not in row}
        return {**extra, **row} if chance.random() < 0.3 else {**row, **extra}

    return made


EXTRA = ", extra keys"
FORMATS |= {f"{name}{EXTRA}": with_extra_keys(make) for name, make in FORMATS.items()}


def written(chance: random.Random, row: dict[str, Any]) -> str:
    """The row as one of several libraries writes it, at times with a key twice or cut off."""
    compact = (",", ":") if chance.random() < 0.5 else None
    line = json.dumps(row, ensure_ascii=chance.random() < 0.5, separators=compact)
    line = line.replace('"a large number"', LARGE_NUMBER)
    kind = chance.random()
    if kind < 0.1:
        line = line.replace("/", "\\/")
    elif kind < 0.11:
        line = line[:-1] + ',"messages":[],"messages":[]}'
    elif kind < 0.12:
        line = line.replace("}", ',"role":"user"}', 1)
    elif kind < 0.13:
        line = line[:-3]
    elif kind < 0.14:
        line = line.replace("the", "\\u0074he").replace('"hi', "\\u0022hi")
    elif kind < 0.15:
        line = ""
    elif kind < 0.17:
        line = line.replace(
            '"id"', chance.choice(['"\\u0069d"', '"source":1,"source"', '"a":{"b":1,"b":2},"id"'])
        )
    return line


def file_of(name: str, count: int, path: Path) -> Path:
    """A file of rows by chance, of rows with each of the plants, and of rows that are there twice.

    The second time a letter is escaped, so that the row goes the long way and must still be the same; or it
    has another extra key.
    """
    chance = Chance(f"rows of {name}")
    rows = [FORMATS[name](chance) for _ in range(count)]
    lines = [written(chance, row) for row in rows]
    lines += [line.replace("o", "\\u006f") for line in lines[::20]]
    if name.endswith(EXTRA):
        lines += [json.dumps({**row, "idx": number % 3}) for number, row in enumerate(rows[::10])]
        lines += [json.dumps({**row, "idx": 0}) for row in rows[::10]]
    for plant in PLANTS:
        chance.plant = plant
        lines.append(json.dumps(FORMATS[name](chance), ensure_ascii=chance.random() < 0.5))
    end = "\r\n" if name.startswith("completion") else "\n"
    path.write_bytes(end.join(lines).encode("utf-8", "surrogatepass"))
    return path


READ_AS = {"tools": "chat", "weights": "chat", "question and answer": None, "query and response": None,
           "context": None, "question of a pair": None}  # fmt: skip
PROVIDERS = ("together", "openai", "mistral", "nebius", "bedrock", "bedrock-claude", "local")
"""With unlike limits: on calls, weights, roles, the order of turns, words and unknown keys."""


def checks(name: str) -> list[dict[str, Any]]:
    """How the rows of a format are checked: by the rules, with tokens, and for providers."""
    one = PROVIDERS[list(FORMATS).index(name) % len(PROVIDERS)]
    providers = ("together", "mistral", "nebius") if name == "tools" else (one,)
    found = [{"tokens": False, "provider": provider} for provider in (None, *providers)]
    return [*found, {"model": "gpt-4.1", "provider": "openai" if name.endswith(EXTRA) else None}]


@pytest.mark.parametrize("name", FORMATS)
def test_the_report_is_that_of_the_long_way(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    count = 2_700 if request.config.getoption("--long") else 80
    path = file_of(name, count, tmp_path / "rows.jsonl")
    form = READ_AS.get(name.removesuffix(EXTRA), name.removesuffix(EXTRA))
    options: list[dict[str, Any]] = [
        {"format": form, "near_duplicates": False, **one} for one in checks(name)
    ]
    fast = [validate(path, **one) for one in options]
    with monkeypatch.context() as patch:
        patch.setattr(first_look, "_compiled", lambda: None)
        without_re2 = validate(path, **options[0])
    take_no_short_way(monkeypatch)
    slow = [validate(path, **one) for one in options]
    for short, long in zip([*fast, without_re2], [*slow, slow[0]], strict=True):
        assert short.to_dict() == long.to_dict()
        assert short == long
    assert len(slow[0].counts) > 10


SOUND: dict[str, Row] = {
    "question and answer": {"question": "How many?", "answer": "There are four of them."},
    "query and response": {"system_prompt": "Be short.", "query": "How many?", "response": "There are four."},
    "pair": {"question": "How many?", "chosen": "There are four of them.", "rejected": "There are none."},
    "weights": {"messages": [{"role": "user", "content": "How many?"},
                             {"role": "assistant", "content": "There are four of them.", "weight": 1}]},
    "tools": {"messages": [
        {"role": "user", "content": "How warm is it?"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {
            "name": "find", "arguments": '{"city": "Oslo", "days": 2, "unit": "C"}'}}]},
        {"role": "tool", "tool_call_id": "a", "content": "12"},
        {"role": "assistant", "content": "It has twelve degrees."}], "tools": DECLARED},
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("provider", [None, "fireworks"])
def test_sound_rows_are_not_read_in_full(
    name: str, provider: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(SOUND[name])}\n" for _ in range(50)))
    read: list[int] = []
    real = RowReader.read
    monkeypatch.setattr(RowReader, "read", lambda self, rec: read.append(rec[0]) or real(self, rec))
    method = "dpo" if name == "pair" else "sft"
    report = validate(path, provider=provider, method=method, tokens=False, near_duplicates=False)
    assert report.ok, report
    assert read == [1]


ASKED, CALLING, RESULT, ANSWER = SOUND["tools"]["messages"]
LOOP = {**ANSWER, "content": "I do not know. " * 20}
FLAWED_TURNS: dict[str, list[Any]] = {
    "a question after a result": [ASKED, CALLING, RESULT, ASKED, ANSWER],
    "an answer that repeats its end": [ASKED, CALLING, RESULT, LOOP],
    "an answer that is the question": [ASKED, {**ANSWER, "content": ASKED["content"], "weight": 1}],
    "an empty question": [{**ASKED, "content": ""}, CALLING, RESULT, ANSWER],
    "a blank answer": [ASKED, CALLING, RESULT, {**ANSWER, "content": " "}],
    "nothing that is learned": [ASKED, {**ANSWER, "weight": 0}],
    "two calls with one id": [ASKED, CALLING, RESULT, CALLING, RESULT, ANSWER],
    "a call without a result": [ASKED, CALLING, ASKED, ANSWER],
    "a result without a call": [ASKED, RESULT, ANSWER],
    "another result": [ASKED, CALLING, RESULT, RESULT, ANSWER],
}


@pytest.mark.parametrize("name", FLAWED_TURNS)
def test_flawed_turns_among_sound_rows_are_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    sound = json.dumps(SOUND["tools"])
    flawed = json.dumps({**SOUND["tools"], "messages": FLAWED_TURNS[name]})
    path.write_text(f"{sound}\n{flawed}\n{sound}\n")
    options: dict[str, Any] = {"provider": "together", "tokens": False, "near_duplicates": False}
    fast = validate(path, **options)
    take_no_short_way(monkeypatch)
    assert fast == validate(path, **options)
    assert 2 in {finding.line for finding in (*fast.faults, *fast.notices)}


SOUND_WITH_EXTRA: dict[str, Row] = {
    **SOUND,
    "chat": {"messages": [SOUND["weights"]["messages"][0], {"role": "assistant", "content": "There are four."}]},
    "chat and its prompt": {"messages": SOUND["weights"]["messages"], "prompt": "How many?"},
    "instruction": {"instruction": "Count.", "input": "a b c d", "output": "There are four of them."},
    "sharegpt": {"conversations": [{"from": "human", "value": "How many?"}, {"from": "gpt", "value": "Four."}]},
    "text": {"text": "There are four of them."},
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND_WITH_EXTRA)
def test_rows_with_extra_keys_are_not_read_in_full(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"id": f"row-{number}", **SOUND_WITH_EXTRA[name], "meta": {"score": number, "tags": ["a", None]},
         "split": None, **({"source": "a file"} if number % 2 else {})}
        for number in range(50)
    ]  # fmt: skip
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    read: list[int] = []
    real = RowReader.read
    monkeypatch.setattr(RowReader, "read", lambda self, rec: read.append(rec[0]) or real(self, rec))
    report = validate(
        path, method="dpo" if name == "pair" else "sft", tokens=False, near_duplicates=False
    )
    assert report.ok, report
    assert read == [1]
    if name not in ("pair", "text"):
        assert report.counts["FT120"] == 175 + 50 * (name == "chat and its prompt")
        assert report.row_counts["FT120"] == 50


@pytest.mark.parametrize("name", ["pair", "text"])
def test_rows_that_differ_in_an_extra_key_are_no_duplicates(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    row = SOUND_WITH_EXTRA[name]
    rows = [
        {**row, "idx": 1},
        {**row, "idx": 2},
        {"idx": 2, **row},
        row,
        {**row, "idx": 1, "meta": {}},
    ]
    path.write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    options: dict[str, Any] = {"tokens": False, "method": "sft" if name == "text" else "dpo"}
    fast = validate(path, near_duplicates=False, **options)
    take_no_short_way(monkeypatch)
    assert fast == validate(path, near_duplicates=False, **options)
    assert [one.lines for one in fast.notices if one.code == "FT302"] == [(2, 3)]


@pytest.mark.parametrize("provider", [None, "openai"])
def test_extra_keys_beyond_those_kept_are_counted(
    provider: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    monkeypatch.setattr(Findings.__init__, "__defaults__", (100,))
    row = SOUND_WITH_EXTRA["chat"]
    path.write_text("".join(f"{json.dumps({**row, 'id': n, 'source': 'b'})}\n" for n in range(70)))
    options: dict[str, Any] = {"model": "gpt-4.1", "near_duplicates": False, "provider": provider}
    fast = validate(path, **options)
    take_no_short_way(monkeypatch)
    assert fast == validate(path, **options)
    codes = ["FT120"] if provider is None else ["FT120", "FT206"]
    for code in codes:
        assert fast.counts[code] == 140
        assert fast.row_counts[code] == 70
        assert sum(one.code == code for one in (*fast.notices, *fast.faults)) == 100
    assert (fast.tokens is None) is (provider is not None)


def test_an_allowed_value_of_an_extra_key_is_hidden_as_on_the_long_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    row = {**SOUND_WITH_EXTRA["chat"], "by": "anna@parcel-desk.net"}
    path.write_text(f"{json.dumps(row)}\n" * 3)
    allowed = ("FT406:*@parcel-desk.net",)
    fast = validate(path, tokens=False, near_duplicates=False, allow_findings=allowed)
    take_no_short_way(monkeypatch)
    assert fast == validate(path, tokens=False, near_duplicates=False, allow_findings=allowed)
    assert "FT406" not in fast.counts
    assert {n.value for n in fast.notices if n.code == "FT120"} == {
        "(hidden: it looks like a secret or personal data)"
    }


@pytest.mark.parametrize("key", ["id", "tools"])
@pytest.mark.parametrize("levels", [70, 500, 5_000, 100_000])
def test_a_value_that_is_nested_deep_is_a_fault(key: str, levels: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    sound = json.dumps(SOUND_WITH_EXTRA["chat"])
    deep = f'{sound[:-1]}, "{key}": {"[" * levels}{"]" * levels}}}'
    path.write_text(f"{sound}\n{deep}\n{sound}\n")
    report = validate(path, tokens=False, near_duplicates=False)
    assert [(fault.code, fault.line) for fault in report.faults] == [("FT015", 2)]


def test_every_rule_about_texts_is_known_to_the_short_way() -> None:
    """A new rule for rows of any shape needs a sign in `byte_signs`, or a look in `fast_path.is_sound`."""
    seen_otherwise = {
        "FT121", "FT122", "FT123", "FT130", "FT131", "FT133",  # keys and parts that typed rows never have
        "FT315",  # loops
    }  # fmt: skip
    of_any = {rule.code for rule in RULES.values() if rule.check and rule.shape == "any"}
    assert of_any == LOOKED_FOR | seen_otherwise
