"""Ask many requests at once, within the provider's rate limits.

Threads ask; the caller's thread reads the requests and yields the outcomes. It reads a request only
when a thread will soon need it, and no more than twice `concurrency` are between reading and
yielding, so memory does not grow with the number of requests.

How many are under way follows from what comes back: more with each answer, half as many when the
provider refuses or does not reply. When each is sent is planned by `pacer`, and what is sent again by
`chat_retry`.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ftsdk.backends.chat_outcomes import Ask, OnOutcome, is_for_all, require_concurrency
from ftsdk.backends.hosted.chat_retry import Attempts
from ftsdk.backends.hosted.pacer import Pacer, Turn
from ftsdk.backends.hosted.rate_limits import RateLimits, listening
from ftsdk.errors import FtsdkError, RateLimited, Unavailable, UsageError
from ftsdk.types.chat import ChatOutcome, ChatRequest
from ftsdk.types.model import ChatAnswer
from ftsdk.util.clock import Clock

_AHEAD = 2
"""So many times `concurrency` are read and not yet yielded, at most."""
_SLICE_S = 0.2
"""A wait is cut into such parts, so that it ends soon when the run ends."""
_FIRST = 2.0
"""So many requests are under way at first; the rest start when one is answered."""
_OUTAGE = 20
"""After so many failures of the service in a row, without an answer, the run ends."""
_DEFAULT_ANSWER_TOKENS = 256


def chat_many(
    ask: Ask,
    requests: Iterable[ChatRequest],
    *,
    concurrency: int,
    on_outcome: OnOutcome | None,
    clock: Clock,
    pacer: Pacer | None = None,
) -> Iterator[ChatOutcome]:
    """Yield the outcome of each request as it comes; see `Backend.chat_many`.

    `ask` makes one attempt and is called in several threads. Nothing starts before the first
    outcome is requested. When the iteration ends early, requests under way are finished.
    """
    require_concurrency(concurrency)
    return _Run(ask, on_outcome, concurrency, clock, pacer or Pacer(clock)).outcomes(iter(requests))


class _Run:
    """One call of `chat_many`."""

    def __init__(
        self, ask: Ask, on_outcome: OnOutcome | None, concurrency: int, clock: Clock, pacer: Pacer
    ) -> None:
        self._ask, self._on_outcome = ask, on_outcome
        self._concurrency, self._clock, self._pacer = concurrency, clock, pacer
        self._window = _Window(concurrency)
        self._waiting: queue.SimpleQueue[ChatRequest | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[ChatOutcome | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._fault: BaseException | None = None
        self._fault_lock = threading.Lock()
        self._failures = 0
        self._pid = os.getpid()

    # --- in the caller's thread ---

    def outcomes(self, requests: Iterator[ChatRequest]) -> Iterator[ChatOutcome]:
        """Yield the outcomes. Raises the first error that every request would get, at the end."""
        unfinished, more = 0, True
        try:
            while True:
                while more and not self._stopping.is_set() and unfinished < self._most:
                    more = self._start_next(requests)
                    unfinished += more
                if not unfinished:
                    break
                found = self._done.get()
                unfinished -= 1
                if found is not None:
                    yield found
                    self._require_same_process()
        finally:
            self._finish()
        if self._fault is not None:
            raise self._fault

    @property
    def _most(self) -> int:
        return _AHEAD * self._concurrency

    def _start_next(self, requests: Iterator[ChatRequest]) -> bool:
        """Read the next request and pass it to a thread; returns False when there is none."""
        try:
            request = next(requests, None)
        except Exception as error:  # noqa: BLE001  # raised when what is under way has ended
            self._stop(error)
            return False
        if request is None:
            return False
        self._start(request)
        return True

    def _start(self, request: ChatRequest) -> None:
        self._waiting.put(request)
        if len(self._threads) < self._concurrency:
            context = contextvars.copy_context()
            thread = threading.Thread(
                target=context.run, args=(self._work,), name="ftsdk-chat", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads: those that run do the work
                if not self._threads:
                    raise
            else:
                self._threads.append(thread)

    def _finish(self) -> None:
        """Start nothing more, and wait for what is under way."""
        if self._pid != os.getpid():
            return  # the threads are in the process that was forked
        self._stop()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _require_same_process(self) -> None:
        if self._pid != os.getpid():
            raise UsageError(
                "This process was forked while chat_many was running, which goes on in the other",
                where="chat_many",
                hint="call it in the process that iterates",
            )

    # --- in the threads ---

    def _stop(self, fault: BaseException | None = None) -> None:
        """Start no more requests; the first fault is raised at the end."""
        with self._fault_lock:
            self._fault = self._fault or fault
        self._stopping.set()
        self._window.wake()

    def _work(self) -> None:
        while (request := self._waiting.get()) is not None:
            outcome = None
            try:
                outcome = self._outcome(request)
                if outcome is not None and self._on_outcome is not None:
                    self._on_outcome(outcome)
            except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
                self._stop(error)
            self._done.put(outcome)

    def _outcome(self, request: ChatRequest) -> ChatOutcome | None:
        """Ask until there is an answer or an error that stays; None where the run ends before."""
        attempts, tokens = Attempts(), _tokens(request)
        failed: FtsdkError | None = None
        while True:
            turn = self._turn(tokens)
            if turn is None:
                return self._given_up(request, attempts, failed)
            attempts.begin(self._clock.monotonic())
            try:
                answer = self._attempt(request, *turn)
            except FtsdkError as error:
                failed = error
            else:
                self._failures = 0
                answer = answer.model_copy(update={"attempts": attempts.count})
                return ChatOutcome(request.id, answer=answer, attempts=attempts.count)
            wait = attempts.wait_s(failed, self._clock.monotonic())
            if wait is None or is_for_all(failed):
                return self._failed(request, attempts, failed)
            if not self._pause(wait):
                return self._given_up(request, attempts, failed)

    def _failed(self, request: ChatRequest, attempts: Attempts, error: FtsdkError) -> ChatOutcome:
        """Return the outcome of a request without an answer. Raises what every request would get."""
        attempts.described(error)
        if is_for_all(error) or isinstance(error, RateLimited):
            raise error
        if isinstance(error, Unavailable):
            self._failures += 1
            if self._failures >= max(_OUTAGE, 2 * self._concurrency):
                raise error
        return ChatOutcome(request.id, error=error, attempts=attempts.count)

    def _given_up(
        self, request: ChatRequest, attempts: Attempts, error: FtsdkError | None
    ) -> ChatOutcome | None:
        """Return an outcome only where something may be billed: the rest can be asked again."""
        if error is None or not attempts.lost:
            return None
        attempts.described(error)
        return ChatOutcome(request.id, error=error, attempts=attempts.count)

    def _attempt(self, request: ChatRequest, turn: Turn, place: int) -> ChatAnswer:
        said: list[RateLimits] = []
        try:
            with listening(said.append):
                answer = self._ask(request)
        except FtsdkError as error:
            limits = said[-1] if said else RateLimits()
            if isinstance(error, RateLimited):
                self._pacer.refused(turn, limits, error.retry_after_s)
            else:
                self._pacer.replied(turn, limits)
            self._window.leave(place, overloaded=isinstance(error, RateLimited | Unavailable))
            raise
        except BaseException:
            self._window.leave(place)
            raise
        self._pacer.replied(turn, said[-1] if said else RateLimits())
        self._window.leave(place)
        return answer

    def _turn(self, tokens: float) -> tuple[Turn, int] | None:
        """Wait until a request may be sent, and return its turn and place; None when the run ends."""
        place = self._window.enter(self._stopping)
        if place is None:
            return None
        turn = self._pacer.plan(tokens)
        while (wait := self._pacer.wait_s(turn)) > 0:
            if not self._pause(min(wait, _SLICE_S)):
                self._pacer.cancel(turn)
                self._window.leave(place)
                return None
        self._pacer.sent(turn)
        return turn, place

    def _pause(self, seconds: float) -> bool:
        """Wait; returns False when the run ends before."""
        until = self._clock.monotonic() + seconds
        while not self._stopping.is_set():
            left = until - self._clock.monotonic()
            if left <= 0:
                return True
            self._clock.sleep(min(left, _SLICE_S))
        return False


class _Window:
    """How many requests may be under way: doubled by answers at first, then one more for each round.

    Halved when the provider refuses or does not reply, once for all requests that were under way.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._size = min(self._most, _FIRST)
        self._threshold = self._most
        self._under_way = 0
        self._number = 0
        self._halved_at = 0
        self._changed = threading.Condition()

    def enter(self, stopping: threading.Event) -> int | None:
        """Wait for a place and return its number; None when the run ends first."""
        with self._changed:
            while self._under_way >= int(self._size) and not stopping.is_set():
                self._changed.wait()
            if stopping.is_set():
                return None
            self._under_way += 1
            self._number += 1
            return self._number

    def leave(self, place: int, *, overloaded: bool = False) -> None:
        """Free a place, and change the number of places by how its request went."""
        with self._changed:
            self._under_way -= 1
            if not overloaded:
                growth = 1.0 if self._size < self._threshold else 1.0 / self._size
                self._size = min(self._most, self._size + growth)
            elif place > self._halved_at:
                self._halved_at = self._number
                self._size = self._threshold = max(1.0, self._size / 2)
            self._changed.notify_all()

    def wake(self) -> None:
        """Let all that wait look again whether the run has ended."""
        with self._changed:
            self._changed.notify_all()


def _tokens(request: ChatRequest) -> float:
    """Return about how many tokens a request counts for: its text, and the longest answers."""
    text = sum(len(str(message.get("content") or "")) for message in request.messages)
    options: Mapping[str, Any] = request.options
    answer = options.get("max_completion_tokens") or options.get("max_tokens")
    longest = answer if isinstance(answer, int) else _DEFAULT_ANSWER_TOKENS
    choices = options.get("n")
    return text / 4 + longest * (choices if isinstance(choices, int) else 1)
