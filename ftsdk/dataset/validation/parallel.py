"""A long file judged by a process for each processor, with the very report that one would give.

The file is cut at line ends, a worker judges each part (`worker`), and what they found is joined in
the file's order. Whatever is unusual (a worker that fails, a file that changes, a row without end)
gives up, and the caller reads the file by itself from the start: one way to judge, two to read.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import secrets
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ftsdk.dataset.findings.report import Fault
from ftsdk.dataset.reader import RowReader
from ftsdk.dataset.readers.lines import CHUNK
from ftsdk.dataset.readers.source import Source, open_regular
from ftsdk.dataset.validation.worker import FRAME, arrays_of

if TYPE_CHECKING:
    from ftsdk.dataset.validation.checker import Run

__all__ = ["MIN_BYTES", "Forwards", "is_long", "read_in_parts"]

MIN_BYTES = 24 << 20
"""Below it, starting processes costs more than they save."""

_PART_BYTES = 8 << 20
_MOST_WORKERS = 8
_FIRST_ROWS = 100
_SAMPLE_BYTES = 256 << 10


class _GiveUp(Exception):
    """The file cannot be judged in parts."""


class Forwards:
    """Tells how many bytes were read, and never goes back: what is read again is not told again."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self._read = self._told = 0

    def __call__(self, count: int) -> None:
        """So many more bytes were read."""
        self._read += count
        if self._read > self._told:
            self._tell(self._read - self._told)
            self._told = self._read

    def again(self, count: int) -> None:
        """The last `count` bytes are read anew."""
        self._read -= count

    def from_start(self) -> None:
        """Reading begins anew."""
        self._read = 0


def is_long(source: Source) -> bool:
    """Whether a file may be judged in parts: JSON lines, and enough of them."""
    size = source.size_bytes or 0
    return source.container == "jsonl" and source.path is not None and size >= MIN_BYTES


def read_in_parts(run: Run, counter: dict[str, Any] | None, on_bytes: Forwards | None) -> bool:
    """Judge the run's file by workers into `run`; False (and `run` untouched) when it cannot be.

    `counter` has the arguments of `counter_for` that each worker makes its own counter with.
    """
    source = run.opened.source
    size = source.size_bytes or 0
    if source.path is None or not is_long(source):
        return False
    count = min(_processors(), _MOST_WORKERS, size // _PART_BYTES)
    if count < 2 or not sys.executable:
        return False
    try:
        if _repeats_itself(source.path, size):
            return False
        form = _format(run)
        tasks = [
            {
                "path": str(source.path.absolute()), "name": source.name, "stamp": source.stamp,
                "start": start, "end": end, "format": form, "forced": run.opened.format,
                "max_row_bytes": run.opened.max_row_bytes, "provider": run.provider,
                "limits": None if run.limits is None else run.limits.to_dict(),
                "model": run.model, "method": run.method, "max_length": run.max_length,
                "counter": counter, "tokenizer": run.tokenizer and str(run.tokenizer),
            }
            for start, end in _parts(source.path, size, count, run.opened.max_row_bytes)
        ]  # fmt: skip
        results = _judged(tasks, on_bytes or Forwards(lambda _: None))
    except (_GiveUp, OSError, ValueError):
        if on_bytes is not None:
            on_bytes.from_start()
        return False
    base = 0
    for head, arrays in results:
        _join(run, head, arrays, base)
        base += head["lines"]
    run.format = results[-1][0]["format"]
    return True


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _repeats_itself(path: Path, size: int) -> bool:
    """Whether rows of the middle stand at the start as well.

    A row that was seen before is not judged again; two processes would both judge it once.
    """
    with open_regular(path) as handle:
        known = {hash(row) for row in handle.read(_PART_BYTES).split(b"\n")}
        handle.seek(size // 2)
        rows = handle.read(_SAMPLE_BYTES).split(b"\n")[1:-1]
    return sum(hash(row) in known for row in rows) > len(rows) / 2


def _format(run: Run) -> str:
    """The format that the first rows give the file."""
    opened = run.opened
    reader = RowReader(opened.source, format=opened.format, max_row_bytes=opened.max_row_bytes)
    for count, _ in enumerate(reader):
        if reader.format is not None:
            return reader.format
        if count >= _FIRST_ROWS:
            break
    raise _GiveUp


def _parts(path: Path, size: int, count: int, max_row_bytes: int) -> list[tuple[int, int]]:
    """About equal parts of a file, each ending behind a line feed."""
    borders = [0]
    with open_regular(path) as handle:
        for number in range(1, count):
            at = handle.seek(max(borders[-1], size * number // count))
            while chunk := handle.read(CHUNK):
                found = chunk.find(b"\n")
                if found >= 0:
                    borders.append(at + found + 1)
                    break
                at += len(chunk)
                if at - borders[-1] > size // count + max_row_bytes:
                    raise _GiveUp  # a row without end
    borders.append(size)
    return [(a, b) for a, b in itertools.pairwise(borders) if a < b]


# --- the workers -----------------------------------------------------------------------------

_Result = tuple[dict[str, Any], list["array[int]"]]
_Frame = tuple[int, int | _Result | None]
"""A worker's number with bytes read, its result, or None when it ended without one."""


def _judged(tasks: list[dict[str, Any]], tell: Forwards) -> list[_Result]:
    """What the workers found, each part read in the format that the rows before it gave.

    Rows of Claude's look like plain chat until one has a system prompt: when that comes in a later
    part than the first rows, the parts behind it are judged again.
    """
    results = _work(tasks, tell)
    for number in range(1, len(tasks)):
        before, later = results[number - 1][0]["format"], tasks[number:]
        if before != tasks[number]["format"]:
            tell.again(sum(task["end"] - task["start"] for task in later))
            results[number:] = _work([{**task, "format": before} for task in later], tell)
            break  # a format changes once
    return results


def _work(tasks: list[dict[str, Any]], tell: Callable[[int], None]) -> list[_Result]:
    """Run a worker for each task at once; their results in the order of the tasks."""
    frames: queue.SimpleQueue[_Frame] = queue.SimpleQueue()
    results: dict[int, _Result] = {}
    with contextlib.ExitStack() as stack:
        # One seed for all, so that they hash a text alike; new each time, so that nobody can
        # write rows that collide.
        seed = str(secrets.randbelow(2**32))
        for number, task in enumerate(tasks):
            process = stack.enter_context(_worker(seed))
            assert process.stdin is not None  # noqa: S101  # both were asked for as pipes
            assert process.stdout is not None  # noqa: S101  # as above
            process.stdin.write(json.dumps(task).encode())
            process.stdin.close()
            reader = threading.Thread(
                target=_listen, args=(number, process.stdout, frames.put), daemon=True
            )
            reader.start()
        while len(results) < len(tasks):
            number, told = frames.get()
            if told is None:
                raise _GiveUp
            if isinstance(told, int):
                tell(told)
            else:
                results[number] = told
    return [results[number] for number in range(len(tasks))]


@contextlib.contextmanager
def _worker(seed: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, which is gone when the block ends, however it ends."""
    root = str(Path(__file__).resolve().parents[3])
    before = os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        "PYTHONHASHSEED": seed,
        "PYTHONPATH": root if not before else f"{root}{os.pathsep}{before}",
    }
    process = subprocess.Popen(
        _worker_words(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()  # it has told all that it had to, or nobody wants to know
        process.wait()


def _worker_words() -> list[str]:
    return [sys.executable, "-P", "-m", "ftsdk.dataset.validation.worker"]


def _listen(number: int, stream: IO[bytes], put: Callable[[_Frame], None]) -> None:
    """Pass on what a worker writes; the last word is its result, or None, whatever happens."""
    last: _Result | None = None
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


def _result(stream: IO[bytes], length: int) -> _Result | None:
    head = stream.read(length)
    if len(head) < length:
        return None
    told: dict[str, Any] = json.loads(head)
    arrays = []
    for code, count in zip(_CODES, told["arrays"], strict=False):
        values = array(code)
        raw = stream.read(count * values.itemsize)
        if len(raw) < count * values.itemsize:
            return None
        values.frombytes(raw)
        arrays.append(values)
    return told, arrays


_CODES = "qqIIIIII"  # of the arrays that `arrays_of` lists


# --- joining ---------------------------------------------------------------------------------


def _join(run: Run, head: dict[str, Any], arrays: list[array[int]], base: int) -> None:
    """Add what one part told; its lines count from `base`."""
    run.rows += head["rows"]
    run.records += head["rows"]
    run.image_rows += head["image_rows"]
    run.found.join((_fault(one, base) for one in head["kept"]), head["counts"], head["row_counts"])
    run.tallies.texts += head["texts"]
    run.tallies.scripts.update(head["scripts"])
    for script, lines in head["script_lines"].items():
        known = run.tallies.script_lines.setdefault(script, [])
        known.extend([line + base for line in lines[: 20 - len(known)]])
    for whole, part in zip(arrays_of(run), arrays, strict=True):
        is_lines = whole is run.repeats.lines or (run.counting and whole is run.counting.lines)
        whole.extend(array(part.typecode, [n + base for n in part]) if is_lines and base else part)
    run.repeats.trim()
    if run.counting is not None:
        run.counting.refused.extend(_fault(one, base) for one in head["refused"])
        run.counting.trained += head["trained"]
        if not head["exact"]:
            run.counting.counter.exact = False


def _fault(told: dict[str, Any], base: int) -> Fault:
    line = told["line"] + base if told["line"] else 0
    return Fault(**{**told, "line": line, "lines": tuple(n + base for n in told["lines"])})
