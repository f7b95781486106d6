"""The worker: a process that loads one model and answers what it is asked over its standard input.

    python -m ftsdk.backends.local.serving.process

The first message says what to load; each further one is a chat or the end of one. It ends when its
input ends: with the application, however that ends.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ftsdk.backends.local.serving.frames import BrokenFrame, read_frame, write_frame
from ftsdk.backends.resident import ResidentLimits
from ftsdk.errors import FtsdkError, UsageError

NOT_BATCHABLE = "not_batchable"
"""The kind of an answer to a chat whose adapter needs a worker of its own."""
_Inbox = queue.Queue[dict[str, Any]]


def main() -> None:
    """Load, answer, and end with the input."""
    asked, answers = _private_streams()
    inbox: _Inbox = queue.Queue()
    threading.Thread(target=_read, args=(asked, inbox), daemon=True).start()
    first = inbox.get()
    limits = ResidentLimits(**first["limits"])
    try:
        from ftsdk.backends.local.serving.served_model import ServedModel

        model = ServedModel.load(Path(first["folder"]), limits, is_shared=bool(first["shared"]))
    except FtsdkError as error:
        write_frame(answers, {"failed": error_document(error)})
        return
    write_frame(answers, {"ready": True, "one_by_one": model.one_by_one})
    if model.engine is None:
        _answer_one_by_one(model, limits, inbox, answers)
    else:
        _answer_together(model, inbox, answers)


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """Input and output for messages alone: what a library prints goes to the log."""
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return asked, answers


def _read(asked: BinaryIO, inbox: _Inbox) -> None:
    """Put each message into the inbox; the process ends where there are no more."""
    try:
        while (message := read_frame(asked)) is not None:
            inbox.put(message)
    except (BrokenFrame, OSError) as error:
        sys.stderr.write(f"the application sent {error}\n")
    os._exit(0)


def error_document(error: FtsdkError) -> dict[str, Any]:
    """An error as a message."""
    return {
        "kind": type(error).__name__, "what": error.what, "where": error.where, "hint": error.hint
    }  # fmt: skip


def _taken(inbox: _Inbox, *, wait: bool) -> Iterator[dict[str, Any]]:
    """Yield what has come; with `wait` the first of it is waited for."""
    if wait:
        yield inbox.get()
    while True:
        try:
            yield inbox.get_nowait()
        except queue.Empty:
            return


def _answer_together(model: Any, inbox: _Inbox, answers: BinaryIO) -> None:
    engine = model.engine
    while True:
        events: list[list[Any]] = []
        for message in _taken(inbox, wait=engine.is_idle):
            if "cancel" in message:
                engine.cancel(int(message["cancel"]))
                continue
            refused = _refused(message, lambda one: engine.add(model.conversation(one)))
            events += [refused] if refused is not None else []
        for one in engine.step():
            if one.text or one.reason is not None:
                events.append(_event(one))
        if events:
            write_frame(answers, {"events": events})


def _refused(message: Mapping[str, Any], begin: Any) -> list[Any] | None:
    """Begin a chat; returns the event of one that cannot be answered."""
    from ftsdk.backends.local.serving.row_adapters import NotBatchable

    try:
        begin(message)
    except NotBatchable as error:
        return [message["id"], "", NOT_BATCHABLE, {"what": str(error)}]
    except FtsdkError as error:
        return [message["id"], "", "error", error_document(error)]
    except (LookupError, TypeError, ValueError, OSError, RuntimeError) as error:
        fault = UsageError(f"The request cannot be read: {type(error).__name__}: {error}")
        return [message["id"], "", "error", error_document(fault)]
    return None


def _event(one: Any) -> list[Any]:
    if one.reason is None:
        return [one.sequence.id, one.text]
    sequence = one.sequence
    usage = {"prompt": len(sequence.prompt), "completion": len(sequence.tokens)}
    return [sequence.id, one.text, one.reason, {"text": sequence.pieces.text, "usage": usage}]


def _answer_one_by_one(
    model: Any, limits: ResidentLimits, inbox: _Inbox, answers: BinaryIO
) -> None:
    from ftsdk.backends.local.serving.one_by_one import OneByOne

    def take(*, wait: bool = False) -> None:
        for message in _taken(inbox, wait=wait):
            if "cancel" in message:
                chats.cancel(int(message["cancel"]))
            else:
                chats.add(message)

    def send(event: list[Any]) -> None:
        write_frame(answers, {"events": [event]})

    chats = OneByOne(model.model, limits.chat_s, take)
    while True:
        take(wait=chats.is_idle)
        if chats.is_idle:
            continue
        refused = _refused(chats.next_request, lambda _: chats.answer_next(send))
        if refused is not None:
            send(refused)


if __name__ == "__main__":
    main()
