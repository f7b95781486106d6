"""A chat as it is written: an iterator over pieces of text, with the whole answer at its end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Self

from ftsdk.types.answer import ChatAnswer

__all__ = ["ChatStream"]

_Ask = Callable[[Callable[[str], None]], ChatAnswer]


class _Closed(Exception):
    """Ends a call whose stream was closed."""


class ChatStream:
    """The pieces of an answer, in order, as they come. `answer` is the whole one, at the end.

        for piece in model.chat("hello", stream=True):
            print(piece, end="", flush=True)

    A provider that does not stream gives one piece. An error of the call is raised by the iterator.
    Leaving the loop early does not stop the provider: the answer is still paid for and counted.
    """

    def __init__(self, ask: _Ask) -> None:
        self._pieces: queue.Queue[str | None] = queue.Queue()
        self._answer: ChatAnswer | None = None
        self._error: BaseException | None = None
        self._is_closed = False
        self._thread = threading.Thread(
            target=self._run, args=(ask,), name="ftsdk-chat", daemon=True
        )
        self._thread.start()

    def _run(self, ask: _Ask) -> None:
        seen: list[str] = []

        def put(text: str) -> None:
            if self._is_closed:
                raise _Closed
            seen.append(text)
            self._pieces.put(text)

        try:
            self._answer = ask(put)
            rest = self._answer.text if not seen else ""
            if rest:
                self._pieces.put(rest)  # the provider answered in one piece
        except BaseException as error:  # noqa: BLE001  # raised in the thread that iterates
            self._error = error
        finally:
            self._pieces.put(None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        piece = self._pieces.get()
        if piece is not None:
            return piece
        self._pieces.put(None)  # the end stays the end
        if self._error is not None:
            raise self._error
        raise StopIteration

    def close(self) -> None:
        """End the answer at its next piece. A hosted one may be billed without being counted."""
        self._is_closed = True

    @property
    def answer(self) -> ChatAnswer:
        """The whole answer; waits for it. Raises the error of the call."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._answer is not None  # noqa: S101  # there is an answer or an error
        return self._answer

    @property
    def text(self) -> str:
        """The text of the whole answer; waits for it."""
        return self.answer.text
