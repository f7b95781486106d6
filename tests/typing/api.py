"""The public face as a user writes it; never run, only read by the type checker."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

import ftsdk
from ftsdk import (
    AsyncClient,
    AsyncFineTuneJob,
    ChatAnswer,
    ChatStream,
    Checkpoint,
    Client,
    Cost,
    Event,
    FineTuneJob,
    FtsdkError,
    Hyperparameters,
    JobFailed,
    JobSnapshot,
    JobStatus,
    LoRA,
    MetricPoint,
    ModelHandle,
    Plan,
    Progress,
    RateLimited,
)


def create() -> FineTuneJob:
    job = ftsdk.create_job(
        dataset="train.jsonl",
        validation=0.1,
        model="smollm2-135m",
        provider="local",
        method="sft",
        adapter=LoRA(rank=16, alpha=32, quantize="nf4", target_modules=("q_proj", "v_proj")),
        hyperparameters=Hyperparameters(epochs=3, learning_rate=2e-4, batch_size=8),
        name="support-bot",
        seed=0,
        tags={"team": "cx"},
        max_cost="5.00",
        key="nightly",
        provider_options={"threads": 2},
    )
    assert_type(job, FineTuneJob)
    ftsdk.create_job(Path("train.jsonl"), adapter=None, hyperparameters={"epochs": 1})
    ftsdk.create_job("train.jsonl", epochs=3, learning_rate=2e-4, batch_size=8, schedule="cosine")
    ftsdk.create_job([{"messages": []}], max_cost=Decimal(5), validation="val.jsonl")
    ftsdk.create_job(rows(), adapter={"rank": 8}, on_upload=lambda sent, size: print(sent / size))
    return job


def rows() -> Iterator[dict[str, Any]]:
    yield {"messages": [{"role": "user", "content": "hello"}]}


def look(job: FineTuneJob) -> None:
    assert_type(job.id, str)
    assert_type(job.provider_job_id, str | None)
    assert_type(job.status, JobStatus)
    assert_type(job.progress, Progress | None)
    assert_type(job.cost, Cost)
    assert_type(job.cost.usd, Decimal | None)
    assert_type(job.snapshot, JobSnapshot)
    assert_type(job.refresh(), FineTuneJob)
    assert_type(job.wait(timeout=3600, on_event=print, progress=True), FineTuneJob)
    for event in job.stream():
        assert_type(event, Event)
    assert_type(job.events(), list[Event])
    assert_type(job.metrics(), list[MetricPoint])
    assert_type(job.checkpoints(), list[Checkpoint])
    assert_type(job.logs(tail=3), list[str])
    job.cancel().resume()


def use(job: FineTuneJob) -> str:
    try:
        model = job.result()
    except JobFailed as error:
        return "\n".join(error.log_tail)
    except RateLimited as error:
        assert_type(error.retry_after_s, float | None)
        return error.hint
    except FtsdkError as error:
        return f"{error.what} {error.where} {error.retryable} {error.submitted}"
    assert_type(model, ModelHandle)
    assert_type(model.download("out"), Path)
    stream = model.chat("hello", stream=True)
    assert_type(stream, ChatStream)
    assert_type(next(stream), str)
    assert_type(stream.answer, ChatAnswer)
    assert_type(model.chat("hello", on_text=print), ChatAnswer)
    answer = model.chat([{"role": "user", "content": "hello"}], max_tokens=10)
    assert_type(answer, ChatAnswer)
    for one in model.chat_many(["hello", [{"role": "user", "content": "hi"}]], concurrency=4):
        assert_type(one, ChatAnswer)
    for each in model.chat_many(["hello"], errors="return"):
        assert_type(each, ChatAnswer | FtsdkError)
    return answer.text


def many() -> None:
    assert_type(ftsdk.get_job("ftj_01"), FineTuneJob)
    assert_type(
        ftsdk.list_jobs(status="running", provider="local", tag="team=cx"), list[FineTuneJob]
    )
    assert_type(ftsdk.list_jobs(status=[JobStatus.RUNNING, "paused"]), list[FineTuneJob])
    assert_type(ftsdk.adopt_job("openai", "ftjob-1"), FineTuneJob)
    assert_type(ftsdk.reconcile(), list[FineTuneJob])
    assert_type(ftsdk.resolve("ftj_01", give_up=True), FineTuneJob)
    assert_type(ftsdk.plan("train.jsonl"), Plan)
    assert_type(ftsdk.validate("train.jsonl").ok, bool)
    with Client(profile="prod", home="elsewhere") as client:
        assert_type(client, Client)
        assert_type(client.create_job("train.jsonl"), FineTuneJob)


async def awaited() -> None:
    async with AsyncClient(profile="prod") as client:
        job = await client.create_job("train.jsonl", model="m", adapter=None)
        assert_type(job, AsyncFineTuneJob)
        assert_type(job.status, JobStatus)
        assert_type(await job.wait(timeout=5), AsyncFineTuneJob)
        async for event in job.stream():
            assert_type(event, Event)
        assert_type(await job.metrics(), list[MetricPoint])
        model = await job.result()
        assert_type(await model.chat("hello"), ChatAnswer)
        async for one in model.chat_many(["hello"]):
            assert_type(one, ChatAnswer)
        async for each in model.chat_many(["hello"], errors="return"):
            assert_type(each, ChatAnswer | FtsdkError)
        assert_type(await client.list_jobs(provider="local"), list[AsyncFineTuneJob])
        assert_type(await client.plan("train.jsonl"), Plan)
        # What is wrong must be seen: an argument that is not there, and one of the wrong type.
        await client.create_job("train.jsonl", modle="m")  # type: ignore[call-arg]  # the point
        await client.get_job(7)  # type: ignore[arg-type]  # the point


def wrong() -> None:
    ftsdk.create_job("train.jsonl", method="rlhf")  # type: ignore[arg-type]  # the point
    ftsdk.create_jobs("train.jsonl")  # type: ignore[attr-defined]  # the point
    ftsdk.LoRA(ranks=3)  # type: ignore[call-arg]  # the point


def leave_a_provider(rows: list[dict[str, Any]]) -> None:
    found = ftsdk.migrate(
        "openai",
        rows,
        to=["local", "together:Qwen/Qwen3-8B"],
        requests=300_000,
        margin=0.03,
        budget="20",
    )
    assert_type(found, ftsdk.Migration)
    for model in found.models:
        assert_type(model.chosen, str | None)
        assert_type(model.report, Path | None)
