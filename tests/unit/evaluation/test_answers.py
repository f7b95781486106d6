"""The store keeps every answer that it was given, whole, and gives it to no other request."""

from __future__ import annotations

import datetime as dt
import errno
import os
import stat
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import StoreError
from ftsdk.evaluation.answers import AnswerStore, Source, StoredAnswer, key_of, stores_in
from ftsdk.types.chat import ChatRequest
from ftsdk.types.model import ChatAnswer
from ftsdk.util.clock import ManualClock

SOURCE = Source(provider="openai", model="ft:gpt-4.1-mini:acme::a1", account="project:p1")
REQUEST = ChatRequest("", ({"role": "user", "content": "hi"},), {"temperature": 0})
NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)


def answer(key: str, text: str = "hello", usd: str | None = "0.001") -> StoredAnswer:
    return StoredAnswer(
        key=key,
        case="c1",
        at=NOW,
        usd=None if usd is None else Decimal(usd),
        answer=ChatAnswer(text=text, message={"role": "assistant", "content": text}),
    )


def store_in(home: Path, source: Source = SOURCE) -> AnswerStore:
    return AnswerStore(home, source, clock=ManualClock())


def test_answers_survive_and_cost_is_summed(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        assert store.add(answer("k1"), answer("k2", usd=None)) == 2
        assert store.add(answer("k1", "another")) == 0
    with store_in(tmp_path) as again:
        assert len(again) == 2
        found = again.get("k1")
        assert found == answer("k1")
        assert found is not None
        assert found.usd == Decimal("0.001")
        assert again.get("k3") is None
        assert again.spent == Decimal("0.001")


@pytest.mark.parametrize(
    ("other", "request_of", "repeat"),
    [
        (Source("openai", "ft:gpt-4.1-mini:acme::b2", "project:p1"), REQUEST, 0),
        (Source("openai", SOURCE.model, "project:p2"), REQUEST, 0),
        (Source("azure", SOURCE.model, "project:p1"), REQUEST, 0),
        (Source("openai", SOURCE.model, "project:p1", "https://eu.example/v1"), REQUEST, 0),
        (Source("openai", SOURCE.model, "project:p1", revision="r2"), REQUEST, 0),
        (Source("openai", SOURCE.model, "project:p1", template="t2"), REQUEST, 0),
        (SOURCE, ChatRequest("", ({"role": "user", "content": "ho"},), {"temperature": 0}), 0),
        (SOURCE, ChatRequest("", REQUEST.messages, {"temperature": 1}), 0),
        (SOURCE, ChatRequest("", REQUEST.messages, {"temperature": 0, "tools": []}), 0),
        (SOURCE, REQUEST, 1),
    ],
    ids=["model", "account", "provider", "address", "revision", "template", "messages", "option",
         "tools", "repeat"],
)  # fmt: skip
def test_every_part_is_in_the_key(other: Source, request_of: ChatRequest, repeat: int) -> None:
    assert key_of(other, request_of, repeat) != key_of(SOURCE, REQUEST, 0)


def test_the_id_and_the_order_of_options_are_not_in_the_key() -> None:
    one = ChatRequest("a", REQUEST.messages, {"temperature": 0, "top_p": 1})
    other = ChatRequest("b", REQUEST.messages, {"top_p": 1, "temperature": 0})
    assert key_of(SOURCE, one, 0) == key_of(SOURCE, other, 0)


def test_sources_have_folders_of_their_own(tmp_path: Path) -> None:
    other = Source("openai", "ft:gpt-4.1-mini:acme::b2", "project:p1")
    with store_in(tmp_path) as one, store_in(tmp_path, other) as two:
        one.add(answer("k1"))
        assert "k1" not in two
    assert {source["model"] for _, source in stores_in(tmp_path)} == {SOURCE.model, other.model}


@pytest.mark.parametrize("kept_bytes", [0, 1, 20, -2, -1])
def test_a_line_that_was_cut_is_dropped_and_the_others_stay(
    tmp_path: Path, kept_bytes: int
) -> None:
    with store_in(tmp_path) as store:
        store.add(answer("k1"))
        path = store.folder / "answers.jsonl"
        whole = path.stat().st_size
        store.add(answer("k2"))
    last = path.read_bytes()[whole:]
    path.write_bytes(path.read_bytes()[:whole] + last[: kept_bytes if kept_bytes >= 0 else len(last) + kept_bytes])  # fmt: skip
    with store_in(tmp_path) as again:
        assert "k1" in again
        assert "k2" not in again
        again.add(answer("k2", "new"))
    with store_in(tmp_path) as third:
        assert third.get("k1") == answer("k1")
        assert third.get("k2") == answer("k2", "new")


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        store.add(answer("k1"), answer("k2"))
        path = store.folder / "answers.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([b"{" + lines[0][2:], *lines[1:]]))
    with pytest.raises(StoreError) as caught, store_in(tmp_path):
        pass
    assert caught.value.where.endswith("answers.jsonl, line 1")
    assert "paid again" in caught.value.hint


def test_what_was_under_way_is_known_until_it_is_answered(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        store.asking("k1")
        store.asking("k2", kept=True)
        store.add(answer("k1"))
    with store_in(tmp_path) as again:
        assert again.under_way() == {"k2": True}
        again.add(answer("k2"))
        assert again.under_way() == {}


def test_a_full_disk_loses_nothing_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store_in(tmp_path) as store:
        store.add(answer("k1"))
        real = os.write

        def full(fd: int, data: Any) -> int:
            if len(data) > 20:
                return real(fd, bytes(data)[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:20]) if len(data) > 100 else full(fd, b"x"))  # fmt: skip
        with pytest.raises(StoreError, match="No space left"):
            store.add(answer("k2"))
        monkeypatch.undo()
        store.add(answer("k3"))
    with store_in(tmp_path) as again:
        assert {key for key in ("k1", "k2", "k3") if key in again} == {"k1", "k3"}


def test_half_a_surrogate_pair_is_stored_as_a_question_mark(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        store.add(answer("k1", "a \ud83d b"))
    with store_in(tmp_path) as again:
        found = again.get("k1")
        assert found is not None
        assert found.answer.text == "a ? b"


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:

        def work(name: str) -> None:
            for n in range(40):
                store.add(answer(f"{name}-{n}", "x" * n * 50))

        threads = [threading.Thread(target=work, args=(str(n),)) for n in range(6)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        for n in range(40):
            found = store.get(f"3-{n}")
            assert found is not None
            assert found.answer.text == "x" * n * 50
    with store_in(tmp_path) as again:
        assert len(again) == 240


def test_a_store_is_private_and_locked(tmp_path: Path) -> None:
    waits = []
    with store_in(tmp_path) as store:
        store.add(answer("k1"))
        for path in [store.folder, *store.folder.rglob("*")]:
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path

        class Enough(Exception):
            pass

        def wait() -> None:
            waits.append(1)
            if len(waits) == 3:
                raise Enough

        with (
            pytest.raises(Enough),
            AnswerStore(tmp_path, SOURCE, clock=ManualClock(), on_wait=wait),
        ):
            pass
    assert len(waits) == 3
