"""Findings over the whole set and for each provider: repeats, leaks, odd rows, limits, tokens."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftsdk.dataset import RULES, validate
from ftsdk.dataset.findings.report import DatasetReport
from ftsdk.dataset.rules import near_duplicates


def chat(asked: str, answer: str = "a fine answer", **more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}],
        **more,
    }


def codes(report: DatasetReport) -> dict[str, int]:
    return dict(report.counts)


def look(rows: Any, **options: Any) -> DatasetReport:
    return validate(rows, **{"tokens": False, "near_duplicates": False} | options)


MANY = [chat(f"question number {i}", f"the answer is {i * 7}") for i in range(60)]


def test_repeats_and_contradictions_name_their_lines() -> None:
    rows = [*MANY, MANY[4], chat("question number 9", "something else"), MANY[4]]
    report = look(rows)
    found = {f.code: f for f in report.notices}
    assert codes(report) == {"FT302": 1, "FT301": 1}
    assert (found["FT302"].lines, found["FT302"].rows) == ((5, 61, 63), 3)
    assert found["FT301"].lines == (10, 62)
    assert report.ok


def test_a_repeated_file_gives_the_same_findings_as_its_first_part(tmp_path: Path) -> None:
    """Rows seen before are not checked again, and no finding is lost by that."""
    part = [
        *MANY,
        chat("mail me", "at anna@acme.io now"),
        chat("x", "..."),
        {"messages": []},
        chat("y", "\u200bz"),
    ]
    one, two = look(part), look(part + part)
    for code, count in one.counts.items():
        assert two.counts[code] == 2 * count, code
    assert two.counts["FT302"] == len(part)


def test_leaks_into_validation_by_content_case_and_space() -> None:
    held = [MANY[3], chat("QUESTION  number 5", "The answer is 35"), chat("new", "unseen")]
    report = look(MANY, validation=held)
    assert [(f.code, f.line) for f in report.notices] == [("FT304", 4), ("FT304", 6)]
    broken = look(MANY, validation=[{"messages": []}])
    assert [f.message for f in broken.faults] == ["validation: the list of messages is empty"]
    assert look(MANY, validation=Path("/nowhere.jsonl")).counts == {"FT001": 1}


def test_a_prompt_in_both_sets_is_a_notice_once_for_each_training_row() -> None:
    held = [chat("question  NUMBER 7", "something else"), MANY[8], chat("new", "unseen")]
    report = look([*MANY, chat("question number 7", "a third")], validation=held)
    found = [(f.code, f.line, f.severity) for f in report.notices if f.code != "FT301"]
    assert found == [("FT314", 8, "notice"), ("FT304", 9, "notice"), ("FT314", 61, "notice")]
    assert "line 1 of the validation set" in next(f for f in report.notices if f.line == 61).message
    assert report.ok


def test_near_duplicates() -> None:
    pytest.importorskip("rensa")
    words = "the quick brown fox jumps over the lazy dog while seven wizards quietly boil some tea in the kitchen of an old house "
    rows = [chat(words + f"and number {i} " * (i % 2), words.upper()) for i in range(2)] + MANY[:5]
    report = validate(rows, tokens=False, near_duplicates=True)
    assert [(f.code, f.lines) for f in report.notices] == [("FT303", (1, 2))]


def test_a_system_message_makes_no_rows_alike() -> None:
    pytest.importorskip("rensa")
    system = {
        "role": "system",
        "content": "".join(f"Rule {i} is to be polite. " for i in range(90)),
    }
    rows = [{"messages": [system, *row["messages"]]} for row in MANY[:10]]
    held = [{"messages": [system, *row["messages"]]} for row in MANY[10:20]]
    report = validate(rows, validation=held, tokens=False, near_duplicates=True)
    assert report.counts == {}
    pairs = [{"input": {"messages": [system, row["messages"][0]]},
              "preferred_output": [row["messages"][1]],
              "non_preferred_output": [{"role": "assistant", "content": f"no, never {i}"}]}
             for i, row in enumerate(MANY[:10])]  # fmt: skip
    assert validate(pairs, tokens=False, near_duplicates=True, method="dpo").counts == {}


def test_rows_with_images_are_not_alike_by_their_words() -> None:
    pytest.importorskip("rensa")
    rows = [{"messages": [{"role": "user", "content": [
                {"type": "text", "text": "what do you see in this picture?"},
                {"type": "image_url", "image_url": {"url": f"https://images.example.com/{i}.png"}}]},
             {"role": "assistant", "content": "a red parcel on a table"}]} for i in range(5)]  # fmt: skip
    assert "FT303" not in validate(rows, tokens=False, near_duplicates=True).counts


def test_the_table_says_when_a_code_hides_other_kinds() -> None:
    rows = [*MANY[:10], chat("a", id=3), chat("b", more=4), chat("c", id=5)]
    (line,) = (n for n in str(look(rows, provider="openai")).split("\n") if "✗ FT206" in n)
    assert "the key 'id' (+ 1 other kind)" in line
    keys = [chat("mail", f"write to anna{i}@corp-mail.net please") for i in range(4)]
    (line,) = (n for n in str(look(keys)).split("\n") if "! FT406" in n)
    assert "other kind" not in line
    (line,) = (n for n in str(look(keys, validation=keys[:2])).split("\n") if "! FT406" in n)
    assert "other kind" not in line


TEMPLATE = " ".join(f"rule {i} of the {i * 17}" for i in range(60)) + " order "


def test_prompts_of_one_template_with_other_answers_are_not_nearly_the_same() -> None:
    pytest.importorskip("rensa")
    rows = [
        chat(f"{TEMPLATE}{i}", f"Number {i}, city {i * 7}, total {i * 13} euros") for i in range(6)
    ]
    assert "FT303" not in validate(rows, tokens=False, near_duplicates=True).counts
    same = [
        chat(f"{TEMPLATE}{i}", "The number is not readable, so please ask the customer.")
        for i in range(6)
    ]
    (found,) = [
        f for f in validate(same, tokens=False, near_duplicates=True).notices if f.code == "FT303"
    ]
    assert found.rows >= 4  # the comparison is by chance
    assert found.message == f"{found.rows} rows are nearly the same, their answers too"
    leaked = validate(
        rows,
        validation=[chat(f"{TEMPLATE}99", "No idea at all")],
        tokens=False,
        near_duplicates=True,
    )
    assert "FT305" not in leaked.counts


@pytest.mark.parametrize(
    ("text", "changed", "other"),
    [
        ("机器学习是人工智能的一个分支，它让计算机从数据中学习规律并做出预测，广泛用于垃圾邮件过滤和推荐系统。",
         ("广泛", "常常"), "今天天气很好，我们一起去公园散步，看见了许多花和小鸟，孩子们非常高兴地跑来跑去，直到太阳下山。"),
        ("機械学習は人工知能の一分野であり、コンピュータがデータから規則を学び予測を行うことを可能にします。",
         ("予測", "推測"), "今日は天気がとても良いので、家族みんなで公園へ散歩に行き、たくさんの花と鳥を見ました。"),
        ("การเรียนรู้ของเครื่องเป็นสาขาหนึ่งของปัญญาประดิษฐ์ที่ช่วยให้คอมพิวเตอร์เรียนรู้กฎจากข้อมูลและทำนายผลลัพธ์ได้",
         ("ข้อมูล", "ตัวอย่าง"), "วันนี้อากาศดีมากพวกเราจึงไปเดินเล่นที่สวนสาธารณะและเห็นดอกไม้กับนกมากมาย"),
    ],
    ids=["Chinese", "Japanese", "Thai"],
)  # fmt: skip
def test_scripts_without_spaces_are_compared_by_characters(
    text: str, changed: tuple[str, str], other: str
) -> None:
    pytest.importorskip("rensa")
    near = text.replace(*changed)
    assert near != text
    counts = validate(
        [chat("q", text * 2), chat("q", near * 2)], tokens=False, near_duplicates=True
    ).counts
    assert counts.get("FT303") == 1
    counts = validate(
        [chat("q", text * 2), chat("q", other * 2)], tokens=False, near_duplicates=True
    ).counts
    assert "FT303" not in counts


def test_rows_that_differ_in_case_and_points_only_are_nearly_the_same() -> None:
    pytest.importorskip("rensa")
    rows = [chat("where is my red parcel", "it is on its way to you"),
            chat("Where is my red parcel?", "It is on its way to you.")]  # fmt: skip
    report = validate(rows, tokens=False, near_duplicates=True)
    assert [(f.code, f.lines) for f in report.notices] == [("FT303", (1, 2))]
    same = validate([rows[0], rows[0]], tokens=False, near_duplicates=True)
    assert list(same.counts) == ["FT302"]


def test_duplicates_among_the_validation_rows_are_reported() -> None:
    pytest.importorskip("rensa")
    held = [chat("one", "the first answer"), chat("one", "the first answer"), chat("one", "another answer"),
            chat("where is my red parcel", "it is on its way to you"),
            chat("Where is my red parcel?", "It is on its way to you.")]  # fmt: skip
    report = validate(MANY, validation=held, tokens=False, near_duplicates=True)
    found = {(f.code, f.lines, f.message.partition(":")[0]) for f in report.notices}
    assert found == {
        ("FT301", (1, 2, 3), "validation"),
        ("FT302", (1, 2), "validation"),
        ("FT303", (4, 5), "validation"),
    }


def test_a_provider_that_takes_few_held_out_rows_says_so() -> None:
    held = [chat(f"held {i}", f"out {i}") for i in range(1001)]
    claude = {"provider": "bedrock", "model": "anthropic.claude-3-haiku-20240307-v1:0"}
    reported = look(MANY, validation=held, **claude)
    assert [f.code for f in reported.faults] == ["FT202"]
    assert "1,001 rows" in reported.faults[0].message
    assert look(MANY, validation=held[:1000], **claude).ok


@pytest.mark.parametrize(
    ("model", "taken"),
    [(None, True), ("gpt-4o-2024-08-06", True), ("ft:gpt-4o-2024-08-06:acme::1", True),
     ("gpt-4.1-mini-2025-04-14", False), ("gpt-4o-mini-2024-07-18", False)],
)  # fmt: skip
def test_openai_tunes_images_on_one_base(model: str | None, taken: bool) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://images.example.com/a.png"}}
    row = {"messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, image]},
                        {"role": "assistant", "content": "a parcel"}]}  # fmt: skip
    report = look([*MANY[:9], row], provider="openai", model=model)
    assert report.ok is taken
    if not taken:
        assert "gpt-4o-2024-08-06" in report.faults[0].hint


def test_it_says_when_nearly_equal_rows_are_not_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("rensa")
    monkeypatch.setattr(near_duplicates, "_AUTO_BYTES", 1000)
    (why,) = validate(MANY, tokens=False).skipped
    assert "near-duplicates" in why
    assert "--near-duplicates" in str(validate(MANY, tokens=False))
    assert validate(MANY, tokens=False, near_duplicates=True).skipped == ()
    assert validate(MANY, tokens=False, near_duplicates=False).skipped == ()


def test_rows_are_counted_and_not_what_is_found_in_them() -> None:
    twice = {"messages": [{"role": "User", "content": "a"}, {"role": "Assistant", "content": "b"}]}
    report = look([twice, twice, chat("x", "sk_live_5fD40IrMzkXEbsjtU2aeq8ed ghp_16C7e42F292c6912E7710c838347Ae178B4a")])  # fmt: skip
    assert report.counts["FT104"] == 4
    assert report.row_counts["FT104"] == 2
    lines = [line for line in str(report).split("\n") if "FT104" in line]
    assert "2 rows" in lines[0]
    both = look([twice], validation=[twice])
    assert both.row_counts["FT104"] == 2


def test_near_duplicates_across_training_and_validation() -> None:
    pytest.importorskip("rensa")
    words = "the quick brown fox jumps over the lazy dog while seven wizards quietly boil some tea in the kitchen of an old house where nobody but a cook has lived for a hundred and eleven winters "
    other = words.replace("fox", "cat") + "today"
    train = [*MANY[:3], chat(words, words.upper()), chat(other, other.upper())]
    held = [MANY[9], chat(words + "and more", words.upper()), chat(other, other.upper())]
    report = validate(train, validation=held, tokens=False, near_duplicates=True)
    found = [(f.code, f.line, f.message) for f in report.notices if f.code in ("FT304", "FT305")]
    assert [f[:2] for f in found] == [("FT305", 4), ("FT304", 5)]  # an equal row is reported once
    assert "line 2 of the validation set" in found[0][2]
    assert "line 3 of the validation set" in found[1][2]
    alone = validate(train, validation=held[:1], tokens=False, near_duplicates=True)
    assert "FT305" not in alone.counts


def test_answers_that_say_nothing_dominate_or_are_odd() -> None:
    report = look([chat(f"q{i}", "yes") for i in range(30)])
    assert codes(report) == {"FT307": 1}
    assert codes(look([chat("q", "...")])) == {"FT306": 1}
    assert codes(look([chat("q", "N/A")])) == {"FT306": 1}
    russian = look(
        [
            *MANY,
            *[chat(f"more {i}", f"number {i} is it") for i in range(60)],
            chat("x", "это по-русски"),
        ]
    )
    assert [(f.code, f.line) for f in russian.notices] == [("FT309", 121)]
    long = look([*MANY, chat("x", "word " * 5000)])
    assert [(f.code, f.line) for f in long.notices] == [("FT308", 61)]


PICTURED = {
    "input": {"messages": [{"role": "user", "content": [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "https://images.example.com/a.png"}}]}]},
    "preferred_output": [{"role": "assistant", "content": "a parcel"}],
    "non_preferred_output": [{"role": "assistant", "content": "a cat"}],
}  # fmt: skip
CALLED = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
PROVIDERS: list[tuple[str, str, list[dict[str, Any]], dict[str, Any]]] = [
    ("openai", "FT201", MANY[:9], {}),
    ("openai", "FT207", [*MANY[:10], chat("a <|fim_suffix|> b")], {}),
    ("openai", "FT206", [*MANY[:10], chat("a", id=3)], {}),
    ("openai", "FT205", [*MANY], {"method": "dpo"}),
    ("openai", "FT206", [PICTURED] * 10, {"method": "dpo"}),
    ("together", "FT215", [chat("a", text="b")], {}),
    ("together", "FT215", [{"prompt": "a", "completion": "b", "text": "c"}], {}),
    ("together", "FT215", [chat("a", prompt="b", completion="c")], {}),
    ("openai", "FT205", [{"text": "abc"}] * 10, {}),
    ("together", "FT206", [{"messages": [{"role": "user", "content": "a", "name": "Ann"}, MANY[0]["messages"][1]]}], {}),
    ("together", "FT214", [{"messages": [MANY[0]["messages"][0], *MANY[1]["messages"]]}], {}),
    ("together", "FT212", [{"messages": [{"role": "developer", "content": "x"}, *MANY[1]["messages"]]}], {}),
    ("bedrock", "FT201", MANY[:7], {}),
    ("bedrock", "FT211", [*MANY[:8], chat("Say User: hi")], {}),
    ("bedrock", "FT206", [*MANY[:8], chat("x", tools=[{"type": "function", "function": {"name": "f"}}])], {}),
    ("bedrock", "FT214", [*MANY[:8], {"messages": [*MANY[0]["messages"], MANY[1]["messages"][1]]}], {}),
    ("fireworks", "FT201", MANY[:2], {}),
    ("local", "FT205", [{"text": "abc"}], {"method": "dpo"}),
    ("local", "FT205", [*MANY], {"method": "orpo"}),
    ("openai", "FT205", [chat("a", label=False)] * 10, {"method": "kto"}),
    ("local", "FT206", [chat("a", functions=[{"name": "f", "parameters": {}}])], {}),
    ("local", "FT206", [{"messages": [{"role": "user", "content": "a"}, CALLED]}], {}),
    ("local", "FT206", [{"messages": [{"role": "user", "content": "a"}, {**CALLED, "content": "b"}]}], {}),
    ("together", "FT206", [{"messages": [{"role": "user", "content": "a"}, CALLED]}], {}),
    ("local", "FT206", [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "refusal": "No."}]}], {}),
    ("local", "FT206", [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "audio": {"id": "c"}}]}], {}),
    ("mistral", "FT213", [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [
        {"id": "short", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}],
        "tools": [{"type": "function", "function": {"name": "f"}}]}], {}),
]  # fmt: skip


def test_a_row_of_two_formats_is_reported_once() -> None:
    report = look([chat("a", text="b")], provider="together")
    assert [(f.code, f.field) for f in report.faults] == [("FT215", "text")]
    extra = look([chat("a", id=3)], provider="openai")
    assert "the key 'id'" in next(f.message for f in extra.faults if f.code == "FT206")


def test_each_method_of_this_machine_takes_its_rows() -> None:
    pair = {
        "input": {"messages": [{"role": "user", "content": "is it open?"}]},
        "preferred_output": [{"role": "assistant", "content": "until six"}],
        "non_preferred_output": [{"role": "assistant", "content": "who knows"}],
    }
    good = [chat("a", "a fine answer", label=True), chat("a", "a bad one", label=False)]
    text = [{"text": "once upon a time"}]
    for method, rows in (("dpo", [pair]), ("orpo", [pair]), ("kto", good), ("sft", text)):
        report = look(rows, provider="local", method=method)
        assert report.ok, (method, report.faults)
    assert "FT205" in codes(look(MANY, provider="local", method="kto"))
    assert "FT205" in codes(look(MANY, method="kto"))
    assert codes(look(good, provider="local"))["FT131"] == 2
    both = {"chosen": "until six", "rejected": "who knows", **chat("is it open?", "until six")}
    assert look([both], provider="local", method="orpo").format == "chosen"
    half = look([*good, chat("c")], provider="local", method="kto")
    assert [fault.line for fault in half.faults] == [3]


@pytest.mark.parametrize(
    "number", range(len(PROVIDERS)), ids=lambda i: f"{PROVIDERS[i][0]}-{PROVIDERS[i][1]}-{i}"
)
def test_providers_refuse_what_they_cannot_take(number: int) -> None:
    provider, code, rows, options = PROVIDERS[number]
    report = look(rows, provider=provider, **options)
    reported = [f for f in report.faults if f.code == code]
    assert reported
    assert all(re.search(r"\(source: .+, read \d{4}-\d\d-\d\d\)$", f.hint) for f in reported)
    assert code not in look(rows).counts


@pytest.mark.parametrize("provider", ["openai", "azure", "fake", None])
def test_functions_pass_where_they_are_read_and_are_noticed(provider: str | None) -> None:
    row = {"messages": [{"role": "user", "content": "a"}, CALLED], "functions": [{"name": "f"}]}
    report = look([row, *MANY], provider=provider)
    assert report.ok
    assert [(f.code, f.field) for f in report.notices if f.code == "FT132"] == [
        ("FT132", "functions"),
        ("FT132", "messages[1].function_call"),
    ]


def test_a_refused_function_call_says_what_to_write() -> None:
    functions = [{"name": "f"}]
    rows = [{"messages": [{"role": "user", "content": "a"}, CALLED], "functions": functions}]
    faults = look(rows, provider="local").faults
    assert [f.field for f in faults] == ["functions", "messages[1].function_call"]
    assert all("write them as tools and tool_calls" in f.message for f in faults)


@pytest.mark.parametrize(
    "provider", ["openai", "azure", "together", "bedrock", "vertex", "fireworks", "local", "fake"]
)
def test_providers_take_plain_rows(provider: str) -> None:
    assert look(MANY, provider=provider).ok


def test_a_backends_own_numbers_beat_ours() -> None:
    able = SimpleNamespace(
        min_rows=100, max_rows=None, max_file_bytes=None, formats=frozenset({"chat"})
    )
    report = look(MANY, provider="openai", capabilities=able)
    assert "at least 100" in report.faults[0].message
    assert "openai backend" in report.faults[0].hint
    able.min_rows, able.formats = 1, frozenset({"preference"})
    assert look(MANY, provider="fake", capabilities=able).counts == {"FT205": 1}


def test_a_backend_of_which_we_know_nothing_is_checked_by_its_own_record() -> None:
    able = SimpleNamespace(
        min_rows=100, max_rows=None, max_file_bytes=None, formats=frozenset({"chat"})
    )
    few = look(MANY, provider="parrot", capabilities=able)
    assert [(f.code, f.hint.rpartition("(")[2]) for f in few.faults] == [
        ("FT201", "source: the parrot backend)")
    ]
    able.min_rows = 1
    assert look([chat("a", name="x", id=3)], provider="parrot", capabilities=able).ok
    assert list(look([{"text": "abc"}], provider="parrot", capabilities=able).counts) == ["FT205"]
    assert "FT205" in look(MANY, provider="parrot", method="dpo", capabilities=able).counts


def test_images_are_counted(tmp_path: Path) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://a.org/x.png"}}
    row = {
        "messages": [
            {"role": "user", "content": [part] * 11},
            {"role": "assistant", "content": "many"},
        ]
    }
    assert look([*MANY[:9], row], provider="openai").counts == {"FT208": 1}
    assert look([*MANY[:9], row], provider="azure").ok


def test_a_call_counts_with_and_without_a_null_beside_it() -> None:
    pytest.importorskip("bpe_openai")
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": "f"}}]
    answers: list[dict[str, Any]] = [
        {"tool_calls": [call]},
        {"tool_calls": [call], "content": None},
    ]
    one, other = (
        look([{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", **answer}], "tools": tools}],
             tokens=True, model="gpt-4.1").tokens
        for answer in answers
    )  # fmt: skip
    assert one == other
    assert one.trained > 10


def test_a_pair_is_cut_answer_by_answer() -> None:
    pytest.importorskip("bpe_openai")
    pair = {"input": {"messages": [{"role": "user", "content": "word " * 40_000}]},
            "preferred_output": [{"role": "assistant", "content": "a"}],
            "non_preferred_output": [{"role": "assistant", "content": "b"}]}  # fmt: skip

    def counts_of(row: dict[str, Any]) -> Any:
        return validate(
            [row], model="gpt-4o", provider="openai", method="dpo", near_duplicates=False
        )

    fits = counts_of(pair)
    assert "FT204" not in fits.counts  # 40,000 tokens a sequence, 80,000 a pair
    assert fits.tokens.kept == fits.tokens.total > 80_000
    pair["input"]["messages"][0]["content"] = "word " * 70_000
    long = counts_of(pair)
    assert "FT204" in long.counts
    assert long.tokens.kept == 2 * 65_536


def test_an_estimate_of_a_pair_has_the_prompt_before_both_answers() -> None:
    pair = {"input": {"messages": [{"role": "user", "content": "x" * 400}]},
            "preferred_output": [{"role": "assistant", "content": "y" * 40}],
            "non_preferred_output": [{"role": "assistant", "content": "z" * 80}]}  # fmt: skip
    reported = validate(
        [pair], provider="together", method="dpo", tokens=True, near_duplicates=False
    )
    assert not reported.tokens.exact
    assert reported.tokens.total == 2 * (100 + 4) + (10 + 4) + (20 + 4)
    assert reported.tokens.trained == (10 + 4) + (20 + 4)


def test_the_rough_frame_of_openai_is_the_cookbooks() -> None:
    bpe_openai = pytest.importorskip("bpe_openai")
    encoding = bpe_openai.get_encoding("o200k_base")
    messages = [
        {"role": "system", "content": "Be brief, é 🙂."},
        {"role": "user", "content": "Where is it?", "name": "anna"},
        {"role": "assistant", "content": "There."},
    ]

    def count(text: str) -> int:
        return len(encoding.encode(text))

    wanted = 3 + sum(
        3 + sum(count(v) for v in message.values()) + ("name" in message) for message in messages
    )
    reported = validate([{"messages": messages}], model="gpt-4o", near_duplicates=False).tokens
    assert (reported.total, reported.trained) == (wanted, count("There."))


def test_exact_tokens_of_openai() -> None:
    pytest.importorskip("bpe_openai")
    report = validate(
        MANY, provider="openai", model="gpt-4.1-mini-2025-04-14", near_duplicates=False
    )
    assert report.tokens.exact
    assert report.tokens.tokenizer == "o200k_base"
    one = validate(
        [chat("hello world", "hello world")], model="gpt-4o", near_duplicates=False
    ).tokens
    # Two texts, two roles of a token each, 3 a message, 3 for the start of the answer.
    assert (one.total, one.trained) == (2 + 2 + 1 + 1 + 3 + 3 + 3, 2)
    twice = validate([*MANY, *MANY], model="gpt-4o", near_duplicates=False).tokens
    assert twice.total == 2 * report.tokens.total
    long = validate(
        [*MANY[:9], chat("x", "word " * 70_000)],
        model="gpt-4o",
        provider="openai",
        near_duplicates=False,
    )
    assert "FT204" in [f.code for f in long.notices]  # the number is not OpenAI's own word
    assert validate([*MANY[:9], chat("x", "word " * 70_000)], max_length=1000, model="gpt-4o",
                    near_duplicates=False).tokens.truncated_rows == 1  # fmt: skip


def test_estimates_are_marked() -> None:
    report = validate(MANY, model="claude-3-haiku", tokens=True, near_duplicates=False)
    assert not report.tokens.exact
    assert "estimated" in report.headline()
    assert validate(MANY, model="claude-3-haiku", near_duplicates=False).tokens is None


def test_the_report_reads_well_and_is_json() -> None:
    report = look(
        [*MANY, {"messages": []}, chat("call", "me at anna@acme.io")], name="support.jsonl"
    )
    text = str(report)
    assert text.split("\n", maxsplit=1)[0] == "support.jsonl   chat · 62 rows"
    assert "✗ FT102  1 row" in text
    assert "1 fault, 1 notice. Nothing was sent anywhere." in text
    reported = json.loads(json.dumps(report.to_dict()))
    assert [(f["code"], f["severity"], f["line"]) for f in reported["faults"]] == [
        ("FT102", "fault", 61),
        ("FT406", "notice", 62),
    ]
    shown = report._repr_html_()
    assert "FT102" in shown
    assert RULES["FT102"].hint in html.unescape(shown)
    assert "<script" not in shown
    assert "<svg" not in shown  # no tokens were counted
    assert 'class="bad">✗ <code>FT102' in shown
    assert 'class="warn">! <code>FT406' in shown


def test_a_notebook_sees_lengths_and_no_row_can_break_out() -> None:
    report = validate(
        [*MANY, {"messages": [{"role": "<script>", "content": "x"}]}],
        name="<b>rows</b>", model="claude-3-haiku", tokens=True, near_duplicates=False,
    )  # fmt: skip
    assert sum(report.tokens.histogram) == report.rows
    shown = report._repr_html_()
    assert shown.count("<rect") == sum(count > 0 for count in report.tokens.histogram)
    assert "<b>rows" not in shown
    assert "<script" not in shown


def test_findings_are_for_the_upload() -> None:
    report = look([*MANY, chat("call", "me at anna@acme.io")])
    assert [f.code for f in report.findings] == ["FT406"]
