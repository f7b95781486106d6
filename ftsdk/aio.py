"""The same names, awaited: each verb runs the synchronous one in a worker thread.

Cancelling an awaited read abandons it. A create, once begun, is shielded until the journal has its
answer, so that a cancelled task never leaves a paid job unknown.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Self

import anyio
import anyio.to_thread

from ftsdk.client import Client
from ftsdk.job import FineTuneJob
from ftsdk.records import (
    ChatAnswer,
    Checkpoint,
    Cost,
    Event,
    JobSnapshot,
    JobStatus,
    MetricPoint,
    ModelHandle,
    Progress,
)

__all__ = ["AsyncClient", "AsyncFineTuneJob", "AsyncModelHandle"]


async def _in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    call = functools.partial(function, *args, **kwargs)
    return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)


async def _shielded(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with anyio.CancelScope(shield=True):
        return await anyio.to_thread.run_sync(functools.partial(function, *args, **kwargs))


def _twin(
    source: Callable[..., Any],
    *,
    result: Callable[[Any], Any] = lambda value: value,
    shield: bool = False,
) -> Any:
    """The awaited form of a synchronous method, with its name, signature and documentation."""
    run = _shielded if shield else _in_thread

    @functools.wraps(source)
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return result(await run(getattr(self._sync, source.__name__), *args, **kwargs))

    method.__signature__ = inspect.signature(source)  # type: ignore[attr-defined]  # for help()
    return method


class AsyncModelHandle:
    """A `ModelHandle` whose `chat` and `download` are awaited; the facts are its attributes."""

    def __init__(self, handle: ModelHandle) -> None:
        self._sync = handle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sync, name)

    def __repr__(self) -> str:
        return f"Async{self._sync!r}"

    chat: Callable[..., Awaitable[ChatAnswer]] = _twin(ModelHandle.chat)
    download: Callable[..., Awaitable[Any]] = _twin(ModelHandle.download)


class AsyncFineTuneJob:
    """A `FineTuneJob` whose verbs are awaited."""

    def __init__(self, job: FineTuneJob) -> None:
        self._sync = job

    def __repr__(self) -> str:
        return f"<Async{repr(self._sync)[1:]}"

    def _repr_html_(self) -> str:
        return self._sync._repr_html_()

    @property
    def snapshot(self) -> JobSnapshot:
        """Everything known, as one frozen record."""
        return self._sync.snapshot

    @property
    def id(self) -> str:
        """Our id."""
        return self._sync.id

    @property
    def name(self) -> str | None:
        """The name given at creation."""
        return self._sync.name

    @property
    def provider(self) -> str:
        """The backend's name."""
        return self._sync.provider

    @property
    def provider_job_id(self) -> str | None:
        """The provider's id; None until it accepted the job."""
        return self._sync.provider_job_id

    @property
    def model(self) -> str:
        """The base model, as asked."""
        return self._sync.model

    @property
    def status(self) -> JobStatus:
        """Where it stood at the last refresh."""
        return self._sync.status

    @property
    def raw_status(self) -> str:
        """The provider's own word."""
        return self._sync.raw_status

    @property
    def progress(self) -> Progress | None:
        """How far training was at the last refresh."""
        return self._sync.progress

    @property
    def cost(self) -> Cost:
        """What is known of the cost, with its basis."""
        return self._sync.cost

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags given at creation."""
        return self._sync.tags

    @property
    def is_final(self) -> bool:
        """True when it has ended."""
        return self._sync.is_final

    async def refresh(self) -> AsyncFineTuneJob:
        """Ask the provider and return this handle."""
        await _in_thread(self._sync.refresh)
        return self

    async def wait(
        self,
        timeout: float | None = None,  # noqa: ASYNC109  # the same name as the synchronous twin
        on_event: Callable[[Event], object] | None = None,
    ) -> AsyncFineTuneJob:
        """Wait until the job ends; `on_event` is called (and awaited if it wants) in this task."""
        async for event in self.stream(timeout=timeout, events=on_event is not None):
            if on_event is not None:
                outcome = on_event(event)
                if inspect.isawaitable(outcome):
                    await outcome
        return self

    async def stream(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # the same name as the synchronous twin
        events: bool = True,
    ) -> AsyncIterator[Event]:
        """The job's events as they come, until it ends. Raises like `FineTuneJob.wait`."""
        iterator = self._sync.stream(timeout=timeout, events=events)
        end = object()
        while True:
            event = await _in_thread(next, iterator, end)
            if event is end:
                return
            yield event

    async def cancel(self) -> AsyncFineTuneJob:
        """Ask the job to stop."""
        await _shielded(self._sync.cancel)
        return self

    async def resume(self) -> AsyncFineTuneJob:
        """Let a job go on, where the backend can."""
        await _shielded(self._sync.resume)
        return self

    events: Callable[..., Awaitable[list[Event]]] = _twin(FineTuneJob.events)
    metrics: Callable[..., Awaitable[list[MetricPoint]]] = _twin(FineTuneJob.metrics)
    checkpoints: Callable[..., Awaitable[list[Checkpoint]]] = _twin(FineTuneJob.checkpoints)
    logs: Callable[..., Awaitable[list[str]]] = _twin(FineTuneJob.logs)
    result: Callable[..., Awaitable[AsyncModelHandle]] = _twin(
        FineTuneJob.result, result=AsyncModelHandle
    )


def _jobs(found: list[FineTuneJob]) -> list[AsyncFineTuneJob]:
    return [AsyncFineTuneJob(job) for job in found]


class AsyncClient:
    """`Client`, awaited; takes the same arguments."""

    @functools.wraps(Client.__init__)
    def __init__(self, profile: str | None = None, **options: Any) -> None:
        self._sync = Client(profile, **options)

    create_job: Callable[..., Awaitable[AsyncFineTuneJob]] = _twin(
        Client.create_job, result=AsyncFineTuneJob, shield=True
    )
    plan: Callable[..., Awaitable[Any]] = _twin(Client.plan)
    get_job: Callable[..., Awaitable[AsyncFineTuneJob]] = _twin(
        Client.get_job, result=AsyncFineTuneJob
    )
    list_jobs: Callable[..., Awaitable[list[AsyncFineTuneJob]]] = _twin(
        Client.list_jobs, result=_jobs
    )
    adopt_job: Callable[..., Awaitable[AsyncFineTuneJob]] = _twin(
        Client.adopt_job, result=AsyncFineTuneJob, shield=True
    )
    reconcile: Callable[..., Awaitable[list[AsyncFineTuneJob]]] = _twin(
        Client.reconcile, result=_jobs, shield=True
    )
    resolve: Callable[..., Awaitable[AsyncFineTuneJob]] = _twin(
        Client.resolve, result=AsyncFineTuneJob, shield=True
    )
    validate: Callable[..., Awaitable[Any]] = _twin(Client.validate)

    async def close(self) -> None:
        """Close the journal; jobs go on."""
        await _in_thread(self._sync.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
