"""Conversations of several adapters are answered in one batch as each is answered alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.resident import ResidentLimits
from tests.train.resident import KINDS, write_result

ASKED = ["cat dog", "one two three " * 9, "sun"]


@pytest.fixture(scope="module")
def results(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A result with each kind of adapter."""
    folder = tmp_path_factory.mktemp("results")
    return {
        kind: write_result(tiny_model, folder / kind, kind, seed=seed)
        for seed, kind in enumerate(KINDS)
    }


def served(folder: Path, *, shared: bool = True, **limits: Any) -> Any:
    from ftsdk.backends.local.serving.served_model import ServedModel

    return ServedModel.load(folder, ResidentLimits(**limits), is_shared=shared)


def request(number: int, folder: Path, text: str, **options: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"id": number, "folder": str(folder), "messages": messages, "max_tokens": 16, **options}


def answers(model: Any, requests: Sequence[dict[str, Any]], *, join_every: int = 0) -> list[str]:
    """The answers to requests, which join at once or one after so many steps."""
    texts: dict[int, str] = {}
    left = list(requests)
    steps = 0
    while left or not model.engine.is_idle:
        if left and (not join_every or steps % join_every == 0):
            joining = left if not join_every else left[:1]
            for one in joining:
                model.engine.add(model.conversation(one))
            left = left[len(joining) :]
        for progress in model.engine.step():
            texts.setdefault(progress.sequence.id, "")
            texts[progress.sequence.id] += progress.text
        steps += 1
    return [texts[one["id"]] for one in requests]


def alone(folder: Path, text: str, **options: Any) -> str:
    from ftsdk.backends.local.inference import load_model

    return (
        load_model(folder).chat([{"role": "user", "content": text}], max_tokens=16, **options).text
    )


@pytest.mark.parametrize("join_every", [0, 3])
def test_mixed_adapters_answer_as_each_alone(results: dict[str, Path], join_every: int) -> None:
    kinds = ("lora", "rslora", "dora")
    model = served(results["lora"], rows=5)
    assert model.one_by_one is None
    asked = [
        request(number, results[kind], text)
        for number, (kind, text) in enumerate((kind, text) for text in ASKED for kind in kinds)
    ]
    base = request(99, results["lora"], ASKED[0], tuned=False)
    *found, plain = answers(model, [*asked, base], join_every=join_every)
    wanted = [alone(Path(one["folder"]), one["messages"][0]["content"]) for one in asked]
    assert found == wanted
    assert len(set(found[:3])) == 3, "the adapters answer alike, so nothing is compared"
    assert plain not in found[:3]


def test_a_seed_gives_the_same_answer_in_any_company(results: dict[str, Path]) -> None:
    model = served(results["lora"])
    options = {"temperature": 1.2, "seed": 5, "top_p": 0.9}
    asked = [request(1, results["lora"], ASKED[0], **options)]
    beside = [request(number, results["dora"], text) for number, text in enumerate(ASKED, start=2)]
    assert answers(model, [*asked, *beside])[0] == answers(model, asked)[0]
    assert answers(model, asked)[0] == alone(results["lora"], ASKED[0], **options)


def test_an_answer_ends_at_a_stop_text_that_is_not_shown(results: dict[str, Path]) -> None:
    model = served(results["lora"])
    whole = answers(model, [request(1, results["lora"], "sun")])[0]
    stop = whole[6:9]
    cut = answers(model, [request(1, results["lora"], "sun", stop=["never", stop])])[0]
    assert cut == whole[: whole.index(stop)]
    assert alone(results["lora"], "sun", stop=stop) == cut


def test_one_that_is_cancelled_leaves_its_place(results: dict[str, Path]) -> None:
    model = served(results["lora"], rows=2)
    asked = [request(n, results["lora"], text) for n, text in enumerate(ASKED)]
    for one in asked:
        model.engine.add(model.conversation(one))
    model.engine.step()
    model.engine.cancel(0)
    model.engine.cancel(2)  # it waits still
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    while not model.engine.is_idle:
        for progress in model.engine.step():
            identity = progress.sequence.id
            texts[identity] = texts.get(identity, "") + progress.text
            reasons[identity] = progress.reason or ""
    assert (reasons[0], reasons[2]) == ("cancelled", "cancelled")
    assert len(model.engine._slots._layers) == 0, "memory is kept"
    assert alone(results["lora"], ASKED[1]).endswith(texts[1])


def test_an_adapter_that_trains_more_is_loaded_as_chat_loads_it(results: dict[str, Path]) -> None:
    from ftsdk.backends.local.serving.row_adapters import NotBatchable

    model = served(results["lora"])
    with pytest.raises(NotBatchable, match="modules_to_save"):
        model.conversation(request(1, results["head"], "sun"))
    own = served(results["head"], shared=False)
    asked = [request(number, results["head"], text) for number, text in enumerate(ASKED)]
    assert answers(own, asked) == [alone(results["head"], text) for text in ASKED]


def test_adapters_beyond_the_limit_leave_when_unused(results: dict[str, Path]) -> None:
    model = served(results["lora"], adapters=1)
    for kind in ("lora", "dora", "rslora", "lora"):
        assert answers(model, [request(1, results[kind], "sun")]) == [alone(results[kind], "sun")]
        assert len(model.engine.adapters.names) == 1


def test_a_model_that_a_batch_would_change_answers_one_by_one(
    results: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsdk.backends.local.serving import served_model
    from ftsdk.backends.local.serving.one_by_one import OneByOne

    monkeypatch.setattr(served_model, "_change", lambda _: 0.3)
    model = served(results["dora"], shared=False)
    assert model.engine is None
    assert "0.3" in str(model.one_by_one)
    chats = OneByOne(model.model, 60.0, lambda: None)
    chats.add(request(7, results["dora"], "sun"))
    events: list[list[Any]] = []
    chats.answer_next(events.append)
    assert events[-1][:3] == [7, "", "length"]
    assert "".join(event[1] for event in events) == alone(results["dora"], "sun")


def test_a_real_process_answers_several_adapters_at_once_and_ends(results: dict[str, Path]) -> None:
    import threading

    from ftsdk.backends.local.serving.pool import WorkerPool
    from ftsdk.util.clock import SystemClock

    pool = WorkerPool(ResidentLimits(), SystemClock())
    found: dict[str, str] = {}

    def ask(kind: str) -> None:
        messages = [{"role": "user", "content": "sun"}]
        found[kind] = pool.chat(results[kind], messages, {"max_tokens": 16}).text

    try:
        threads = [threading.Thread(target=ask, args=(kind,)) for kind in ("lora", "dora")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert found == {kind: alone(results[kind], "sun") for kind in ("lora", "dora")}
        assert len(pool.pids) == 1
    finally:
        pool.close()
    assert pool.pids == []
