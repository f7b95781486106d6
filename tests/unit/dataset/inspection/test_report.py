"""The inspection's text, notes, refusals, comparison, and its page in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset import Dataset, InspectionReport, Xray, inspect, validate
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}"
    "<think>{{ m.reasoning_content or '' }}</think>{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OPEN_ENDED = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"


def letters(template: str, name: str = "toy") -> ChatTokenizer:
    """One token a UTF-8 byte, and one for each special token."""
    special = {"<|im_start|>": 300, "<|im_end|>": 301}
    names = {v: k for k, v in special.items()}

    def encode(text: str) -> list[int]:
        found: list[int] = []
        for piece in re.split(r"(<\|im_(?:start|end)\|>)", text):
            found += [special[piece]] if piece in special else list(piece.encode())
        return found

    def decode(ids: Any) -> str:
        out = b"".join(names[i].encode() if i in names else bytes([i]) for i in ids)
        return out.decode("utf-8", "replace")

    return ChatTokenizer(
        name, template, {"eos_token": "<|im_end|>"}, encode, decode, frozenset((300, 301)), 301
    )


def chat(*turns: str, **more: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[i % 2], "content": t} for i, t in enumerate(turns)], **more}


ROWS = [
    chat("hé 🙂", "日本"),
    chat("a", "b", "c", "d"),
    {"messages": [{"role": "system", "content": "S"}, *chat("x", "y")["messages"]]},
]


def test_text_and_marks_are_exact() -> None:
    seen = inspect(ROWS, tokenizer=letters(CHATML))
    assert [r.marked() for r in seen.shown] == [
        "<|im_start|>user\nhé 🙂<|im_end|>\n<|im_start|>assistant\n⟦日本<|im_end|>⟧\n",
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n⟦b<|im_end|>⟧\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n⟦d<|im_end|>⟧\n",
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n⟦y<|im_end|>⟧\n",
    ]  # fmt: skip
    pieces = seen.shown[0].pieces
    assert [p.text for p in pieces if len(p.ids) > 1] == ["é", "🙂", "日", "本"]
    assert all(p.special == (p.ids[0] >= 300) for p in pieces)
    assert seen.findings == ()
    assert seen.summary.total == sum(seen.lengths)
    assert sum(b[2] for b in seen.histogram()) == 3
    assert Dataset.load(ROWS).inspect(tokenizer=letters(CHATML), line=2).shown[0].line == 2


def test_what_goes_wrong_is_said() -> None:
    open_ended = inspect([chat("a", "b")], tokenizer=letters(OPEN_ENDED))
    assert [f.code for f in open_ended.findings] == ["FT503"]
    lost = chat("a", "b", tools=[{"type": "function", "function": {"name": "weather"}}])
    lost["messages"][1]["reasoning_content"] = "because"
    seen = inspect([lost], tokenizer=letters(CHATML), max_length=10)
    assert {f.code for f in seen.findings} == {"FT502", "FT505", "FT507"}
    assert len(seen.shown[0].notes) == 3
    weightless = chat("a", "b")
    weightless["messages"][1]["weight"] = 0
    seen = inspect([weightless, chat("a", "b")], tokenizer=letters(CHATML))
    assert (seen.refused, [f.code for f in seen.findings]) == (1, ["FT501"])
    called = chat("a", "b")
    called["messages"][1] = {"role": "assistant", "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}  # fmt: skip
    assert [f.code for f in inspect([called], tokenizer=letters(CHATML)).findings] == ["FT506"]
    assert "FT506" in validate([called | {"tools": [{"type": "function", "function": {"name": "f"}}]}],
                               tokenizer=letters(CHATML), near_duplicates=False).counts  # fmt: skip


def test_a_template_that_rewrites_gives_one_piece_per_answer() -> None:
    row = chat("a", "b", "c", "d")
    row["messages"][1]["reasoning_content"] = "one"
    row["messages"][3]["reasoning_content"] = "two"
    seen = inspect([row], tokenizer=letters(THINKING))
    assert [(r.part, r.parts) for r in seen.shown] == [(1, 2), (2, 2)]
    assert "⟦<think>one</think>b<|im_end|>⟧" in seen.shown[0].marked()
    assert (
        seen.shown[1].marked().endswith("<|im_start|>assistant\n⟦<think>two</think>d<|im_end|>⟧\n")
    )
    assert seen.shown[1].marked().count("⟦") == 1
    assert seen.findings == ()  # each reasoning is learned in the piece that ends with it
    assert seen.summary.rows == 1


def test_both_answers_of_a_pair_are_shown_and_only_they_are_learned() -> None:
    pair = {
        "input": {"messages": chat("a", "b", "c")["messages"]},
        "preferred_output": [{"role": "assistant", "content": "good"}],
        "non_preferred_output": [
            {"role": "assistant", "content": "bad", "reasoning_content": "because so"}
        ],
    }
    seen = inspect([pair], tokenizer=letters(CHATML))
    start = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n"
    assert [(r.title(), r.marked()) for r in seen.shown] == [
        ("line 1, preferred answer", start + "⟦good<|im_end|>⟧\n"),
        ("line 1, non-preferred answer", start + "⟦bad<|im_end|>⟧\n"),
    ]
    assert [f.code for f in seen.findings] == ["FT505"]
    counted = validate([pair], tokenizer=letters(CHATML), near_duplicates=False).tokens
    assert (
        (counted.total, counted.trained)
        == (seen.summary.total, seen.summary.trained)
        == (sum(seen.lengths), 5 + 4)
    )
    assert seen.summary.longest == sum(seen.lengths)


def test_plain_text_is_learned_whole() -> None:
    seen = inspect([{"text": "once"}], tokenizer=letters(CHATML))
    assert [r.marked() for r in seen.shown] == ["⟦once<|im_end|>⟧"]
    assert (seen.summary.total, seen.summary.trained, seen.findings) == (5, 4, ())


def test_tokenized_rows_are_shown_as_they_are() -> None:
    toy = letters(CHATML)
    ids = [300, *b"hi", 301]
    rows = [{"input_ids": ids, "labels": [-100, -100, ids[2], 301]}, {"input_ids": ids},
            {"input_ids": ids, "labels": [-100] * 4}, {"input_ids": ids, "labels": [1]},
            {"input_ids": ["x"]}]  # fmt: skip
    seen = inspect(rows, tokenizer=toy)
    assert [r.marked() for r in seen.shown] == ["<|im_start|>h⟦i<|im_end|>⟧", "⟦<|im_start|>hi<|im_end|>⟧"]  # fmt: skip
    assert (seen.summary.total, seen.summary.trained) == (8, 2 + 3)
    assert [(f.code, f.line) for f in seen.findings] == [("FT501", 3), ("FT140", 4), ("FT140", 5)]
    closed = inspect(rows[:2], model="gpt-4o")
    assert (closed.summary.total, closed.summary.trained) == (8, 2 + 3)


MALFORMED = {
    "no list": ({"messages": 5}, "FT102"),
    "null": ({"messages": None}, "FT102"),
    "a message that is text": ({"messages": ["a", {"role": "assistant", "content": "b"}]}, "FT103"),
    "contents": ({"contents": [5]}, "FT103"),
    "a prompt that is none": (
        {"input": 5, "preferred_output": None, "non_preferred_output": 3},
        "FT102",
    ),
    "no prompt": ({"chosen": "a", "rejected": "b"}, "FT102"),
    "an answer that is text": (
        {"input": {"messages": []}, "preferred_output": "a", "non_preferred_output": [5]},
        "FT102",
    ),
    "no text": ({"text": None}, "FT129"),
    "no token ids": ({"input_ids": [-1, 5]}, "FT140"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_rows_are_refused_by_name(case: str) -> None:
    row, code = MALFORMED[case]
    seen = inspect([row], tokenizer=letters(CHATML))
    assert (seen.refused, [f.code for f in seen.findings]) == (1, [code])


def test_tools_that_are_no_functions_break_nothing() -> None:
    seen = inspect([chat("a", "b", tools=[{"function": 5}, 7])], tokenizer=letters(CHATML))
    assert [r.trained for r in seen.shown] == [2]


def test_two_targets_are_compared() -> None:
    left, right = (
        inspect(ROWS, tokenizer=letters(t, n), model=n)
        for t, n in ((CHATML, "one"), (THINKING, "two"))
    )
    reported = left.diff(right)
    assert [r.same_learned for r in reported.rows] == [False, False, False]
    assert reported.rows[0].only == ("日本", "<think></think>日本")
    assert "chat templates: different" in str(reported)
    json.dumps(reported.to_dict())


def test_rows_that_one_model_sees_in_pieces_are_compared_whole() -> None:
    row = chat("a", "b", "c", "d")
    row["messages"][1]["reasoning_content"] = row["messages"][3]["reasoning_content"] = "so"
    always = THINKING.replace(" and loop.last", "")
    whole, parts = (inspect([row], tokenizer=letters(t), model=t[:9]) for t in (always, THINKING))
    assert ([len(x.shown) for x in (whole, parts)], len(whole.diff(parts).rows)) == ([1, 2], 1)
    (reported,) = whole.diff(parts).rows
    assert reported.same_learned
    assert reported.trained[0] == reported.trained[1]
    assert reported.tokens[0] < reported.tokens[1]
    refusing = inspect([row], tokenizer=letters("{{ raise_exception('no') }}"), model="three")
    assert "refused  0  →  1 rows" in str(whole.diff(refusing))


def test_what_a_cut_leaves_to_learn_is_said() -> None:
    seen = inspect([chat("a", "word by word")], tokenizer=letters(CHATML), max_length=28)
    whole = seen.shown[0]
    assert (whole.tokens, whole.trained) == (34, 13)
    assert "cut there, 8 of 13 learned tokens are left" in whole.notes[0]
    short = inspect([chat("a", "word by word")], tokenizer=letters(CHATML), max_length=10)
    assert short.findings[0].message.endswith("cut there, it has nothing to learn")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_that_is_dropped_is_reported_whatever_its_key(key: str) -> None:
    row = chat("a", "b")
    row["messages"][1][key] = "because"
    assert [f.code for f in inspect([row], tokenizer=letters(CHATML)).findings] == ["FT505"]
    assert inspect([row], tokenizer=letters(THINKING)).findings == ()


def test_what_is_said_beside_a_call_and_dropped_is_reported() -> None:
    template = CHATML.replace(
        "{{ m.content }}",
        "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% else %}{{ m.content }}{% endif %}",
    )
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    row = chat("a", "let me look")
    row["messages"][1]["tool_calls"] = [call]
    seen = inspect([row], tokenizer=letters(template))
    assert [f.code for f in seen.findings] == ["FT508"]
    assert "'let me look' beside a call" in seen.findings[0].message
    row["messages"][1]["content"] = None
    assert inspect([row], tokenizer=letters(template)).findings == ()


def test_closed_models_say_not_visible() -> None:
    pytest.importorskip("bpe_openai")
    seen = inspect(ROWS, model="gpt-4.1-mini", provider="openai")
    assert not seen.visible
    assert "not visible" in str(seen)
    assert seen.summary.total > 0
    assert seen.shown == ()


def test_a_pulled_model_is_found_by_its_short_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsdk.dataset.tokenize.tokenizer_folder import model_folder

    monkeypatch.setenv("FTSDK_HOME", str(tmp_path))
    folder = tmp_path / "models" / "toy"
    folder.mkdir(parents=True)
    assert model_folder("toy") is None
    (folder / "tokenizer.json").write_text("{}")
    assert model_folder("toy") == folder
    assert model_folder(folder) == folder
    for name in (None, "", "a/b", "\x00", "org/model"):
        assert model_folder(name) is None


# --- the page --------------------------------------------------------------------------------


def hostile() -> list[dict[str, Any]]:
    return [
        chat(
            "</script><script>document.title='broken'</script>",
            '<img src=x onerror=alert(1)> & "quotes" \u2028',
        ),
        *ROWS,
    ]


def test_the_page_is_one_file_and_holds_no_row_in_the_open() -> None:
    page = inspect(hostile(), tokenizer=letters(CHATML)).to_html()
    assert "onerror" not in page
    assert re.findall(r"(?:src|href)=", page) == []
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    assert "default-src 'none'" in page


def browser() -> str | None:
    return next(
        (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))),
        None,
    )


def dump(page: Path, query: str = "", *, size: str = "1280,800") -> str:
    done = subprocess.run(
        [browser() or "", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=15000", f"--window-size={size}",
         f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", f"file://{page}{query}"], capture_output=True, text=True, timeout=120, check=True)  # fmt: skip
    return done.stdout


@pytest.mark.browser
@pytest.mark.skipif(browser() is None, reason="there is no headless browser here")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_shows_rows_in_a_browser(tmp_path: Path, theme: str) -> None:
    seen = inspect(
        hostile() + [chat(f"q{i}", f"a{i}") for i in range(600)],
        tokenizer=letters(CHATML),
        rows=10_000,
        model="toy",
    )
    path = tmp_path / "x.html"
    path.write_text(seen.to_html(), encoding="utf-8")
    dom = dump(path, f"?theme={theme}")
    assert 'data-ready="yes"' in dom
    assert f'data-theme="{theme}"' in dom
    assert "<title>rows · inspection</title>" in dom
    assert "&lt;" in dom
    assert "<img" not in dom
    assert 'class="t l s"' in dom
    assert '<span class="say">a0</span>' in dom  # each row of the list says what it teaches
    assert len(re.findall('class="entry"', dom)) < 120  # only the rows in view are drawn


MEASURE = """<script>
setInterval(() => {
  if (document.body.dataset.ready !== "yes") return;
  const box = (name) => { const b = document.querySelector(name).getBoundingClientRect(); return [b.top, b.bottom]; };
  document.body.dataset.boxes = JSON.stringify({ first: box(".notes div"), strip: box(".notes"), top: box(".top"), main: box("main"), page: [0, innerHeight] });
}, 20);
</script></body>"""


def boxes(dom: str) -> dict[str, tuple[float, float]]:
    found = re.search(r'data-boxes="([^"]*)"', dom)
    assert found is not None
    boxes: dict[str, tuple[float, float]] = json.loads(html.unescape(found[1]))
    return boxes


REFUSED = [
    {"messages": [{"role": "assistant", "content": "first <b>"}]},
    {"messages": [{"role": "user", "content": "only a question"}]},
]


@pytest.mark.browser
@pytest.mark.skipif(browser() is None, reason="there is no headless browser here")
@pytest.mark.parametrize("size", ["1280,400", "1280,600", "1280,860", "1280,1000"])
def test_what_is_refused_is_readable_at_any_height(tmp_path: Path, size: str) -> None:
    path = tmp_path / "x.html"
    seen = inspect([*ROWS, *REFUSED], tokenizer=letters(CHATML), max_length=8)
    path.write_text(seen.to_html().replace("</body>", MEASURE), encoding="utf-8")
    found = boxes(dump(path, size=size))
    assert found["strip"][0] < found["first"][0]
    assert found["first"][1] < found["strip"][1] < found["main"][0]
    assert found["first"][1] < found["page"][1] / 2
    assert found["top"][1] <= found["main"][0]  # nothing lies over the figures
    assert found["main"][1] - found["main"][0] >= 300


@pytest.mark.browser
@pytest.mark.skipif(browser() is None, reason="there is no headless browser here")
def test_the_page_of_a_file_without_a_good_row_shows_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.html"
    seen = inspect(REFUSED * 3, tokenizer=letters(CHATML))
    assert [row.line for row in seen.refused_rows] == [1, 2, 3, 4, 5, 6]
    path.write_text(seen.to_html(), encoding="utf-8")
    dom = dump(path)
    assert len(re.findall('class="entry refused"', dom)) == 6
    assert "Line 1, refused" in dom
    assert "first &lt;b&gt;" in dom
    assert "it starts with an assistant turn to train" in dom
    assert "No row can be trained on this model." in dom
    assert 'aria-label="line 6, refused"' in dom


@pytest.mark.browser
@pytest.mark.skipif(browser() is None, reason="there is no headless browser here")
def test_every_length_and_line_has_its_label(tmp_path: Path) -> None:
    path = tmp_path / "x.html"
    rows = [chat("q" * n, "a") for n in (40, 50, 60, 70, 80, 90, 100)]
    path.write_text(inspect(rows, tokenizer=letters(CHATML), max_length=20).to_html())
    dom = dump(path)
    totals = sorted(map(int, re.findall(r"(\d+) tokens, max_length is 20", dom)))
    assert len(set(totals)) >= 4
    assert "and 3 more, from line 5" in dom
    assert ">max_length 20</span>" in dom
    assert re.search(r'aria-label="line 2, \d+ tokens, \d+ learned"', dom)


def test_a_row_at_a_line_is_kept_when_it_is_refused() -> None:
    seen = inspect([*ROWS, *REFUSED], tokenizer=letters(CHATML), line=5)
    assert [(row.line, row.notes) for row in seen.refused_rows] == [
        (5, (seen.findings[-1].message,))
    ]
    assert "only a question" in seen.refused_rows[0].marked()
    assert inspect(REFUSED * 9, tokenizer=letters(CHATML), rows=4).refused_rows[-1].line == 4


def test_a_page_without_rows_is_still_a_page() -> None:
    pytest.importorskip("bpe_openai")
    seen: InspectionReport = inspect(ROWS, model="gpt-4o")
    assert "<!doctype html>" in seen.to_html()
    assert "iframe" in seen._repr_html_()


def test_the_old_name_of_the_report_still_works() -> None:
    assert Xray is InspectionReport
