"""Cancelling an awaited call: nothing is sent before the job is journaled; after it, the job is named."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from ftsdk import AsyncClient
from ftsdk.backends.fake import FakeBackend
from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.store.leases import Leases
from ftsdk.types.job import RemoteJob
from ftsdk.types.status import JobStatus
from ftsdk.util.cancellation import CallCancelled, Cancellation, until_cancelled

Rows = Callable[[int], list[dict[str, Any]]]
CONFIG = Config(env={"FTSDK_PROVIDER": "fake", "FTSDK_MODEL": "m"})


class Gate:
    """A place where a call waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached, self.opened, self.left = (threading.Event() for _ in range(3))
        self.rows = 0

    def pass_through(self) -> None:
        """Wait here."""
        self.reached.set()
        assert self.opened.wait(10)

    async def cancel_here(self, task: asyncio.Task[Any]) -> asyncio.CancelledError:
        """Cancel `task` once its call waits here, then let the call go on; return what was raised."""
        assert await asyncio.to_thread(self.reached.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        self.opened.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ids of the jobs that the backend was asked to create."""
    asked: list[str] = []
    real = FakeBackend.submit

    def submit(self: FakeBackend, request: Any) -> RemoteJob:
        asked.append(request.job_id)
        return real(self, request)

    monkeypatch.setattr(FakeBackend, "submit", submit)
    return asked


def client_of(home: Path) -> AsyncClient:
    return AsyncClient(home=home, config=CONFIG, env={})


def jobs_in(home: Path) -> list[Any]:
    with Client(home=home, config=CONFIG, env={}) as client:
        return [job.snapshot for job in client.list_jobs()]


def gated(items: list[dict[str, Any]], gate: Gate, at: int) -> Iterator[dict[str, Any]]:
    """Yield the rows; the one with this number waits at the gate, and the end is noted."""
    try:
        for number, item in enumerate(items):
            if number == at:
                gate.pass_through()
            gate.rows += 1
            yield item
    finally:
        gate.left.set()


def test_a_create_that_is_cancelled_while_it_reads_sends_nothing(
    home: Path, rows: Rows, sent: list[str]
) -> None:
    gate = Gate()

    async def story() -> None:
        async with client_of(home) as client:
            task = asyncio.create_task(client.create_job(gated(rows(5000), gate, 50)))
            error = await gate.cancel_here(task)
            assert not hasattr(error, "job_id")
            assert await asyncio.to_thread(gate.left.wait, 10)

    asyncio.run(story())
    assert gate.rows < 60, "the abandoned thread stopped reading"
    assert sent == []
    assert jobs_in(home) == []


def test_a_create_returns_at_once_when_it_is_cancelled_while_a_model_is_fetched(
    home: Path, rows: Rows, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, over = Gate(), threading.Event()
    real = Client.create_job

    def fetch(self: FakeBackend, spec: Any) -> None:
        gate.pass_through()

    def create(self: Client, *args: Any, **options: Any) -> Any:
        try:
            return real(self, *args, **options)
        finally:
            over.set()

    monkeypatch.setattr(FakeBackend, "fetch_base_model", fetch)
    create.__name__ = "create_job"
    monkeypatch.setattr(Client, "create_job", create)

    async def story() -> None:
        async with client_of(home) as client:
            task = asyncio.create_task(client.create_job(rows(4)))
            await asyncio.to_thread(gate.reached.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 5)  # the download still waits at the gate
            gate.opened.set()
            assert await asyncio.to_thread(over.wait, 10)

    asyncio.run(story())
    assert sent == []
    assert jobs_in(home) == []


def test_a_cancellation_at_the_last_moment_takes_the_job_back(
    home: Path, rows: Rows, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, over = Gate(), threading.Event()
    real = Cancellation.pass_point_of_no_return

    def slow(self: Cancellation, job_id: str) -> None:
        gate.pass_through()
        try:
            real(self, job_id)
        finally:
            over.set()

    monkeypatch.setattr(Cancellation, "pass_point_of_no_return", slow)

    async def story() -> None:
        async with client_of(home) as client:
            await gate.cancel_here(asyncio.create_task(client.create_job(rows(4))))
            assert await asyncio.to_thread(over.wait, 10)

    asyncio.run(story())
    assert sent == []
    assert jobs_in(home) == [], "the transaction is rolled back"


@pytest.fixture
def submit_gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Return a gate at the create call of the fake provider."""
    gate, real = Gate(), FakeBackend.submit

    def slow(self: FakeBackend, request: Any) -> RemoteJob:
        gate.pass_through()
        return real(self, request)

    monkeypatch.setattr(FakeBackend, "submit", slow)
    return gate


def test_a_late_cancellation_names_the_job(home: Path, rows: Rows, submit_gate: Gate) -> None:
    async def story() -> asyncio.CancelledError:
        async with client_of(home) as client:
            return await submit_gate.cancel_here(asyncio.create_task(client.create_job(rows(4))))

    error = asyncio.run(story())
    [job] = jobs_in(home)
    assert job.status is JobStatus.QUEUED
    assert error.job_id == job.id  # type: ignore[attr-defined]  # the attribute under test
    assert any(job.id in note for note in error.__notes__)


def test_a_time_limit_names_the_job(home: Path, rows: Rows, submit_gate: Gate) -> None:
    async def story() -> TimeoutError:
        async with client_of(home) as client:
            try:
                async with asyncio.timeout(None) as limit:
                    task = asyncio.create_task(asyncio.to_thread(submit_gate.reached.wait, 10))
                    task.add_done_callback(lambda _: limit.reschedule(0))
                    asyncio.get_running_loop().call_later(0.2, submit_gate.opened.set)
                    await client.create_job(rows(4))
            except TimeoutError as error:
                return error
        raise AssertionError("the time limit was not kept")

    error = asyncio.run(story())
    [job] = jobs_in(home)
    cancelled = error.__cause__ or error.__context__  # Python before 3.11.3 names no cause
    assert cancelled.job_id == job.id  # type: ignore[union-attr]  # the attribute under test


def test_a_scope_of_anyio_is_obeyed_and_does_not_spin(
    home: Path, rows: Rows, submit_gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    real = Cancellation.request

    def counted(self: Cancellation) -> bool:
        nonlocal calls
        calls += 1
        return real(self)

    monkeypatch.setattr(Cancellation, "request", counted)

    async def story() -> None:
        async with client_of(home) as client:
            with anyio.CancelScope() as scope:
                task = asyncio.create_task(asyncio.to_thread(submit_gate.reached.wait, 10))
                task.add_done_callback(lambda _: scope.cancel())
                asyncio.get_running_loop().call_later(0.2, submit_gate.opened.set)
                await client.create_job(rows(4))
            assert scope.cancelled_caught

    asyncio.run(story())
    assert [job.status for job in jobs_in(home)] == [JobStatus.QUEUED]
    assert calls < 5


def test_a_late_cancellation_under_an_old_key_names_the_old_job(
    home: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(home=home, config=CONFIG, env={}) as client:
        first = client.create_job(rows(4), key="k").id
    gate = Gate()
    real = Cancellation.pass_point_of_no_return

    def then_wait(self: Cancellation, job_id: str) -> None:
        real(self, job_id)
        gate.pass_through()

    monkeypatch.setattr(Cancellation, "pass_point_of_no_return", then_wait)

    async def story() -> asyncio.CancelledError:
        async with client_of(home) as client:
            return await gate.cancel_here(asyncio.create_task(client.create_job(rows(4), key="k")))

    assert asyncio.run(story()).job_id == first  # type: ignore[attr-defined]  # as above
    assert len(jobs_in(home)) == 1


def test_a_deploy_that_is_cancelled_while_it_waits_opens_no_lease(
    home: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(home=home, config=CONFIG, env={}) as client:
        job_id = client.create_job(rows(4)).wait(timeout=60).id
    gate, over = Gate(), threading.Event()
    able = replace(FakeBackend.capabilities, can_deploy=True)
    monkeypatch.setattr(FakeBackend, "capabilities", able)
    for method in ("deploy", "undeploy"):
        monkeypatch.setattr(FakeBackend, method, lambda _, handle: handle, raising=False)

    @contextlib.contextmanager
    def slow_lock(*_: Any) -> Iterator[None]:
        gate.pass_through()
        try:
            yield
        finally:
            over.set()

    monkeypatch.setattr("ftsdk.deployments.deploy._deploy_lock", slow_lock)

    async def story() -> None:
        async with client_of(home) as client:
            job = await client.get_job(job_id)
            await gate.cancel_here(asyncio.create_task(job.deploy(hours=1)))
            assert await asyncio.to_thread(over.wait, 10)

    asyncio.run(story())
    with Client(home=home, config=CONFIG, env={}) as client:
        assert Leases(client.journal).list() == []


@pytest.mark.parametrize("action", ["resume", "send_again"])
def test_a_cancelled_resume_or_resend_does_nothing(
    action: str, home: Path, rows: Rows, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(home=home, config=CONFIG, env={}) as client:
        failed = {"timeline": [["queued", 0], ["failed", 0.1]]}
        job = client.create_job(rows(4), provider_options=failed).wait(timeout=60)
        if action == "send_again":
            now = client.clock.now()
            unsent = job.snapshot.model_copy(
                update={
                    "id": job.id[:-4] + "ZZZZ",
                    "tag": "ftsdk-other",
                    "status": JobStatus.CREATED,
                    "provider_job_id": None,
                    "submitted_at": None,
                    "created_at": now,
                }
            )
            client.journal.add(unsent)
    sent.clear()
    gate, over = Gate(), threading.Event()
    real = Cancellation.pass_point_of_no_return
    resumed: list[str] = []

    def slow(self: Cancellation, job_id: str) -> None:
        gate.pass_through()
        try:
            real(self, job_id)
        finally:
            over.set()

    monkeypatch.setattr(Cancellation, "pass_point_of_no_return", slow)
    monkeypatch.setattr(FakeBackend, "resume", lambda _, identity: resumed.append(identity))

    async def story() -> None:
        async with client_of(home) as client:
            if action == "resume":
                call = (await client.get_job(job.id)).resume()
            else:
                call = client.resolve(unsent.id, send_again=True)
            await gate.cancel_here(asyncio.create_task(call))
            assert await asyncio.to_thread(over.wait, 10)

    asyncio.run(story())
    assert (sent, resumed) == ([], [])


@pytest.mark.parametrize("method", ["validate", "plan", "estimate"])
def test_an_abandoned_read_ends(method: str, home: Path, rows: Rows) -> None:
    gate = Gate()

    async def story() -> None:
        async with client_of(home) as client:
            call = getattr(client, method)(gated(rows(5000), gate, 10))
            await gate.cancel_here(asyncio.create_task(call))
            assert await asyncio.to_thread(gate.left.wait, 10)

    asyncio.run(story())
    assert gate.rows < 20


def test_cancel_and_undeploy_are_finished_although_their_task_is_cancelled(
    home: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(home=home, config=CONFIG, env={}) as client:
        job_id = client.create_job(rows(4), provider_options={"timeline": [["running", 0]]}).id
    gate, real = Gate(), FakeBackend.cancel

    def slow(self: FakeBackend, identity: str) -> None:
        gate.pass_through()
        real(self, identity)

    monkeypatch.setattr(FakeBackend, "cancel", slow)

    async def story() -> None:
        async with client_of(home) as client:
            job = await client.get_job(job_id)
            await gate.cancel_here(asyncio.create_task(job.cancel()))

    asyncio.run(story())
    assert [job.status for job in jobs_in(home)] == [JobStatus.CANCELLED]


def test_without_a_cancellation_nothing_is_checked() -> None:
    items = iter([1, 2])
    assert until_cancelled(items) is items
    cancelled = Cancellation()
    assert cancelled.request()
    with pytest.raises(CallCancelled):
        cancelled.check()
