"""Ask the training stack many questions in one process, which loads torch once."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from ftsdk.backends.local.runs.ask_stack import NoAnswer, last_line
from ftsdk.backends.local.runs.environment import trainer_environment
from ftsdk.backends.local.runs.launch import keep_package_importable

EACH = "--each"
"""The argument after which a program reads questions from its input, and writes answers to its output."""
_TIMEOUT_S = 300.0


def ask_many(
    program: str, asked: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any] | NoAnswer]:
    """Yield the answer to each question, in order, when `python -m PROGRAM --each` has found it.

    Where the process ends or takes too long, that question has no answer, and another process goes on
    with the next.
    """
    done = 0
    while done < len(asked):
        for answer in _asked_of_one(program, asked[done:]):
            done += 1
            yield answer


def _asked_of_one(
    program: str, asked: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any] | NoAnswer]:
    """Yield the answers of one process up to the first that it does not give."""
    environment = trainer_environment(os.environ, 1)  # without keys, and without the hub
    keep_package_importable(environment)
    command = [sys.executable, "-P", "-m", program, EACH]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        with process:
            try:
                for answer in _answers(process, asked):
                    if answer is None:
                        yield NoAnswer(f"exit code {process.wait()}: {_last_of(errors)}")
                        return
                    yield answer
            except queue.Empty:
                yield NoAnswer(f"building it without weights took over {_TIMEOUT_S:.0f} s")
            finally:
                process.kill()


def _answers(
    process: subprocess.Popen[bytes], asked: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any] | None]:
    """Yield each answer; None where the process has ended. Raises `queue.Empty` where it takes too long."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process was started without pipes")
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    for question in asked:
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            yield None
            return
        line = lines.get(timeout=_TIMEOUT_S)
        yield json.loads(line) if line.endswith(b"\n") else None


def _read(output: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    for line in output:
        lines.put(line)
    lines.put(b"")


def _last_of(errors: IO[bytes]) -> str:
    errors.seek(0)
    return last_line(errors.read().decode("utf-8", "replace"))
