"""Answers chats one after the other, as `ftsdk chat` does: for models whose answers a batch changes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ftsdk.backends.local.local_model import LocalModel

OnEvent = Callable[[list[Any]], None]


class _Ended(Exception):
    """The chat is not to go on; its text is the reason."""


class OneByOne:
    """Chats that wait for their turn. `poll` takes in what has come meanwhile."""

    def __init__(self, model: LocalModel, chat_s: float, poll: Callable[[], None]) -> None:
        self._model, self._chat_s, self._poll = model, chat_s, poll
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._cancelled: set[int] = set()

    @property
    def is_idle(self) -> bool:
        """Whether no chat waits."""
        return not self._waiting

    @property
    def next_request(self) -> Mapping[str, Any]:
        """The chat that is answered next."""
        return self._waiting[0]

    def add(self, request: Mapping[str, Any]) -> None:
        """Let a chat wait for its turn."""
        self._waiting.append(request)

    def cancel(self, identity: int) -> None:
        """End a chat at its next piece."""
        self._cancelled.add(identity)

    def answer_next(self, on_event: OnEvent) -> None:
        """Answer the first chat that waits. Raises what `LocalModel.chat` raises."""
        request = self._waiting.popleft()
        identity, deadline = int(request["id"]), time.monotonic() + self._chat_s

        def show(text: str) -> None:
            self._poll()
            if identity in self._cancelled:
                raise _Ended("cancelled")
            if time.monotonic() > deadline:
                raise _Ended("timeout")
            if text:
                on_event([identity, text])

        try:
            show("")
            answer = self._model.chat(
                request["messages"],
                max_tokens=request.get("max_tokens"),
                temperature=float(request.get("temperature") or 0.0),
                top_p=request.get("top_p"),
                stop=request.get("stop") or (),
                seed=request.get("seed"),
                tools=request.get("tools"),
                on_text=show,
            )
        except _Ended as ended:
            self._cancelled.discard(identity)
            on_event([identity, "", str(ended), {"text": "", "usage": {}}])
            return
        usage = {"prompt": answer.prompt_tokens, "completion": answer.completion_tokens}
        on_event([identity, "", answer.finish_reason, {"text": answer.text, "usage": usage}])
