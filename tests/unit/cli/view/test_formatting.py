from __future__ import annotations

import datetime as dt
import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.cli.view.formatting import clean, clean_block, duration, number, redact, size, when
from ftsdk.cli.view.output import emit, emit_blocks, plain
from ftsdk.util.durations import clock, percent
from ftsdk.util.json_stream import json_blocks
from ftsdk.util.names import plural


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("\x9b2Jgone", "gone"),
        ("\x1b[2", ""),
        ("\x1bPstuff\x1b\\after", "after"),
        ("a\rb\x08c\x00d", "a bcd"),
        ("a\u202eb\u2066c\ufeff", "abc"),
        ("a\u2028b", "ab"),
        ("one\ntwo\tthree", "one two three"),
        ("\ud800x", "x"),
        ("日本 ünïcode ✓", "日本 ünïcode ✓"),
    ],
)
def test_text_of_others_becomes_one_safe_line(raw, shown):
    assert clean(raw) == shown


@given(st.text(alphabet=st.characters(codec=None), max_size=60))
def test_control_sequences_are_removed(text):
    left = clean_block(text)
    assert not any((ord(ch) < 32 and ch not in "\n\t") or 127 <= ord(ch) < 160 for ch in left)
    left.encode("utf-8")
    assert "\n" not in clean(text)


def test_a_line_is_cut_where_asked():
    assert clean("abcdef", 4) == "abc…"
    assert clean("abcd", 4) == "abcd"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (0.44, "0.4 s"), (-1, "0.0 s"), (46, "46 s"), (59.7, "1 min"), (124, "2 min 4 s"),
     (3600, "1 h"), (11_400, "3 h 10 min"), (2 * 86_400 + 3 * 3600, "2 d 3 h")],
)  # fmt: skip
def test_durations(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(46, "0:46"), (725, "12:05"), (11_400, "3:10:00")])
def test_time_left(seconds, shown):
    assert clock(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2e-4, "2e-4"), (1.5e-05, "1.5e-5"), (3.0, "3"), (0.05, "0.05"), (0, "0"), (None, "–"),
     (31406, "31,406"), (True, "True"), ("cosine", "cosine"), (-2e-4, "-2e-4")],
)  # fmt: skip
def test_numbers(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (9_800_000, "9.8 MB"), (214_000, "214 kB"),
     (2_100_000_000, "2.1 GB"), (5e12, "5.0 TB"), (999_700, "1.0 MB")],
)  # fmt: skip
def test_sizes(value, shown):
    assert size(value) == shown


def test_percent_is_100_only_at_the_end():
    assert (percent(0.999), percent(1.0), percent(0)) == ("99 %", "100 %", "0 %")


def test_many():
    assert (plural(1, "row"), plural(1240, "row")) == ("1 row", "1,240 rows")


def test_when_omits_what_is_obvious():
    now = dt.datetime(2026, 11, 25, 12, 0, tzinfo=dt.UTC)
    assert when(now, now) == f"{now.astimezone():%H:%M}"
    assert when(now - dt.timedelta(days=3), now).startswith("22 Nov ")
    assert when(now - dt.timedelta(days=700), now).endswith("2024")


def test_secrets_are_found_by_name_format_and_environment():
    given_ = {
        "api_key": "abc", "HF_TOKEN": "abc", "hf_token": "x", "password": "p", "key": "nightly",
        "tokens_basis": "exact", "nested": [{"client_secret": "s"}], "trained_tokens": 12,
        "text": "use sk-abcdefgh1234 or Bearer abcdefgh12345 or AKIAABCDEFGHIJKLMNOP",
    }  # fmt: skip
    document = json.dumps(redact(given_))
    assert json.loads(document) == {
        "api_key": "***", "HF_TOKEN": "***", "hf_token": "***", "password": "***",
        "key": "nightly", "tokens_basis": "exact", "nested": [{"client_secret": "***"}],
        "trained_tokens": 12, "text": "use *** or *** or ***",
    }  # fmt: skip
    assert redact("it was hunter22", {"DB_PASSWORD": "hunter22"}) == "it was ***"
    assert redact("a", {"SHORT_KEY": "a"}) == "a"  # too short to be one; all text would be stars


def test_json_in_blocks_is_printed_as_json_at_once(capsys, monkeypatch):
    document = {
        "text": "ä 東 😀 \x9b \u202e",
        "rows": [{"n": i, "s": "é" * 50} for i in range(900)],
    }
    emit(document)
    at_once = capsys.readouterr().out
    blocks = list(json_blocks(document))
    assert len(blocks) > 1
    emit_blocks(blocks)
    assert capsys.readouterr().out == at_once
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", ascii_only)
    emit_blocks(blocks)
    ascii_only.flush()
    assert json.loads(ascii_only.buffer.getvalue()) == document


def test_json_escapes_control_characters_and_round_trips(capsys):
    document = {"a": "\x1b[31m\x9b\u202e\u2028 é日", "n": math.nan, "i": math.inf, "s": "\ud800"}
    emit(document)
    out = capsys.readouterr().out
    assert not set("\x1b\x9b\u202e\u2028\ud800") & set(out)
    assert json.loads(out) == {**document, "n": None, "i": None}
    assert "é日" in out


def test_plain_takes_records_money_times_and_paths():
    from decimal import Decimal
    from pathlib import Path

    from ftsdk.types.cost import Cost
    from ftsdk.types.status import JobStatus

    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert plain([Decimal("4.10"), now, Path("/x"), JobStatus.FAILED, {"b", "a"}]) == [
        "4.10", "2026-01-01T00:00:00+00:00", "/x", "failed", ["a", "b"],
    ]  # fmt: skip
    assert plain(Cost())["basis"] == "unknown"
