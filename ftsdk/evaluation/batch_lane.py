"""Answers by batches: at half price, sent once each, and continued after any interruption.

Each batch has a record in the folder of the store. It is written before the batch is sent, with the tag
that finds the batch again when the reply was lost, and with the id before the first look at its state.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from ftsdk.backends.base import Backend
from ftsdk.errors import BackendError, FtsdkError, StoreError, UnexpectedResponse
from ftsdk.evaluation.answers import AnswerStore, StoredAnswer
from ftsdk.evaluation.run_money import Booked
from ftsdk.evaluation.wanted import Wanted, WantedAnswers
from ftsdk.types.chat import Batch, BatchState, ChatOutcome
from ftsdk.types.cost import sum_known
from ftsdk.types.model import ModelHandle
from ftsdk.util.clock import Clock
from ftsdk.util.files import atomic_write_bytes, make_private_folder

MOST_REQUESTS = 20_000
"""Requests in one batch. OpenAI takes 50,000 and 200 MB."""
MOST_BYTES = 150_000_000
_FRUITLESS = 2
"""So many batches in a row without a new answer end the sending of batches."""
_CHUNK = 50
_MOST_FAILED_READS = 20
"""After so many reads of an ended batch that fail, what cannot be read is asked again."""
_TOO_MANY = "token_limit_exceeded"


@dataclass(frozen=True)
class BatchRecord:
    """One batch: `sending` before the reply came, `sent` with its id, `ended` once it was read."""

    tag: str
    state: str
    keys: tuple[str, ...]
    sent_at: str
    id: str | None = None
    note: str = ""
    failed_reads: int = 0


class BatchLane:
    """Sends what is wanted of one model in batches. `step` goes on without waiting.

    The first batch has one request: it shows whether this model may be used in batches. `why_not`
    says why no further batch is sent; what is missing then has to be asked otherwise. `errors` has the
    requests that failed, by key; `notes` what the user should know.
    """

    def __init__(
        self,
        backend: Backend,
        handle: ModelHandle,
        store: AnswerStore,
        wanted: WantedAnswers,
        *,
        clock: Clock,
        look_s: float,
        price: Callable[[ChatOutcome], Decimal | None],
        on_spent: Booked,
    ) -> None:
        self._backend, self._handle, self._store = backend, handle, store
        self._wanted = wanted
        self._clock, self._look_s = clock, look_s
        self._price, self._on_spent = price, on_spent
        self._folder = make_private_folder(store.folder / "batches")
        self._records = list(_records_in(self._folder))
        self._most = MOST_REQUESTS
        self._fruitless = 0
        self.why_not = ""
        self.notes: list[str] = []
        self.errors: dict[str, FtsdkError] = {}
        self.state: Batch | None = None

    @property
    def is_open(self) -> bool:
        """Whether a batch is under way, or may be."""
        return any(one.state != "ended" for one in self._records)

    def step(self) -> bool:
        """Read what has ended and send what is next. Returns True when batches have nothing to do."""
        for one in [one for one in self._records if one.state != "ended"]:
            self._advance(one)
        if self.is_open:
            return False
        missing = self._missing()
        if self.why_not or not missing:
            return True
        if self._fruitless >= _FRUITLESS:
            self.why_not = f"{_FRUITLESS} batches in a row had no answer"
            return True
        self._send(missing)
        return False

    def _missing(self) -> list[int]:
        """Return the places of what has no answer yet, without requests that would be refused again."""
        return [
            place
            for place, key in enumerate(self._wanted.keys())
            if key not in self._store and not _is_definite(self.errors.get(key))
        ]

    # --- sending ---

    def _send(self, missing: Sequence[int]) -> None:
        wanted = map(self._wanted.__getitem__, missing)
        count = _within_limits(wanted, self._most if self._is_proven() else 1)
        part = missing[:count]
        record = BatchRecord(
            tag="ftb" + secrets.token_hex(10),
            state="sending",
            keys=tuple(map(self._wanted.key, part)),
            sent_at=self._clock.now().isoformat(),
        )
        self._keep(record)
        try:
            requests = (self._wanted[place].request for place in part)
            batch = self._backend.batch(self._handle, requests, tag=record.tag)
        except FtsdkError as error:
            if error.submitted == "maybe":
                return  # the next step looks for it
            self._keep(dataclasses.replace(record, state="ended", note=error.what))
            if isinstance(error, BackendError) and error.retryable:
                raise
            self.why_not = error.what
            return
        self._keep(dataclasses.replace(record, state="sent", id=batch.id))

    def _is_proven(self) -> bool:
        return any(one.note == "answered" for one in self._records)

    # --- reading ---

    def _advance(self, record: BatchRecord) -> None:
        if record.id is None:
            found = self._backend.find_batches(record.tag)
            if not found:
                self._give_up_looking(record)
                return
            record = dataclasses.replace(record, state="sent", id=found[0].id)
            self._keep(record)
        self.state = batch = self._backend.get_batch(str(record.id))
        if not batch.state.is_final:
            return
        try:
            self._read(record, batch)
        except UnexpectedResponse as error:
            self._keep(dataclasses.replace(record, failed_reads=record.failed_reads + 1))
            if record.failed_reads + 1 < _MOST_FAILED_READS:
                raise
            self._book_what_was_read(record)
            self._keep(dataclasses.replace(record, state="ended", note=error.what))
            self.notes.append(
                f"a part of batch {batch.id} cannot be read and is asked again, though it was paid "
                f"for: {error.what}"
            )

    def _give_up_looking(self, record: BatchRecord) -> None:
        """End a batch that was never made: long after it was sent, the provider does not list it."""
        age = self._clock.now() - dt.datetime.fromisoformat(record.sent_at)
        if age.total_seconds() > self._look_s:
            self._keep(dataclasses.replace(record, state="ended", note="not found"))

    def _read(self, record: BatchRecord, batch: Batch) -> None:
        """Store the answers of an ended batch, then book what it cost."""
        if batch.state is BatchState.FAILED:
            self._failed(record, batch)
            return
        answered = 0
        usd: Decimal | None = Decimal(0)
        for chunk in _in_chunks(self._backend.batch_outcomes(batch.id)):
            stored = [one for one in map(self._stored(batch.id), chunk) if one is not None]
            self._store.add(*stored)
            answered += len(stored)
            usd = sum_known((usd, *(one.usd for one in stored)))
        self._on_spent(usd, answered, f"batch:{batch.id}")
        self._fruitless = 0 if answered else self._fruitless + 1
        if not answered and len(record.keys) == 1:
            self.why_not = self._first_error(record) or f"the batch is {batch.state}"
        note = "answered" if answered else str(batch.state)
        self._keep(dataclasses.replace(record, state="ended", note=note))

    def _book_what_was_read(self, record: BatchRecord) -> None:
        """Book the answers of a batch whose end cannot be read."""
        via = f"batch:{record.id}"
        found = [one for one in map(self._store.get, record.keys) if one is not None]
        costs = [one.usd for one in found if one.via == via]
        self._on_spent(sum_known(costs), len(costs), via)

    def _stored(self, batch_id: str) -> Callable[[ChatOutcome], StoredAnswer | None]:
        def convert(outcome: ChatOutcome) -> StoredAnswer | None:
            if outcome.answer is None:
                if outcome.error is not None:
                    self.errors[outcome.id] = outcome.error
                return None
            self.errors.pop(outcome.id, None)
            wanted = self._wanted.find(outcome.id)
            return StoredAnswer(
                key=outcome.id,
                case="" if wanted is None else wanted.case.id,
                repeat=0 if wanted is None else wanted.repeat,
                at=self._clock.now(),
                via=f"batch:{batch_id}",
                attempts=outcome.attempts,
                usd=self._price(outcome),
                answer=outcome.answer,
            )

        return convert

    def _failed(self, record: BatchRecord, batch: Batch) -> None:
        why = "; ".join(batch.errors) or "no reason was given"
        if _TOO_MANY in why and len(record.keys) > 1:
            self._most = max(1, len(record.keys) // 2)
        else:
            self.why_not = f"the provider refuses the batch: {why}"
        self._keep(dataclasses.replace(record, state="ended", note=why))

    def _first_error(self, record: BatchRecord) -> str:
        found = self.errors.get(record.keys[0])
        return "" if found is None else found.what

    def _keep(self, record: BatchRecord) -> None:
        data = orjson.dumps(dataclasses.asdict(record))
        atomic_write_bytes(self._folder / f"{record.tag}.json", data + b"\n")
        self._records = [*(one for one in self._records if one.tag != record.tag), record]


def _in_chunks(outcomes: Iterator[ChatOutcome]) -> Iterator[list[ChatOutcome]]:
    """Yield the outcomes a few at a time; those that came before an error are yielded before it."""
    chunk: list[ChatOutcome] = []
    try:
        for one in outcomes:
            chunk.append(one)
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
    except FtsdkError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def _records_in(folder: Path) -> Iterator[BatchRecord]:
    for path in sorted(folder.glob("*.json")):
        try:
            found: Mapping[str, Any] = orjson.loads(path.read_bytes())
            yield BatchRecord(**{**found, "keys": tuple(found["keys"])})
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(
                "The record of a batch cannot be read",
                where=str(path),
                hint="restore it from a copy: without it, a batch may be sent and paid again",
            ) from error


def _within_limits(missing: Iterable[Wanted], most: int) -> int:
    """Return how many of the first requests fit into one batch; at least one."""
    size = count = 0
    for one in missing:
        size += len(orjson.dumps([dict(m) for m in one.request.messages])) + 1_000
        if count and (count >= most or size > MOST_BYTES):
            break
        count += 1
    return count


def _is_definite(error: FtsdkError | None) -> bool:
    """Whether the same request would be refused again."""
    return error is not None and not (isinstance(error, BackendError) and error.retryable)
