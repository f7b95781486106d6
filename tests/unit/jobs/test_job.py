"""The job object on the fake provider: waiting, events, results, outcomes, and the asynchronous client."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.async_client import AsyncClient, AsyncFineTuneJob
from ftsdk.backends.fake import FakeBackend
from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.dataset import Dataset
from ftsdk.errors import (
    BudgetError,
    JobCancelled,
    JobFailed,
    NeedsDecision,
    NotReady,
    Unavailable,
    Unsupported,
    UsageError,
    WaitTimeout,
)
from ftsdk.types.events import Event
from ftsdk.types.job import JobSnapshot, RemoteJob
from ftsdk.types.model import ModelHandle
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

Rows = Callable[[int], list[dict[str, Any]]]


def test_a_job_runs_to_its_end(client: Client, rows: Rows) -> None:
    seen: list[Event] = []
    job = client.create_job(rows(10), validation=0.3, name="n", tags={"team": "cx"})
    assert job.wait(on_event=seen.append) is job
    assert job.status is JobStatus.SUCCEEDED
    assert [e.seq for e in seen] == sorted({e.seq for e in seen})
    assert seen[-1].message == "succeeded"
    assert job.cost.usd == 0
    losses = [p.train_loss for p in job.metrics()]
    assert losses[0] > losses[-1]  # type: ignore[operator]  # the fake's curve falls
    assert job.checkpoints()
    assert job.logs(tail=2)[-1].endswith("succeeded")
    model = job.result()
    assert model.callable_now
    trained, _ = Dataset.load(rows(10)).split(0.3, seed=0)
    asked, answer = next(iter(trained))["messages"]
    assert model.chat(asked["content"]).text == answer["content"]
    assert "<svg" in job._repr_html_()
    assert "<script" not in job._repr_html_()


def test_a_snapshot_round_trips(client: Client, rows: Rows) -> None:
    job = client.create_job(rows(4)).wait()
    for record in (job.snapshot, job.result()):
        again = type(record).model_validate_json(record.model_dump_json())
        assert again == record
        assert pickle.loads(pickle.dumps(record)) == record
    with pytest.raises(NotReady, match="not bound"):
        pickle.loads(pickle.dumps(job.result())).chat("x")


def test_result_before_the_end(client: Client, rows: Rows) -> None:
    job = client.create_job(rows(4))
    with pytest.raises(NotReady) as caught:
        job.result()
    assert caught.value.job_id == job.id


def test_failure(client: Client, rows: Rows) -> None:
    timeline = [["queued", 0], ["running", 1], ["failed", 2]]
    options = {"timeline": timeline, "message": "out of luck"}
    job = client.create_job(rows(4), provider_options=options).wait()
    assert job.status is JobStatus.FAILED
    with pytest.raises(JobFailed, match="out of luck") as caught:
        job.result()
    assert caught.value.exit_code == 5


def test_cancel(client: Client, rows: Rows, clock: ManualClock) -> None:
    job = client.create_job(rows(4))
    clock.advance(0.5)
    assert job.cancel().status is JobStatus.CANCELLED
    assert job.cancel().status is JobStatus.CANCELLED
    with pytest.raises(JobCancelled):
        job.result()
    assert job.resume().status is JobStatus.QUEUED
    assert job.wait().status is JobStatus.SUCCEEDED


def test_wait_times_out_and_the_job_continues(client: Client, rows: Rows) -> None:
    job = client.create_job(rows(4), provider_options={"timeline": [["running", 0]]})
    with pytest.raises(WaitTimeout) as caught:
        job.wait(timeout=30)
    assert isinstance(caught.value, TimeoutError)
    assert job.status is JobStatus.RUNNING


def test_an_unknown_status_is_not_final(client: Client, rows: Rows) -> None:
    timeline = [["queued", 0], ["paused_v2", 1], ["succeeded", 50]]
    job = client.create_job(rows(4), provider_options={"timeline": timeline})
    with pytest.raises(WaitTimeout):
        job.wait(timeout=10)
    assert (job.status, job.raw_status) == (JobStatus.UNKNOWN, "paused_v2")
    assert job.wait().status is JobStatus.SUCCEEDED


def test_a_paused_job_raises_with_the_commands_to_continue(
    client: Client, rows: Rows, clock: ManualClock
) -> None:
    job = client.create_job(rows(4))
    clock.advance(0.5)
    client.backend("fake").pause(str(job.provider_job_id))
    with pytest.raises(NeedsDecision, match="cannot continue by itself") as caught:
        job.wait(timeout=5)
    assert "resume" in caught.value.hint
    assert job.resume().wait().status is JobStatus.SUCCEEDED


def test_a_final_status_is_kept(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = client.create_job(rows(4)).wait()
    monkeypatch.setattr(
        FakeBackend,
        "get",
        lambda self, i: RemoteJob(provider_job_id=i, status=JobStatus.RUNNING),
    )
    assert job.refresh().status is JobStatus.SUCCEEDED


def test_an_unreachable_provider_is_an_error_and_not_a_status(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = client.create_job(rows(4))

    def unreachable(self: FakeBackend, identity: str) -> RemoteJob:
        raise Unavailable("no route")

    monkeypatch.setattr(FakeBackend, "get", unreachable)
    with pytest.raises(Unavailable):
        job.refresh()
    assert job.status is JobStatus.QUEUED
    assert client.get_job(job.id).status is JobStatus.QUEUED
    with pytest.raises(Unavailable):  # asked again for five minutes, then said
        job.wait()


def test_listing(client: Client, rows: Rows) -> None:
    done = client.create_job(rows(4), tags={"team": "cx"}).wait()
    open_one = client.create_job(rows(5), tags={"team": "ops"})
    assert [j.id for j in client.list_jobs()] == [open_one.id, done.id]
    assert [j.id for j in client.list_jobs(status="succeeded")] == [done.id]
    assert [j.id for j in client.list_jobs(status=["queued", JobStatus.RUNNING])] == [open_one.id]
    assert [j.id for j in client.list_jobs(tag="team=ops")] == [open_one.id]
    assert len(client.list_jobs(tag="team")) == 2
    assert client.list_jobs(provider="nobody") == []
    with pytest.raises(UsageError, match="not a status"):
        client.list_jobs(status="done")


def test_adopting_twice_is_one_job(client: Client, rows: Rows) -> None:
    job = client.create_job(rows(4))
    assert client.adopt_job("fake", str(job.provider_job_id)).id == job.id
    stranger = Client(
        home=client.home.parent / "other",
        clock=client.clock,
        config=Config(env={"FTSDK_PROVIDER": "fake"}),
        env={},
    )
    (stranger.home / "fake").mkdir(parents=True)
    for path in (client.home / "fake").iterdir():
        (stranger.home / "fake" / path.name).write_bytes(path.read_bytes())
    taken = stranger.adopt_job("fake", str(job.provider_job_id))
    assert taken.id != job.id
    assert taken.wait().result().chat("question number 1").text == "the answer is 7"


def test_unsupported_options_are_refused_by_name(client: Client, rows: Rows) -> None:
    with pytest.raises(Unsupported) as caught:
        client.plan(
            rows(4),
            provider="local",
            hyperparameters={"learning_rate_multiplier": 2, "beta": 0.1},
        )
    for name in ("learning_rate_multiplier", "beta"):
        assert name in str(caught.value)
    assert caught.value.submitted == "no"
    assert client.list_jobs() == []


def test_plan_shows_asked_and_sent(client: Client, rows: Rows) -> None:
    plan = client.plan(rows(4), hyperparameters={"epochs": 2})
    fields = {f.name: (f.asked, f.sent) for f in plan.fields}
    assert fields["epochs"] == (2.0, 2.0)
    assert fields["learning_rate"] == (None, 2e-4)
    assert plan.cost.usd == 0
    assert client.list_jobs() == []


def test_a_limit_and_an_unknown_price_close_the_backend(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsdk.types.cost import Cost

    assert client.create_job(rows(4), max_cost=0).status is JobStatus.QUEUED
    monkeypatch.setattr(FakeBackend, "estimate", lambda *_: Cost())
    with pytest.raises(BudgetError, match="is unknown"):
        client.create_job(rows(4), max_cost="5")
    monkeypatch.setattr(
        FakeBackend, "estimate", lambda *_: Cost(basis="estimated", low="4", high="6")
    )
    with pytest.raises(BudgetError, match="over the limit") as caught:
        client.create_job(rows(4), max_cost="5")
    assert caught.value.exit_code == 6
    assert client.create_job(rows(4), max_cost="6").status is JobStatus.QUEUED


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -0.1, True, float("nan")])
def test_a_bad_fraction(client: Client, rows: Rows, fraction: float) -> None:
    with pytest.raises(UsageError):
        client.create_job(rows(10), validation=fraction)


def test_the_split_is_deterministic(client: Client, rows: Rows) -> None:
    first = client.create_job(rows(40), validation=0.25, seed=3)
    second = client.create_job(iter(rows(40)), validation=0.25, seed=3)
    other = client.create_job(rows(40), validation=0.25, seed=4)
    kept = [j.snapshot.dataset["validation_kept"] for j in (first, second, other)]
    assert kept[0] == kept[1] != kept[2]


def test_module_functions_use_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    monkeypatch.setenv("FTSDK_PROVIDER", "fake")
    monkeypatch.setenv("FTSDK_MODEL", "m")
    job = ftsdk.create_job(rows(4))
    assert ftsdk.get_job(job.id).id == job.id
    assert [j.id for j in ftsdk.list_jobs()] == [job.id]


def test_the_asynchronous_client(home: Path, clock: ManualClock, rows: Rows) -> None:
    async def story() -> tuple[JobSnapshot, str, int]:
        config = Config(env={"FTSDK_PROVIDER": "fake", "FTSDK_MODEL": "m"})
        async with AsyncClient(home=home, clock=clock, config=config, env={}) as client:
            job = await client.create_job(rows(6))
            seen = [event async for event in job.stream()]
            model = await job.result()
            answer = await model.chat("question number 2")
            assert [j.id for j in await client.list_jobs()] == [job.id]
            return job.snapshot, answer.text, len(seen)

    snapshot, text, count = asyncio.run(story())
    assert snapshot.status is JobStatus.SUCCEEDED
    assert text == "the answer is 14"
    assert count == 7, "four statuses, and three steps: six rows in one batch, three epochs"


def test_a_cancelled_create_still_reaches_the_journal(
    home: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    begun, go_on = threading.Event(), threading.Event()
    real = FakeBackend.submit

    def slow(self: FakeBackend, request: Any) -> RemoteJob:
        begun.set()
        assert go_on.wait(10)
        return real(self, request)

    monkeypatch.setattr(FakeBackend, "submit", slow)

    async def story() -> list[JobStatus]:
        config = Config(env={"FTSDK_PROVIDER": "fake", "FTSDK_MODEL": "m"})
        async with AsyncClient(home=home, config=config, env={}) as client:
            task = asyncio.create_task(client.create_job(rows(6)))
            await asyncio.to_thread(begun.wait, 10)
            task.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            return [job.status for job in await client.list_jobs()]

    assert asyncio.run(story()) == [JobStatus.QUEUED]


def test_json_of_a_handle_has_no_backend(client: Client, rows: Rows) -> None:
    handle = client.create_job(rows(4)).wait().result()
    assert "door" not in handle.model_dump_json()
    assert ModelHandle.model_validate(json.loads(handle.model_dump_json())) == handle


def test_a_notebook_card_asks_nobody_and_never_raises(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = client.create_job(rows(4)).wait()
    assert "<svg" not in job._repr_html_()
    job.metrics()

    def asked(*_: Any, **__: Any) -> None:
        raise Unavailable("the provider was asked")

    for name in ("metrics", "get", "get_many", "events", "logs", "__init__"):
        monkeypatch.setattr(FakeBackend, name, asked)
    assert "<svg" in job._repr_html_()
    assert "succeeded" in job._repr_html_()
    again = client.get_job(job.id)
    assert "<svg" not in again._repr_html_()
    assert repr(again)
    assert "<svg" in AsyncFineTuneJob(job)._repr_html_()
