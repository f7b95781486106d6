"""Starts the processes that check the parts of a long file, and reads their answers.

On Linux, in a process of one thread, a worker is a fork: it starts at once, and this process can check a
part as well, since both hash a text alike. Elsewhere a worker is a command, which any application may
start, also one with threads or without a main guard.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from ftsdk.dataset.readers.lines import Stop
from ftsdk.dataset.validation.checked import ARRAY_CODES
from ftsdk.dataset.validation.worker import FRAME, Task, check_task, write_answer
from ftsdk.util.cancellation import check_cancelled

Result = tuple[dict[str, Any], list["array[int]"]]


_OF_THE_SET = 0.1
"""The time that the set takes, of the time that its rows take."""


class GiveUp(Exception):
    """The file cannot be checked in parts."""


class Workers:
    """How the tasks of one file are run. All processes hash a text alike, so that rows can be compared.

    The seed of commands is new for each file, so that nobody can write rows that collide.
    """

    def __init__(self) -> None:
        self._forks = may_fork()
        self._seed = str(secrets.randbelow(2**32))

    def starts(self, count: int) -> list[float]:
        """Where the parts of a file begin, from 0 to 1, so that all processes end at about one time.

        This process has the whole set to compare afterwards, so its part is smaller.
        """
        own = 1 / count
        if self._forks:
            own = max(0.01, (1 - _OF_THE_SET * (count - 1)) / count)
        return [0.0, *(own + (1 - own) * number / (count - 1) for number in range(count - 1))]

    def run(self, tasks: Sequence[Task], on_bytes: Callable[[int], None]) -> list[Result]:
        """The results of the tasks, in their order, all of them run at once. Raises `GiveUp`."""
        if self._forks and not may_fork():
            raise GiveUp
        answers = _Answers(on_bytes)
        listeners: list[threading.Thread] = []
        with contextlib.ExitStack() as stack:
            stack.callback(_join, listeners)  # once the workers are gone
            own, others = (tasks[:1], tasks[1:]) if self._forks else ((), tasks)
            outputs = [stack.enter_context(self._worker(task)) for task in others]
            for number, output in enumerate(outputs, len(own)):
                listeners.append(
                    threading.Thread(
                        target=_listen, args=(number, output, answers.frames.put), daemon=True
                    )
                )
                listeners[-1].start()
            for number, task in enumerate(own):
                answers.results[number] = _result_here(task, answers.report)
            while len(answers.results) < len(tasks):
                answers.take(answers.frames.get())
        return [answers.results[number] for number in range(len(tasks))]

    def _worker(self, task: Task) -> contextlib.AbstractContextManager[IO[bytes]]:
        return _forked(task) if self._forks else _started(task, self._seed)


def may_fork() -> bool:
    """Whether a fork of this process is safe: on Linux, where no other thread can have a lock."""
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1  # threads of C libraries, too
    except OSError:
        return False


def _result_here(task: Task, on_bytes: Callable[[int], None]) -> Result:
    try:
        head, arrays = check_task(task, on_bytes)
    except Stop as stop:  # as a worker would end
        raise GiveUp from stop
    return json.loads(json.dumps(head)), arrays


# --- starting --------------------------------------------------------------------------------


@contextlib.contextmanager
def _forked(task: Task) -> Iterator[IO[bytes]]:
    """The output of a fork of this process, which is gone when the block ends, however it ends."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as output:
        try:
            pid = os.fork()
            if pid == 0:
                _be_worker(task, writing)
        finally:
            os.close(writing)
        try:
            yield output
        finally:
            with contextlib.suppress(ChildProcessError):  # the application waits for all of its own
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)


def _be_worker(task: Task, writing: int) -> NoReturn:
    """Answer the task, and end without anything else that the forked process would do."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        with os.fdopen(writing, "wb") as out:
            write_answer(task, out)
        code = 0
    finally:
        os._exit(code)


@contextlib.contextmanager
def _started(task: Task, seed: str) -> Iterator[IO[bytes]]:
    """The output of a worker's command, which is gone when the block ends, however it ends."""
    root = str(Path(__file__).resolve().parents[3])
    before = os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        "PYTHONHASHSEED": seed,
        "PYTHONPATH": root if not before else f"{root}{os.pathsep}{before}",
    }
    process = subprocess.Popen(
        _worker_command(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    assert process.stdin is not None  # noqa: S101  # both were asked for as pipes
    assert process.stdout is not None  # noqa: S101  # as above
    try:
        with process.stdin as stdin:
            stdin.write(json.dumps(task).encode())
        yield process.stdout
    finally:
        process.kill()  # its result was read, or is not wanted any more
        process.wait()


def _worker_command() -> list[str]:
    return [sys.executable, "-P", "-m", "ftsdk.dataset.validation.worker"]


# --- answers ---------------------------------------------------------------------------------

_Frame = tuple[int, int | Result | None]
"""A worker's number with bytes read, its result, or None when it ended without one."""


class _Answers:
    """What the workers have answered so far."""

    def __init__(self, on_bytes: Callable[[int], None]) -> None:
        self.frames: queue.SimpleQueue[_Frame] = queue.SimpleQueue()
        self.results: dict[int, Result] = {}
        self._on_bytes = on_bytes

    def take(self, frame: _Frame) -> None:
        """Take the next frame of a worker. Raises `GiveUp` when the worker has failed."""
        number, answer = frame
        check_cancelled()
        if answer is None:
            raise GiveUp
        if isinstance(answer, int):
            self._on_bytes(answer)
        else:
            self.results[number] = answer

    def report(self, count: int) -> None:
        """This process has read bytes, too."""
        self._on_bytes(count)
        while not self.frames.empty():
            self.take(self.frames.get())


def _join(listeners: Sequence[threading.Thread]) -> None:
    for listener in listeners:
        listener.join()


def _listen(number: int, stream: IO[bytes], put: Callable[[_Frame], None]) -> None:
    """Pass on the frames of a worker; the last one is its result, or None, whatever happens."""
    last: Result | None = None
    try:
        with stream:
            while len(raw := stream.read(FRAME.size)) == FRAME.size:
                kind, value = FRAME.unpack(raw)
                if kind != b"p":
                    last = _result(stream, int(value))
                    break
                put((number, int(value)))
    finally:
        put((number, last))


def _result(stream: IO[bytes], length: int) -> Result | None:
    head = stream.read(length)
    if len(head) < length:
        return None
    answer: dict[str, Any] = json.loads(head)
    arrays = []
    for code, count in zip(ARRAY_CODES, answer["arrays"], strict=False):
        values = array(code)
        raw = stream.read(count * values.itemsize)
        if len(raw) < count * values.itemsize:
            return None
        values.frombytes(raw)
        arrays.append(values)
    return answer, arrays
