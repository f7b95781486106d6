"""Many chats whose clients leave at random: no other answer is lost or changed, and memory stays flat.

The long tier runs a real process for `FTSDK_SOAK_MINUTES` (60).
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.resident import ResidentLimits
from tests.train.resident import write_result

WORDS = ("cat", "dog", "sun", "rain snow", "one two three")


@pytest.fixture(scope="module")
def results(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("soak")
    return [
        write_result(tiny_model, folder / kind, kind, seed=seed)
        for seed, kind in enumerate(("lora", "dora"))
    ]


def test_clients_that_leave_change_no_other_answer(results: list[Path]) -> None:
    from ftsdk.backends.local.serving.served_model import ServedModel

    model = ServedModel.load(results[0], ResidentLimits(rows=4), is_shared=True)
    chance = random.Random(3)
    asked = [(folder, word) for folder in results for word in WORDS]
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    of: dict[int, tuple[Path, str]] = {}
    while len(of) < 50 or not model.engine.is_idle:
        if len(of) < 50 and chance.random() < 0.8:
            number = len(of)
            of[number] = folder, word = chance.choice(asked)
            messages = [{"role": "user", "content": word}]
            request = {"id": number, "folder": str(folder), "messages": messages, "max_tokens": 6}
            model.engine.add(model.conversation(request))
        if chance.random() < 0.2:
            model.engine.cancel(chance.randrange(len(of) or 1))
        for one in model.engine.step():
            identity = one.sequence.id
            assert identity not in reasons, "an answer goes on after its end"
            texts[identity] = texts.get(identity, "") + one.text
            if one.reason is not None:
                reasons[identity] = one.reason
    assert sorted(reasons) == sorted(of), "a request was lost"
    assert "cancelled" in reasons.values()
    whole: dict[tuple[Path, str], set[str]] = {}
    for number, reason in reasons.items():
        if reason != "cancelled":
            whole.setdefault(of[number], set()).add(texts[number])
    assert all(len(found) == 1 for found in whole.values()), whole
    assert model.engine._slots._layers == {}


def test_an_hour_of_chats_keeps_memory_flat(
    results: list[Path], pytestconfig: pytest.Config
) -> None:
    if not pytestconfig.getoption("--long"):
        pytest.skip("--long")
    from ftsdk.backends.local.serving.pool import WorkerPool
    from ftsdk.util.clock import SystemClock

    pool = WorkerPool(ResidentLimits(rows=8), SystemClock())
    minutes = float(os.environ.get("FTSDK_SOAK_MINUTES", "60"))
    end = time.monotonic() + 60 * minutes
    counts = {"answered": 0, "left": 0}
    lost: list[BaseException] = []

    def client(seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < end and not lost:
            leaves = chance.random() < 0.3

            def on_text(_: str, leaves: bool = leaves) -> None:
                if leaves:
                    raise ZeroDivisionError

            messages = [{"role": "user", "content": chance.choice(WORDS)}]
            options: dict[str, Any] = {"max_tokens": 12, "on_text": on_text}
            try:
                pool.chat(chance.choice(results), messages, options)
                counts["answered"] += 1
            except ZeroDivisionError:
                counts["left"] += 1
            except BaseException as error:  # the test reports it
                lost.append(error)

    try:
        pool.chat(results[0], [{"role": "user", "content": "sun"}], {"max_tokens": 4})
        threads = [threading.Thread(target=client, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        time.sleep(60 * minutes / 4)
        [pid] = pool.pids
        before = resident_bytes(pid)
        for thread in threads:
            thread.join()
        assert lost == []
        assert pool.pids == [pid]
        assert counts["answered"] > 100
        assert counts["left"] > 20
        assert resident_bytes(pid) < 1.1 * before + (16 << 20), "memory grows"
    finally:
        pool.close()


def resident_bytes(pid: int) -> int:
    """The memory of a process, where the system tells."""
    path = Path(f"/proc/{pid}/statm")
    return int(path.read_text().split()[1]) * 4096 if path.is_file() else 0
