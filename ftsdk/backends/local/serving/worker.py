"""A worker as the application sees it: a child process, and the chats that it is answering."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import ftsdk.errors
from ftsdk.backends.local.runs.environment import available_threads, trainer_environment
from ftsdk.backends.local.runs.launch import keep_package_importable
from ftsdk.backends.local.serving.frames import BrokenFrame, read_frame, write_frame
from ftsdk.backends.resident import ResidentLimits
from ftsdk.errors import FtsdkError, RateLimited, Unavailable
from ftsdk.types.model import ChatAnswer

_MODULE = "ftsdk.backends.local.serving.process"
_RETRY_AFTER_S = 2.0
_LOG_TAIL = 4096
_END_S = 10.0
_Event = list[Any]


class NeedsOwnWorker(Exception):
    """The adapter of a result cannot be answered beside others; its text says why."""


class Worker:
    """A process with one model. Its methods may be called from many threads at once."""

    def __init__(
        self,
        folder: Path,
        limits: ResidentLimits,
        *,
        shared: bool,
        command: tuple[str, ...] | None = None,
    ) -> None:
        self.folder, self.limits = folder, limits
        self.one_by_one: str | None = None
        self._numbers = itertools.count(1)
        self._chats: dict[int, queue.SimpleQueue[_Event | FtsdkError]] = {}
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._loaded = threading.Event()
        self._failure: FtsdkError | None = None
        self._ended = False
        self._log: IO[bytes] = tempfile.TemporaryFile(prefix="ftsdk-worker-")  # noqa: SIM115  # closed by `close`
        environment = trainer_environment(os.environ, available_threads())
        keep_package_importable(environment)
        self._process = subprocess.Popen(
            command or (sys.executable, "-P", "-m", _MODULE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, name="ftsdk-worker", daemon=True)
        self._reader.start()
        self._send({"folder": str(folder), "shared": shared, "limits": asdict(limits)})

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def chats(self) -> int:
        """How many chats it is answering, or will."""
        return len(self._chats)

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return not self._ended

    def wait_ready(self) -> None:
        """Wait until the model is loaded. Raises the error of loading it, also at each later call."""
        if not self._loaded.wait(self.limits.start_s):
            self.close()
            raise Unavailable(
                f"The model was not loaded within {self.limits.start_s:.0f} seconds",
                where=str(self.folder),
                hint="free some memory, and ask again",
            )
        if self._failure is not None:
            raise self._failure

    def chat(
        self, request: Mapping[str, Any], on_text: Callable[[str], object] | None = None
    ) -> ChatAnswer:
        """Answer one chat; `on_text` gets each piece, and ends the chat by an exception.

        Raises `RateLimited` where too many wait, `Unavailable` where the process ended or the chat
        took too long, `NeedsOwnWorker`, and the errors of the chat itself.
        """
        self.wait_ready()
        events: queue.SimpleQueue[_Event | FtsdkError] = queue.SimpleQueue()
        with self._lock:
            if self._ended:
                raise self._gone()
            if len(self._chats) >= self.limits.rows + self.limits.waiting:
                raise RateLimited(
                    "Too many chats wait for this model",
                    where=str(self.folder),
                    hint="ask again in a moment",
                    retry_after=_RETRY_AFTER_S,
                )
            identity = next(self._numbers)
            self._chats[identity] = events
        try:
            self._send({**request, "id": identity})
            return self._answer(identity, events, on_text)
        except BaseException:
            if identity in self._chats and not self._ended:
                self._send({"cancel": identity})
            raise
        finally:
            self._chats.pop(identity, None)

    def _answer(
        self,
        identity: int,
        events: queue.SimpleQueue[_Event | FtsdkError],
        on_text: Callable[[str], object] | None,
    ) -> ChatAnswer:
        while True:
            event = events.get()
            if isinstance(event, FtsdkError):
                raise event
            _, text, *end = event
            if end:
                self._chats.pop(identity, None)  # there is nothing to cancel any more
            if text and on_text is not None:
                on_text(text)
            if end:
                return _answer_of(end[0], end[1], self.limits)

    # --- the process ---

    def _send(self, message: Mapping[str, Any]) -> None:
        stream = self._process.stdin
        try:
            with self._writing:
                if stream is None or stream.closed:
                    raise self._gone()
                write_frame(stream, message)
        except OSError:
            self._reader.join(_END_S)
            raise self._gone() from None

    def _read(self) -> None:
        """Pass each event on to its chat, until the process ends."""
        stream = self._process.stdout
        try:
            while stream is not None and (message := read_frame(stream)) is not None:
                self._take(message)
        except (BrokenFrame, OSError, ValueError) as error:
            self._process.kill()
            self._log.write(f"\nthe worker sent {error}\n".encode())
        self._process.wait()
        with self._lock:
            self._ended = True
            gone = self._gone()
            for events in list(self._chats.values()):
                events.put(gone)
        if not self._loaded.is_set():
            self._failure = gone
            self._loaded.set()

    def _take(self, message: Mapping[str, Any]) -> None:
        if "ready" in message:
            self.one_by_one = message.get("one_by_one")
            self._loaded.set()
        elif "failed" in message:
            self._failure = error_of(message["failed"])
            self._loaded.set()
        for event in message.get("events", ()):
            events = self._chats.get(event[0])
            if events is not None:
                events.put(event)

    def _gone(self) -> Unavailable:
        status = self._process.poll()
        return Unavailable(
            f"The process of the local model ended (status {status}): {self._last_line()}",
            where=str(self.folder),
            hint="ask again: the model is loaded again; if it stays so, free some memory",
            retryable=True,
        )

    def _last_line(self) -> str:
        if self._log.closed:
            return "it was closed"
        size = os.fstat(self._log.fileno()).st_size
        text = os.pread(self._log.fileno(), _LOG_TAIL, max(0, size - _LOG_TAIL))
        lines = [line for line in text.decode(errors="replace").split("\n") if line.strip()]
        return lines[-1][:300] if lines else "it reported nothing"

    def close(self) -> None:
        """End the process; chats that it was answering raise `Unavailable`."""
        with self._writing:
            if self._process.stdin is not None and not self._process.stdin.closed:
                with contextlib.suppress(OSError):  # it is gone already
                    self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if threading.current_thread() is not self._reader:
            self._reader.join(_END_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()


def error_of(document: Mapping[str, Any]) -> FtsdkError:
    """The error that a worker sent."""
    found = getattr(ftsdk.errors, str(document.get("kind")), None)
    kind = found if isinstance(found, type) and issubclass(found, FtsdkError) else FtsdkError
    return kind(
        str(document.get("what")),
        where=str(document.get("where", "")),
        hint=str(document.get("hint", "")),
    )


def _answer_of(reason: str, found: Mapping[str, Any], limits: ResidentLimits) -> ChatAnswer:
    """The answer at the end of a chat. Raises what the chat ended with."""
    if reason == "not_batchable":
        raise NeedsOwnWorker(str(found["what"]))
    if reason == "error":
        raise error_of(found)
    if reason not in ("stop", "length"):
        raise Unavailable(
            f"The answer took longer than {limits.chat_s:.0f} seconds",
            hint="lower max_tokens, or ask when fewer chats run",
        )
    usage = found["usage"]
    return ChatAnswer(
        text=found["text"],
        message={"role": "assistant", "content": found["text"]},
        usage={
            "prompt_tokens": usage["prompt"],
            "completion_tokens": usage["completion"],
            "total_tokens": usage["prompt"] + usage["completion"],
        },
        finish_reason=reason,
    )
