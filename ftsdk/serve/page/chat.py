"""Ask the base model and the tuned one the same, and send their answers as they come."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from ftsdk.backends.hosted.redact import mask_text
from ftsdk.client import Client
from ftsdk.errors import FtsdkError
from ftsdk.spending.counted_chats import CountedChats
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.job import JobSnapshot
from ftsdk.util.durations import duration

MOST_TOKENS = 256
_OPTIONS: dict[str, Any] = {"max_tokens": MOST_TOKENS, "temperature": 0.0, "seed": None}
_Piece = dict[str, str] | None


def answers(client: Client, job: JobSnapshot, message: str) -> Iterator[bytes]:
    """Yield the pieces of both answers as server-sent events: `{"who", "text"}`, and `{"who", "note"}`.

    The tuned model comes first on this machine, so that both need not be in memory at once. An error is a
    note in its model's place.
    """
    pieces: queue.Queue[_Piece] = queue.Queue()
    ended = threading.Event()
    worker = threading.Thread(
        target=_ask_both, args=(client, job, message, pieces, ended), name="ftsdk chat", daemon=True
    )
    worker.start()
    try:
        while (piece := pieces.get()) is not None:
            yield b"data: " + mask_text(json.dumps(piece, ensure_ascii=False)).encode() + b"\n\n"
    finally:
        ended.set()


def _ask_both(
    client: Client,
    job: JobSnapshot,
    message: str,
    pieces: queue.Queue[_Piece],
    ended: threading.Event,
) -> None:
    try:
        for who in ("tuned", "base"):
            if not ended.is_set():
                _ask(who, client, job, message, pieces, ended)
    finally:
        pieces.put(None)


def _ask(
    who: str,
    client: Client,
    job: JobSnapshot,
    message: str,
    pieces: queue.Queue[_Piece],
    ended: threading.Event,
) -> None:
    begun = client.clock.monotonic()
    try:
        if who == "tuned":
            stream = client.get_job(job.id).result().chat(message, stream=True, **_OPTIONS)
            for text in stream:
                pieces.put({"who": who, "text": text})
                if ended.is_set():
                    stream.close()
                    return
            answer = stream.answer
        else:
            answer = _base(client, job, message)
            pieces.put({"who": who, "text": answer.text})
    except FtsdkError as error:
        pieces.put({"who": who, "note": f"{error.what}. {error.hint}"})
        return
    pieces.put({"who": who, "note": _note(answer, client.clock.monotonic() - begun)})


def _base(client: Client, job: JobSnapshot, message: str) -> ChatAnswer:
    backend = client.session.backend_for(job)
    asked = [{"role": "user", "content": message}]
    ask = partial(CountedChats(client.session, backend).chat_base, client.get_job(job.id).result())
    found: ChatAnswer = ask(asked, _OPTIONS)
    return found


def _note(answer: ChatAnswer, seconds: float) -> str:
    tokens = answer.usage.get("completion_tokens")
    took = f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
    cut = ", cut off" if answer.finish_reason == "length" else ""
    return f"{tokens:,} tokens · {took}{cut}" if tokens else f"{took}{cut}"
