"""The store of answers: every answer that was paid for, durable before the next one is asked.

A store is a folder of one source: provider, account, address, model, revision and chat template.
`answers.jsonl` is only ever appended to, one line for each answer, so that a killed process loses
nothing that it has received. An answer's key is the hash of its source, its whole request and the index
of its repeat: no other request, model or account can be given it. Only answers are kept; an error is
asked again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from ftsdk.errors import StoreError
from ftsdk.types.chat import ChatRequest
from ftsdk.types.model import ChatAnswer
from ftsdk.types.record import Record
from ftsdk.util.clock import Clock
from ftsdk.util.files import atomic_write_json, fsync_folder, make_private_folder
from ftsdk.util.locks import file_lock
from ftsdk.util.opened import Opened

_LOG, _SOURCE, _LOCK = "answers.jsonl", "source.json", ".lock"
_ASKING = "asking"
_MOST_BYTES = 1 << 32
"""More than a line has."""


class StoredAnswer(Record):
    """One answer with what it was the answer to, when it came, and what it cost.

    `key` is its identity, `case` the id of the case, `repeat` the index of the repeat. `via` is
    `chat`, or how else it came: `batch:ID`, `stored:ID`, `bundle`. `usd` is None where the price is
    not known.
    """

    key: str
    case: str
    repeat: int = 0
    at: dt.datetime
    via: str = "chat"
    attempts: int = 1
    usd: Decimal | None = None
    answer: ChatAnswer


@dataclass(frozen=True)
class Source:
    """Which model answers, where, and for whom. Each part is in the key of every answer."""

    provider: str
    model: str
    account: str | None = None
    base_url: str | None = None
    revision: str | None = None
    template: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        """Return the parts by name."""
        return dict(vars(self))

    @property
    def digest(self) -> str:
        """A hash of all parts; it names the folder of the store."""
        return _hash(self.to_dict())


def key_of(source: Source, request: ChatRequest, repeat: int) -> str:
    """Return the key of an answer: 64 hexadecimal digits. The request's `id` has no part in it."""
    return _hash(
        {
            "source": source.to_dict(),
            "messages": [dict(one) for one in request.messages],
            "options": dict(request.options),
            "repeat": repeat,
        }
    )


def _hash(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


class AnswerStore(Opened):
    """The answers of one source. Use it as a context manager, which locks it.

    Answers stay in the file; memory holds a few words for each.
    """

    def __init__(
        self,
        home: Path,
        source: Source,
        *,
        clock: Clock,
        on_wait: Callable[[], None] | None = None,
    ) -> None:
        self.folder = home / "answers" / f"{source.provider}-{source.digest[:24]}"
        self.files = self.folder / "files"
        """The training files of the model, where they had to be fetched; they go with the store."""
        self.source = source
        self._clock = clock
        self._on_wait = on_wait
        super().__init__()
        self._places: dict[str, int] = {}
        self._asking: dict[str, bool] = {}
        self._lock = threading.Lock()
        self._fd = -1
        self.spent = Decimal(0)
        """What the answers in the store have cost, in US dollars, as far as it is known."""

    def _still_waiting(self) -> bool:
        if self._on_wait is not None:
            self._on_wait()
        return True

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._fd = -1

    def _open(self) -> None:
        """Lock the store, waiting for another process that has it, and read what it holds."""
        make_private_folder(self.folder)
        self.folder.chmod(0o700)
        lock = file_lock(
            self.folder / _LOCK, poll_s=0.5, on_wait=self._still_waiting, clock=self._clock
        )
        self._stack.enter_context(lock)
        if not (self.folder / _SOURCE).exists():
            atomic_write_json(self.folder / _SOURCE, self.source.to_dict())
        path = self.folder / _LOG
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._stack.callback(os.close, self._fd)
        fsync_folder(self.folder)
        whole = 0
        with path.open("rb") as handle:
            for number, line in enumerate(handle, 1):
                if not line.endswith(b"\n"):
                    break  # the process was killed while it wrote this line
                self._index(line, whole, number)
                whole += len(line)
        os.ftruncate(self._fd, whole)

    def _index(self, line: bytes, offset: int, number: int) -> None:
        try:
            found = orjson.loads(line)
            if _ASKING in found:
                self._asking[found[_ASKING]] = bool(found.get("kept"))
                return
            key, usd = str(found["key"]), found["usd"]
            self.spent += Decimal(0 if usd is None else usd)
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise StoreError(
                "A stored answer cannot be read",
                where=f"{self.folder / _LOG}, line {number}",
                hint="restore the file from a copy; without this line, its answer would be "
                "asked and paid again",
            ) from error
        self._places[key] = _place(offset, len(line))
        self._asking.pop(key, None)

    # --- reading ---

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> StoredAnswer | None:
        """Return the answer with this key, if the store has it."""
        place = self._places.get(key)
        if place is None:
            return None
        offset, size = divmod(place, _MOST_BYTES)
        return StoredAnswer.model_validate_json(os.pread(self._fd, size, offset))

    def under_way(self) -> Mapping[str, bool]:
        """Return the keys that were being asked when an earlier process ended.

        Their answers may have been paid for, and did not arrive. True where the provider was asked
        to keep the answer.
        """
        return dict(self._asking)

    # --- writing ---

    def asking(self, key: str, *, kept: bool = False) -> None:
        """Note that the answer with this key is asked for now. It need not survive a power cut.

        `kept` says that the provider is asked to keep the answer.
        """
        with self._lock:
            self._append(orjson.dumps({_ASKING: key, "kept": kept}) + b"\n")
            self._asking[key] = kept

    def add(self, *answers: StoredAnswer) -> int:
        """Write answers, which are durable when this returns. Returns how many were not there yet."""
        with self._lock:
            new = {one.key: one for one in answers if one.key not in self._places}
            lines = {key: _line(one) for key, one in new.items()}
            start = self._append(b"".join(lines.values()))
            if new:
                os.fsync(self._fd)
            for key, line in lines.items():
                self._places[key] = _place(start, len(line))
                self._asking.pop(key, None)
                self.spent += new[key].usd or 0
                start += len(line)
            return len(new)

    def _append(self, lines: bytes) -> int:
        """Write at the end of the file; return where. A line is written whole or not at all."""
        start = os.lseek(self._fd, 0, os.SEEK_END)
        try:
            left = memoryview(lines)
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            os.ftruncate(self._fd, start)
            raise StoreError(
                f"An answer cannot be stored: {error.strerror or error}",
                where=str(self.folder / _LOG),
                hint="free some space and run the same command again; the answers before it are kept",
            ) from error
        return start


def _place(offset: int, size: int) -> int:
    """Return where a line is as one number, which is smaller in memory than two."""
    return offset * _MOST_BYTES + size


def _line(answer: StoredAnswer) -> bytes:
    """Return an answer as a line. A half of a surrogate pair, which is no text, becomes `?`."""
    return orjson.dumps(_storable(answer.model_dump(mode="python"))) + b"\n"


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_storable(str(name)): _storable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(one) for one in value]
    return str(value) if isinstance(value, Decimal) else value


class HoldsStores(Opened):
    """A context manager that keeps stores locked while it is open: `_open` locks them by `_lock`."""

    def _lock(self, stores: Iterable[AnswerStore]) -> None:
        """Lock the stores, always in the same order: so no two processes wait for each other."""
        for store in sorted(stores, key=lambda one: one.source.digest):
            self._stack.enter_context(store)


def stores_in(home: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the folder of each store of answers with its source."""
    for path in sorted((home / "answers").glob(f"*/{_SOURCE}")):
        try:
            source = orjson.loads(path.read_bytes())
        except ValueError:
            source = None
        yield path.parent, source if isinstance(source, dict) else {}
