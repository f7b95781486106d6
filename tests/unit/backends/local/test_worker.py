"""The application's side of workers, with a worker that is a short script."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.serving.frames import BrokenFrame, read_frame, write_frame
from ftsdk.backends.local.serving.pool import WorkerPool
from ftsdk.backends.local.serving.worker import Worker
from ftsdk.backends.resident import ResidentLimits
from ftsdk.errors import RateLimited, Unavailable, UsageError
from ftsdk.util.clock import ManualClock

SCRIPT = """
import json, struct, sys
def read():
    head = sys.stdin.buffer.read(4)
    if not head: sys.exit(0)
    return json.loads(sys.stdin.buffer.read(struct.unpack(">I", head)[0]))
def write(document):
    body = json.dumps(document).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(body)) + body)
    sys.stdout.buffer.flush()
first = read()
if "broken" in first["folder"]:
    write({"failed": {"kind": "NotFound", "what": "no weights", "where": "here", "hint": "pull"}})
    sys.exit(1)
write({"ready": True})
held = []
while True:
    asked = read()
    if "cancel" in asked:
        held.remove(asked["cancel"])
        for other in held:
            write({"events": [[other, "", "stop", {"text": "%d left" % len(held), "usage": {"prompt": 1, "completion": 1}}]]})
        continue
    text = asked["messages"][0]["content"]
    if text == "hold":
        held.append(asked["id"])
        write({"events": [[asked["id"], "a piece"]]})
    elif text == "die":
        sys.stderr.write("out of memory")
        sys.stderr.flush()
        sys.exit(9)
    elif text == "garbage":
        sys.stdout.buffer.write(b"\\xff\\xff\\xff\\xffHTTP/1.1")
        sys.stdout.buffer.flush()
    elif text == "refuse":
        write({"events": [[asked["id"], "", "error", {"kind": "UsageError", "what": "too long"}]]})
    elif text == "own" and first["shared"]:
        write({"events": [[asked["id"], "", "not_batchable", {"what": "it has modules_to_save"}]]})
    else:
        usage = {"prompt": 2, "completion": 3}
        write({"events": [[asked["id"], text.upper()], [asked["id"], "!", "stop", {"text": text.upper() + "!", "usage": usage}]]})
"""


def started(folder: Path, limits: ResidentLimits, *, shared: bool) -> Worker:
    return Worker(folder, limits, shared=shared, command=(sys.executable, "-S", "-c", SCRIPT))


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A result's folder, as far as its worker is chosen by it."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    return made_result(tmp_path, "result")


def made_result(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    (path / "adapter_config.json").write_text("{}")
    facts = {"base_model": {"path": str(folder / "base"), "name": "b"}, "dtype": "float32"}
    (path / "ftsdk.json").write_text(json.dumps(facts))
    return path


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool(ResidentLimits(rows=1, waiting=1, idle_s=60), ManualClock(), start=started)
    yield made
    made.close()


def say(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_results_of_one_base_share_a_process(pool: WorkerPool, result: Path) -> None:
    other = made_result(result.parent, "other")
    pieces: list[str] = []
    answer = pool.chat(result, say("hello"), {"on_text": pieces.append, "seed": None})
    assert (answer.text, answer.finish_reason, pieces) == ("HELLO!", "stop", ["HELLO", "!"])
    assert answer.usage["total_tokens"] == 5
    pool.chat(other, say("hello"), {})
    assert len(pool.pids) == 1
    assert pool.chat(other, say("own"), {}).text == "OWN!"
    assert len(pool.pids) == 2, "an adapter of another kind needs a process of its own"


def test_a_process_ends_when_nobody_asks_it(pool: WorkerPool, result: Path) -> None:
    clock = pool._clock
    assert isinstance(clock, ManualClock)
    pool.chat(result, say("hello"), {})
    [pid] = pool.pids
    clock.advance(59)
    pool.end_idle()
    assert pool.pids == [pid]
    clock.advance(1)
    pool.end_idle()
    assert pool.pids == []
    assert ended(pid)


def test_a_crash_is_an_error_and_the_next_chat_starts_anew(pool: WorkerPool, result: Path) -> None:
    pool.chat(result, say("hello"), {})
    [pid] = pool.pids
    with pytest.raises(Unavailable, match=r"status 9.*out of memory") as died:
        pool.chat(result, say("die"), {})
    assert died.value.retryable
    assert pool.chat(result, say("again"), {}).text == "AGAIN!"
    assert pool.pids != [pid]
    with pytest.raises(Unavailable):
        pool.chat(result, say("garbage"), {})


def test_errors_keep_their_class_and_words(pool: WorkerPool, result: Path) -> None:
    with pytest.raises(UsageError, match="too long"):
        pool.chat(result, say("refuse"), {})
    broken = made_result(result.parent, "broken")
    (broken / "ftsdk.json").write_text((result / "ftsdk.json").read_text().replace("32", "16"))
    with pytest.raises(Exception, match="no weights") as found:
        pool.chat(broken, say("hello"), {})
    assert type(found.value).__name__ == "NotFound"


def test_too_many_chats_are_refused_and_one_whose_reader_leaves_is_cancelled(
    pool: WorkerPool, result: Path
) -> None:
    has_piece, may_leave = threading.Event(), threading.Event()

    def leave(_: str) -> None:
        has_piece.set()
        may_leave.wait(20)
        raise ZeroDivisionError

    def first() -> None:
        with pytest.raises(ZeroDivisionError):
            pool.chat(result, say("hold"), {"on_text": leave})

    found: list[Any] = []
    threads = [
        threading.Thread(target=first),
        threading.Thread(target=lambda: found.append(pool.chat(result, say("hold"), {}))),
    ]
    threads[0].start()
    assert has_piece.wait(20)
    threads[1].start()
    worker = next(iter(pool._entries.values())).worker
    end = time.monotonic() + 20
    while worker.chats < 2 and time.monotonic() < end:
        time.sleep(0.001)
    with pytest.raises(RateLimited) as refused:
        pool.chat(result, say("hello"), {})
    assert refused.value.retry_after > 0
    may_leave.set()
    for thread in threads:
        thread.join(20)
    assert found[0].text == "1 left"


def test_only_so_many_processes_are_kept(result: Path) -> None:
    pool = WorkerPool(ResidentLimits(processes=1), ManualClock(), start=started)
    try:
        pool.chat(result, say("hello"), {})
        [pid] = pool.pids
        pool.chat(result, say("own"), {})
        assert len(pool.pids) == 1
        assert pool.pids != [pid]
        assert ended(pid)
    finally:
        pool.close()
    assert pool.pids == []


def test_a_message_that_is_too_long_or_no_object_is_refused() -> None:
    stream = io.BytesIO()
    write_frame(stream, {"text": "ä"})
    stream.seek(0)
    assert read_frame(stream) == {"text": "ä"}
    assert read_frame(stream) is None
    for wrong in (b"\x00\x00\x00\x02[]", b"\xff\xff\xff\xffx", b'\x00\x00\x00\x05{"a"', b"\x00"):
        with pytest.raises(BrokenFrame):
            read_frame(io.BytesIO(wrong))
