"""T1, T3: a create that is cancelled anywhere sends nothing, or is finished and named; never twice.

In the simulation a call is cancelled at a random effect, beside the faults and deaths of T1. In real
processes `AsyncClient.create_job` is cancelled at each named point of T3. Both catch planted bugs.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftsdk.async_client import AsyncClient
from ftsdk.errors import FtsdkError
from ftsdk.jobs import submitter as submitter_module
from ftsdk.jobs.submitter import Submitter
from ftsdk.session import Horizon
from ftsdk.store import hooks
from ftsdk.types.job import JobSnapshot, RemoteJob
from ftsdk.util.cancellation import CallCancelled, Cancellation
from tests.faults.submission_world import Died, Process, SimulatedBackend, World, simulate
from tests.faults.test_submission_processes import CONFIG, ROWS, at_provider, client

# --- T1: the simulation --------------------------------------------------------------------------


class Call:
    """One caller's create: when it is cancelled, what it was answered, and whether it sent anything."""

    def __init__(self, cancel_at: int | None) -> None:
        self.cancellation, self.cancel_at = Cancellation(), cancel_at
        self.effects, self.sent = 0, False
        self.in_time: bool | None = None
        self.ended: str | None = None

    def effect(self) -> None:
        """Count an effect, and cancel the call at the chosen one."""
        self.effects += 1
        if self.effects == self.cancel_at:
            self.in_time = self.cancellation.request()


class CancelledProcess(Process):
    """A process whose threads each make one call that may be cancelled."""

    def effect(self, me: int, *, alone: bool = False) -> None:
        call = CALLING.call
        if call is not None:
            call.effect()
        super().effect(me, alone=alone)


class _Calling(threading.local):
    call: Call | None = None


CALLING = _Calling()


class RecordedBackend(SimulatedBackend):
    """Records which call sent something."""

    def submit(self, request: Any) -> RemoteJob:
        if CALLING.call is not None:
            CALLING.call.sent = True
        return super().submit(request)


class CancelledWorld(World):
    """A world in which most calls are cancelled at a random effect."""

    def __init__(self, *args: Any, **facts: Any) -> None:
        super().__init__(*args, **facts)
        self.calls: list[Call] = []
        self.death_rate = self.chance.choice([0.0, 0.4])

    def backend(self, process: Process | None) -> SimulatedBackend:
        return RecordedBackend(self, process)

    def _new_process(self, dies_at: int | None) -> Process:
        return CancelledProcess(self, dies_at)

    def create(self, submitter: Submitter) -> JobSnapshot:
        at = self.chance.randrange(1, 40) if self.chance.random() < 0.8 else None
        call = CALLING.call = Call(at)
        self.calls.append(call)
        try:
            made = call.cancellation.bind(lambda: super(CancelledWorld, self).create(submitter))()
        except CallCancelled:
            call.ended = "cancelled"
            raise Died from None  # the caller has gone; the process lives on
        except FtsdkError:
            call.ended = "error"
            raise
        finally:
            CALLING.call = None
        call.ended = "made"
        return made

    def _check(self) -> str:
        problems = [super()._check()]
        submitter = self._submitter()
        known = {snapshot.id for snapshot in submitter.journal.list()}
        submitter.journal.close()
        for call in self.calls:
            job_id = call.cancellation.job_id
            if call.in_time and call.sent:
                problems.append("a caller was told that it stopped in time, and its job was sent")
            if call.in_time and call.ended == "made":
                problems.append("a call that was stopped in time went on")
            if call.in_time is False and call.ended == "made" and job_id not in known:
                problems.append(f"a late cancellation names {job_id}, which is not journaled")
            if call.ended == "cancelled" and not call.in_time:
                problems.append("a call was stopped after its point of no return")
        wrong = [one for one in problems if one != "ok"]
        return "; ".join(wrong) or "ok"


def without_point_of_no_return(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: a call can be stopped, or believed to be, while it sends."""
    monkeypatch.setattr(hooks, "pass_point_of_no_return", lambda _: None)
    monkeypatch.setattr(submitter_module, "pass_point_of_no_return", lambda _: None)


def without_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: the whole call is shielded, so that one cancelled in time sends all the same."""
    monkeypatch.setattr(Cancellation, "check", lambda _: None)


def only_for_new_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: a call that carries on a job of an earlier one can be stopped while it sends."""
    monkeypatch.setattr(submitter_module, "pass_point_of_no_return", lambda _: None)


def test_a_call_that_is_cancelled_anywhere_sends_nothing_or_is_named(
    request: pytest.FixtureRequest, record_property: Any
) -> None:
    long = request.config.getoption("--long")
    totals = simulate(0, 50_000 if long else 300, world_class=CancelledWorld)
    record_property("totals", str(totals))
    print(f"cancelled calls: {totals}")
    assert not totals.bad, dict(list(totals.bad.items())[:5])
    assert totals.deaths > totals.schedules / 20


def test_the_simulation_cancels_before_and_after_the_point_of_no_return() -> None:
    seen: Counter[Any] = Counter()

    class Counted(CancelledWorld):
        def _check(self) -> str:
            seen.update((call.in_time, call.ended, call.sent) for call in self.calls)
            return super()._check()

    simulate(0, 150, world_class=Counted)
    assert seen[True, "cancelled", False] > 20
    assert seen[False, "made", True] > 20
    assert seen[None, "made", True] > 5


@pytest.mark.parametrize(
    ("plant", "verdict"),
    [
        (without_point_of_no_return, "its job was sent"),
        (without_a_check, "went on"),
        (only_for_new_jobs, "its job was sent"),
    ],
)
def test_the_simulation_catches(
    plant: Callable[[pytest.MonkeyPatch], None], verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    totals = simulate(0, 600, world_class=CancelledWorld, until=verdict)
    assert any(verdict in found for found in totals.bad.values()), str(totals)


# --- T3: real processes, cancelled at named points -------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks from a warm parent")


class _CancelsAt:
    """Counts the points that a call passes, and cancels its task at one of them."""

    def __init__(self, at: int | None) -> None:
        self.at, self.names = at, list[str]()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[Any] | None = None

    def __call__(self, name: str) -> None:
        self.names.append(name)
        if self.at != len(self.names) or self.loop is None:
            return
        arrived = threading.Event()
        self.loop.call_soon_threadsafe(self._cancel, arrived)
        assert arrived.wait(10)

    def _cancel(self, arrived: threading.Event) -> None:
        assert self.task is not None
        assert self.loop is not None
        self.task.cancel()

        def later(cycles: int) -> None:  # the task has a few cycles to see it
            assert self.loop is not None
            if cycles:
                self.loop.call_soon(later, cycles - 1)
            else:
                arrived.set()

        later(5)


def _cancelled_child(home: Path, at: int | None) -> dict[str, Any]:
    from tests.faults import test_submission_processes as processes

    points = _CancelsAt(at)
    processes._plant(points)  # type: ignore[arg-type]  # it only calls it

    async def story() -> str | None:
        horizon = Horizon(while_creating_s=0)
        async with AsyncClient(home=home, config=CONFIG, env={}, horizon=horizon) as one:
            points.loop = asyncio.get_running_loop()
            points.task = asyncio.create_task(one.create_job(ROWS, key="k"))
            try:
                return (await points.task).id
            except asyncio.CancelledError as error:
                return str(getattr(error, "job_id", None))

    answer = asyncio.run(story())
    for thread in threading.enumerate():  # an abandoned call ends at its next check
        if thread is not threading.current_thread():
            thread.join(10)
    return {"answer": answer, "names": points.names}


def _in_a_child(home: Path, at: int | None) -> dict[str, Any]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = _cancelled_child(home, at)
        except BaseException as error:
            answer = {"answer": repr(error), "names": []}
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return dict(answer)


def _cancelled_everywhere(root: Path, step: int = 1) -> Iterator[tuple[str, str]]:
    """Cancel a create at each point; yield the point's name and what is wrong, if anything."""
    names = _in_a_child(root / "names", None)["names"]
    assert len(names) >= 25
    for point in range(1, len(names) + 1, step):
        home = root / str(point)
        answer = _in_a_child(home, point)["answer"]
        with client(home) as again:
            known = [job.id for job in again.list_jobs()]
            at_once = len(at_provider(home))
            wrong = ""
            if answer == "None" and (known or at_once):
                wrong = f"nothing was named, and there are {len(known)} jobs, {at_once} paid"
            elif answer != "None" and (known != [answer] or at_once != 1):
                wrong = f"{answer} was named; known {known}, {at_once} paid"
            try:
                job = again.create_job(ROWS, key="k")
            except FtsdkError as error:
                yield names[point - 1], f"{wrong}; afterwards {error.what}"
                continue
            if len(at_provider(home)) != 1 or [one.id for one in again.list_jobs()] != [job.id]:
                wrong = f"{wrong}; afterwards {len(at_provider(home))} paid"
        yield names[point - 1], wrong


@needs_fork
def test_an_async_create_that_is_cancelled_at_any_point(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    step = 1 if request.config.getoption("--long") else 2
    found = list(_cancelled_everywhere(tmp_path, step))
    assert [(name, wrong) for name, wrong in found if wrong] == []
    print(f"cancelled at {len(found)} points: 0 duplicates, 0 lost")


@needs_fork
def test_the_points_catch_a_call_without_a_point_of_no_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_point_of_no_return(monkeypatch)
    assert any(wrong for _, wrong in _cancelled_everywhere(tmp_path, 3))
