"""Many chats at once: what is read, sent, sent again, reported and finished."""

from __future__ import annotations

import contextvars
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ftsdk.backends.hosted import chat_many as module
from ftsdk.backends.hosted.chat_many import chat_many
from ftsdk.backends.hosted.pacer import Pacer, Turn
from ftsdk.errors import (
    AuthError,
    BudgetError,
    FtsdkError,
    RateLimited,
    Rejected,
    Unavailable,
    UnexpectedResponse,
    Unsupported,
    UsageError,
)
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.chat import ChatOutcome, ChatRequest, OutcomeKind
from ftsdk.util.clock import ManualClock, SystemClock

Ask = Callable[[ChatRequest], ChatAnswer]


def requests(number: int) -> Iterator[ChatRequest]:
    for index in range(number):
        yield ChatRequest(str(index), ({"role": "user", "content": f"question {index}"},))


def echo(request: ChatRequest) -> ChatAnswer:
    return ChatAnswer(text=request.id, message={}, finish_reason="stop")


def run(
    ask: Ask, number: int | Iterator[ChatRequest] = 1, *, concurrency: int = 1, on_outcome=None
) -> Iterator[ChatOutcome]:
    asked = requests(number) if isinstance(number, int) else number
    return chat_many(
        ask, asked, concurrency=concurrency, on_outcome=on_outcome, clock=ManualClock()
    )


class Script:
    """Answers each attempt of each request by a list of errors, then with an answer."""

    def __init__(self, *errors: Callable[[], FtsdkError]) -> None:
        self.errors = errors
        self.attempts: dict[str, int] = {}

    def __call__(self, request: ChatRequest) -> ChatAnswer:
        number = self.attempts[request.id] = self.attempts.get(request.id, 0) + 1
        if number <= len(self.errors):
            make = self.errors[number - 1]
            raise make()
        return echo(request)


def busy() -> FtsdkError:
    return RateLimited("too many requests", status_code=429, retry_after_s=3.0)


def broken() -> FtsdkError:
    return Unavailable("a fault of its own", status_code=503)


def unreachable() -> FtsdkError:
    return Unavailable("could not be reached", reached=False)


def hung() -> FtsdkError:
    return Unavailable("no complete reply: the read timed out", where="OpenAI, POST /chat")


# --- outcomes --------------------------------------------------------------------------------------


def test_each_request_has_one_outcome() -> None:
    found = list(run(echo, 200, concurrency=8))
    assert sorted(int(one.id) for one in found) == list(range(200))
    assert all(one.answer is not None and one.answer.text == one.id for one in found)


def test_outcomes_of_every_kind_are_told_apart() -> None:
    answers = {
        "0": ChatAnswer(text="yes", message={}, finish_reason="stop"),
        "1": ChatAnswer(text="ye", message={}, finish_reason="length"),
        "2": ChatAnswer(text="", message={}, finish_reason="stop", refusal="I cannot"),
        "3": ChatAnswer(text="", message={}, finish_reason="content_filter"),
        "4": Rejected("the prompt was filtered", provider_code="content_filter"),
        "5": Rejected("the context is too long", provider_code="context_length_exceeded"),
    }

    def ask(request: ChatRequest) -> ChatAnswer:
        found = answers[request.id]
        if isinstance(found, FtsdkError):
            raise found
        return found

    kinds = [one.kind for one in run(ask, 6)]
    refused = OutcomeKind.REFUSED
    assert kinds == [
        OutcomeKind.ANSWERED, OutcomeKind.CUT_OFF, refused, refused, refused, OutcomeKind.ERROR,
    ]  # fmt: skip


@pytest.mark.parametrize("concurrency", [0, -1])
def test_no_concurrency_is_refused_at_once(concurrency: int) -> None:
    with pytest.raises(UsageError, match="concurrency"):
        run(echo, 1, concurrency=concurrency)


# --- attempts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [busy, broken, unreachable, hung])
def test_what_brought_no_answer_is_sent_again(fault) -> None:
    [outcome] = run(Script(fault, fault))
    assert outcome.answer is not None
    assert (outcome.attempts, outcome.answer.attempts) == (3, 3)


@pytest.mark.parametrize(
    "answer",
    [
        ChatAnswer(text="", message={}, finish_reason="stop", refusal="no"),
        ChatAnswer(text="cu", message={}, finish_reason="length"),
        ChatAnswer(text="", message={}, finish_reason="content_filter"),
    ],
)
def test_an_answer_is_never_asked_for_twice(answer: ChatAnswer) -> None:
    asked = []

    def ask(request: ChatRequest) -> ChatAnswer:
        asked.append(request.id)
        return answer

    list(run(ask, 3))
    assert asked == ["0", "1", "2"]


@pytest.mark.parametrize(
    "error", [Rejected("bad"), UnexpectedResponse("no message", retryable=True)]
)
def test_a_refusal_and_a_strange_answer_are_not_sent_again(error: FtsdkError) -> None:
    script = Script(lambda: error)
    [outcome] = run(script)
    assert (outcome.error, outcome.attempts, script.attempts) == (error, 1, {"0": 1})


def test_a_hang_is_sent_again_twice_and_then_says_what_may_be_billed() -> None:
    script = Script(*[hung] * 9)
    [outcome] = run(script)
    assert script.attempts == {"0": 3}
    assert outcome.error is not None
    assert outcome.error.submitted == "maybe"
    assert "sent 3 times, 3 times without a complete reply" in outcome.error.where
    assert "billed" in outcome.error.where
    assert (outcome.attempts, outcome.kind) == (3, OutcomeKind.ERROR)


def test_faults_that_bill_nothing_are_sent_again_more_often() -> None:
    script = Script(*[broken] * 20)
    [outcome] = run(script)
    assert script.attempts == {"0": 8}
    assert outcome.error is not None
    assert "billed" not in outcome.error.where


def test_the_wait_that_the_provider_asks_for_is_kept() -> None:
    clock, times = ManualClock(), []

    def ask(request: ChatRequest) -> ChatAnswer:
        times.append(clock.monotonic())
        if len(times) == 1:
            raise busy()
        return echo(request)

    list(chat_many(ask, requests(1), concurrency=1, on_outcome=None, clock=clock))
    assert 3.0 <= times[1] - times[0] < 3.6


def test_a_wait_beyond_the_deadline_ends_the_run() -> None:
    def ask(request: ChatRequest) -> ChatAnswer:
        if request.id == "2":
            raise RateLimited("the limit of the day is reached", retry_after_s=3600.0)
        return echo(request)

    found = []
    with pytest.raises(RateLimited, match="of the day"):
        found.extend(run(ask, 100))
    assert len(found) <= 2 * 1 + 2


def test_refusals_for_pace_are_borne_until_the_deadline() -> None:
    script = Script(*[busy] * 100)
    [outcome] = run(script)
    assert outcome.answer is not None
    assert outcome.attempts == 101


# --- errors that every request would get -----------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        AuthError("the key is wrong"),
        Unsupported("no option 'top_k'"),
        BudgetError("used up"),
        RateLimited("no credit", status_code=429, provider_code="insufficient_quota"),
        Rejected("no such parameter", provider_code="unsupported_parameter"),
        Rejected("pay first", status_code=402),
    ],
)
def test_an_error_of_all_ends_the_run_after_what_is_under_way(error: FtsdkError) -> None:
    asked, finished = [], []

    def ask(request: ChatRequest) -> ChatAnswer:
        asked.append(request.id)
        if request.id == "5":
            raise error
        return echo(request)

    found = []
    with pytest.raises(type(error)) as caught:
        found.extend(run(ask, 1000, concurrency=4, on_outcome=finished.append))
    assert caught.value is error
    assert asked.count("5") == 1
    assert {one.id for one in found} == {one.id for one in finished} == set(asked) - {"5"}
    assert len(asked) < 40


def test_an_outage_ends_the_run() -> None:
    script = Script(*[broken] * 20)
    found = []
    with pytest.raises(Unavailable):
        found.extend(run(script, 10_000, concurrency=2))
    assert 19 <= len(found) <= 30


def test_a_fault_of_ours_is_raised_and_not_taken_for_an_outcome() -> None:
    def ask(request: ChatRequest) -> ChatAnswer:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(run(ask, 5))


# --- on_outcome ------------------------------------------------------------------------------------


def test_an_outcome_is_reported_in_its_thread_before_the_next_request() -> None:
    log: list[tuple[str, str, int]] = []

    def ask(request: ChatRequest) -> ChatAnswer:
        log.append(("ask", request.id, threading.get_ident()))
        return echo(request)

    def report(outcome: ChatOutcome) -> None:
        log.append(("done", outcome.id, threading.get_ident()))

    list(run(ask, 60, concurrency=3, on_outcome=report))
    for thread in {one[2] for one in log}:
        mine = [one[:2] for one in log if one[2] == thread]
        assert [kind for kind, _ in mine] == ["ask", "done"] * (len(mine) // 2)
        assert [one for _, one in mine[::2]] == [one for _, one in mine[1::2]]


def test_an_error_of_on_outcome_ends_the_run_and_loses_no_answer() -> None:
    def report(outcome: ChatOutcome) -> None:
        if outcome.id == "3":
            raise OSError("the disk is full")

    found = []
    with pytest.raises(OSError, match="full"):
        found.extend(run(echo, 1000, on_outcome=report))
    assert "3" in {one.id for one in found}
    assert len(found) < 20


# --- reading, memory -------------------------------------------------------------------------------


def test_requests_are_read_as_they_are_needed() -> None:
    read = 0

    def counted() -> Iterator[ChatRequest]:
        nonlocal read
        for one in requests(10_000):
            read += 1
            yield one

    outcomes = run(echo, counted(), concurrency=4)
    assert read == 0
    for number, _ in zip(range(1, 101), outcomes, strict=False):
        assert read <= number + 2 * 4
    outcomes.close()
    assert read < 120


def test_a_slow_consumer_stops_the_reading() -> None:
    asked: list[str] = []

    def ask(request: ChatRequest) -> ChatAnswer:
        asked.append(request.id)
        return echo(request)

    outcomes = run(ask, 10_000, concurrency=4)
    next(outcomes)
    time.sleep(0.1)  # the threads could ask hundreds meanwhile
    assert len(asked) <= 2 * 4
    outcomes.close()


def test_an_error_of_the_iterator_is_raised_after_what_is_under_way() -> None:
    def failing() -> Iterator[ChatRequest]:
        yield from requests(3)
        raise LookupError("row 4 cannot be read")

    found, reported = [], []
    with pytest.raises(LookupError, match="row 4"):
        found.extend(run(echo, failing(), concurrency=2, on_outcome=reported.append))
    assert found == reported != []


# --- ending early ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "throw"])
def test_ending_early_finishes_what_is_under_way_and_starts_nothing(how: str) -> None:
    begun, ended, reported = [], [], []

    def ask(request: ChatRequest) -> ChatAnswer:
        begun.append(request.id)
        time.sleep(0.05)
        ended.append(request.id)
        return echo(request)

    outcomes = run(ask, 1000, concurrency=4, on_outcome=lambda one: reported.append(one.id))
    next(outcomes)
    if how == "close":
        outcomes.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            outcomes.throw(KeyboardInterrupt)
    assert sorted(begun) == sorted(ended) == sorted(reported)
    assert len(begun) < 20
    assert not [one for one in threading.enumerate() if one.name == "ftsdk-chat"]


def test_a_request_that_was_read_is_not_begun_after_the_end() -> None:
    begun, asked, free = list[str](), threading.Semaphore(0), threading.Event()

    def ask(request: ChatRequest) -> ChatAnswer:
        begun.append(request.id)
        if request.id != "0":
            asked.release()
            assert free.wait(10)
        return echo(request)

    outcomes = run(ask, 10, concurrency=2)
    next(outcomes)
    for _ in range(2):
        assert asked.acquire(timeout=10)  # both threads are busy, and request 3 waits
    threading.Timer(0.1, free.set).start()
    outcomes.close()
    assert sorted(begun) == ["0", "1", "2"]


def test_a_request_that_waits_to_be_sent_again_is_given_up() -> None:
    def ask(request: ChatRequest) -> ChatAnswer:
        if request.id == "0":
            raise Unavailable("overloaded", status_code=503, retry_after_s=300.0)
        return echo(request)

    def report(outcome: ChatOutcome) -> None:
        raise OSError("the disk is full")

    begun = time.monotonic()
    outcomes = chat_many(ask, requests(2), concurrency=2, on_outcome=report, clock=SystemClock())
    with pytest.raises(OSError, match="full"):
        list(outcomes)
    assert time.monotonic() - begun < 30


def test_one_that_was_lost_and_is_given_up_says_that_it_may_be_billed() -> None:
    waiting, found = threading.Event(), []

    def ask(request: ChatRequest) -> ChatAnswer:
        if request.id == "0":
            waiting.set()
            raise hung()
        waiting.wait(10)
        raise AuthError("the key was revoked")

    outcomes = chat_many(ask, requests(2), concurrency=2, on_outcome=None, clock=SystemClock())
    with pytest.raises(AuthError):
        found.extend(outcomes)
    assert [(one.id, one.error.submitted) for one in found] == [("0", "maybe")]


def test_one_that_was_lost_and_waits_for_its_turn_says_so_as_well() -> None:
    clock, found = SystemClock(), []
    lost = threading.Event()

    class Slow(Pacer):
        def wait_s(self, turn: Turn) -> float:
            return 60.0 if lost.is_set() and turn.tokens < 1000 else 0.0

    def ask(request: ChatRequest) -> ChatAnswer:
        if request.id == "0":
            lost.set()
            raise hung()
        lost.wait(10)
        time.sleep(1.5)  # longer than the pause before the second attempt of the other
        raise AuthError("the key was revoked")

    asked = [ChatRequest("0", ()), ChatRequest("1", (), {"max_tokens": 5000})]
    outcomes = chat_many(ask, asked, concurrency=2, on_outcome=None, clock=clock, pacer=Slow(clock))
    with pytest.raises(AuthError):
        found.extend(outcomes)
    assert [(one.id, one.error.submitted) for one in found] == [("0", "maybe")]


def test_two_runs_at_once_do_not_mix() -> None:
    first, second = run(echo, 50, concurrency=3), run(echo, 50, concurrency=3)
    pairs = list(zip(first, second, strict=True))
    assert len({a.id for a, _ in pairs}) == len({b.id for _, b in pairs}) == 50


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_threads_that_it_does_not_have() -> None:
    outcomes = run(echo, 1000, concurrency=4)
    next(outcomes)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def child() -> None:
        try:
            list(outcomes)
        except UsageError as error:
            queue.put(error.what)

    process = context.Process(target=child)
    process.start()
    process.join(20)
    assert process.exitcode == 0
    assert "forked" in queue.get()
    assert len(list(outcomes)) == 999


def test_threads_have_the_context_of_the_caller() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("mine")
    seen = set()

    def ask(request: ChatRequest) -> ChatAnswer:
        seen.add(variable.get())
        return echo(request)

    list(run(ask, 20, concurrency=4))
    assert seen == {"mine"}


def test_a_system_without_more_threads_uses_those_that_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, original = [], threading.Thread.start

    def start(self: threading.Thread) -> None:
        if len(started) >= allowed:
            raise RuntimeError("can't start new thread")
        started.append(self)
        original(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    allowed = 2
    assert len(list(run(echo, 50, concurrency=8))) == 50
    allowed = 0
    with pytest.raises(RuntimeError, match="new thread"):
        list(run(echo, 50, concurrency=8))


INTERRUPTED = """
import os, time
from ftsdk.backends.hosted.chat_many import chat_many
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.chat import ChatRequest
from ftsdk.util.clock import SystemClock

def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())

def ask(request):
    say("begun", request.id)
    time.sleep(0.5)
    return ChatAnswer(text="", message={})

requests = (ChatRequest(str(n), ()) for n in range(1000))
done = lambda outcome: say("done", outcome.id)
try:
    for _ in chat_many(ask, requests, concurrency=4, on_outcome=done, clock=SystemClock()):
        pass
except KeyboardInterrupt:
    say("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent there")
def test_ctrl_c_finishes_what_is_under_way() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    process.send_signal(signal.SIGINT)
    with process, process.stdout as output:  # `communicate` would lose lines that are buffered here
        words = [line.split() for line in [*lines, *output]]
    begun, done = ({one[1] for one in words if one[0] == kind} for kind in ("begun", "done"))
    assert begun == done
    assert len(begun) <= 12
    assert words[-1] == ["interrupted"]


# --- concurrency -----------------------------------------------------------------------------------


class Gauge:
    """Counts how many are asked at the same time."""

    def __init__(self, delay_s: float = 0.002) -> None:
        self.now = self.most = 0
        self.delay_s = delay_s
        self.lock = threading.Lock()

    def __call__(self, request: ChatRequest) -> ChatAnswer:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.delay_s)
        with self.lock:
            self.now -= 1
        return echo(request)


@pytest.mark.parametrize("concurrency", [1, 3, 12])
def test_no_more_are_under_way_than_allowed_and_soon_as_many(concurrency: int) -> None:
    gauge = Gauge()
    list(run(gauge, 200, concurrency=concurrency))
    assert gauge.most == concurrency


def test_an_overload_halves_what_is_under_way() -> None:
    window = module._Window(16)
    stopping = threading.Event()
    places = [window.enter(stopping) for _ in range(2)]
    for place in places:
        window.leave(place)
    assert window._size == 4.0
    for _ in range(30):
        window.leave(window.enter(stopping))
    assert window._size == 16.0
    places = [window.enter(stopping) for _ in range(16)]
    for place in places[:8]:
        window.leave(place, overloaded=True)
    assert window._size == 8.0  # once for all that were under way
    for place in places[8:]:
        window.leave(place)
    assert 8.0 < window._size < 10.0  # and then slowly up again
