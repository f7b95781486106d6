"""Both answers to a request: the caller gets one, and the other is asked for and written down later.

The other model is asked after the first answer has been sent, so it delays nothing and can fail nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import anyio
from starlette.background import BackgroundTask

from ftsdk.errors import FtsdkError
from ftsdk.serve.answer_log import AnswerLog
from ftsdk.serve.chat_choice import Choice
from ftsdk.serve.problems import Problem
from ftsdk.serve.state import ServerState
from ftsdk.types.answer import ChatAnswer

_log = logging.getLogger("ftsdk")
_MOST_WAITING = 64
"""Requests whose other answers are still to come; further ones are written without them."""


class Comparison:
    """One request, of which all answers are kept where that is asked for and there are several."""

    def __init__(
        self, state: ServerState, choice: Choice, model: str, messages: list[dict[str, Any]],
        options: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self._state, self._choice, self._begun = state, choice, state.clock.monotonic()
        self._request: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "options": dict(options),
        }
        self._record: dict[str, Any] | None = None

    def answered(self, identity: str, answer: ChatAnswer) -> None:
        """Note the answer that the caller gets."""
        if self._state.answer_log is None or not self._choice.others:
            return
        seconds = self._state.clock.monotonic() - self._begun
        first = _answer(self._choice.job.id, answer, seconds, sent=True)
        self._record = {
            "time": self._state.clock.now().isoformat(),
            "id": identity,
            **self._request,
            "answers": [first],
        }

    def task(self) -> BackgroundTask:
        """What is to be done after the answer has been sent."""
        return BackgroundTask(self.finish)

    async def finish(self) -> None:
        """Ask the others and write; nothing where the caller got no answer."""
        log, record = self._state.answer_log, self._record
        if log is None or record is None:
            return
        if self._state.comparing < _MOST_WAITING:
            self._state.comparing += 1
            try:
                async with self._state.comparisons:
                    record["answers"] += [await self._ask(one) for one in self._choice.others]
            finally:
                self._state.comparing -= 1
        else:
            record["skipped"] = list(self._choice.others)
        await anyio.to_thread.run_sync(_write, log, record)

    async def _ask(self, name: str) -> dict[str, Any]:
        begun = self._state.clock.monotonic()
        try:
            job = await self._state.job_of_model(name)
            model = await job.result()
            answer = await model.chat(self._request["messages"], **self._request["options"])
        except (FtsdkError, Problem) as error:
            what = error.message if isinstance(error, Problem) else error.what
            return {"job": name, "sent": False, "error": {"code": error.code, "what": what}}
        return _answer(job.id, answer, self._state.clock.monotonic() - begun, sent=False)


def _write(log: AnswerLog, record: Mapping[str, Any]) -> None:
    try:
        log.write(record)
    except OSError as error:
        _log.error("the answers of %s are not in %s: %s", record["id"], log.path, error.strerror)


def _answer(job_id: str, answer: ChatAnswer, seconds: float, *, sent: bool) -> dict[str, Any]:
    return {
        "job": job_id,
        "sent": sent,
        "message": dict(answer.message),
        "finish_reason": answer.finish_reason,
        "usage": dict(answer.usage),
        "seconds": round(seconds, 3),
    }
