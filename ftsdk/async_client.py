"""`AsyncClient`: the asynchronous API. Each method runs its synchronous counterpart in a thread.

Cancelling an awaited read abandons it. Cancelling a create, a deploy or a resume stops it while
nothing is journaled or sent. After that it runs to its end, so that a cancelled task never leaves an
unrecorded job, and the cancellation carries the job's id.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar, Unpack, overload

import anyio
import anyio.to_thread

from ftsdk.client import Client
from ftsdk.errors import FtsdkError
from ftsdk.jobs.html import JobList
from ftsdk.jobs.job import FineTuneJob
from ftsdk.session import SESSION_CHECKS, SessionOptions
from ftsdk.types.chat_stream import ChatStream
from ftsdk.types.cost import Cost
from ftsdk.types.events import Checkpoint, Event, Progress
from ftsdk.types.job import JobSnapshot
from ftsdk.types.model import ChatAnswer, Conversation, ModelHandle
from ftsdk.types.status import JobStatus
from ftsdk.util.cancellation import Cancellation
from ftsdk.util.iterators import close
from ftsdk.util.options import accepts_options

__all__ = ["AsyncChatStream", "AsyncClient", "AsyncFineTuneJob", "AsyncModelHandle"]


_P = ParamSpec("_P")
_Self = TypeVar("_Self")
_R = TypeVar("_R")
_T = TypeVar("_T")


async def _in_thread(function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    cancellation = Cancellation()
    call = cancellation.bind(functools.partial(function, *args, **kwargs))
    try:
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
    except anyio.get_cancelled_exc_class():
        cancellation.request()  # the abandoned thread ends at its next check
        raise


async def _to_the_end(function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Run to the end even if the awaiting task is cancelled; the cancellation is raised afterwards."""
    call = functools.partial(function, *args, **kwargs)
    return await _cancellable(call, Cancellation(is_too_late=True))


async def _until_journaled(function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Run to the end, unless the task is cancelled before a job or a lease is journaled or sent.

    A later cancellation is raised when the call has ended. It has the attribute `job_id`, and a note.
    """
    return await _cancellable(functools.partial(function, *args, **kwargs), Cancellation())


async def _cancellable(call: Callable[[], _R], cancellation: Cancellation) -> _R:
    call = cancellation.bind(call)
    if not _on_asyncio():
        return await _cancellable_by_scope(call, cancellation)
    # anyio's shield does not protect against `Task.cancel()`, so the thread gets its own task.
    work = asyncio.ensure_future(anyio.to_thread.run_sync(call))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            # A cancelled scope of anyio cancels in every cycle of the loop: once is enough.
            with anyio.CancelScope(shield=cancelled is not None):
                await asyncio.shield(work)
        except asyncio.CancelledError as error:
            cancelled = error
            if cancellation.request():
                work.add_done_callback(_ignore_outcome)
                raise
        except BaseException:  # noqa: BLE001  # the work's own error, raised by result() below
            break
    if cancelled is not None:
        _add_job(cancelled, cancellation)
        raise cancelled from (None if work.cancelled() else work.exception())
    return work.result()


def _ignore_outcome(work: asyncio.Future[Any]) -> None:
    """Take the exception of an abandoned call, which the event loop would log otherwise."""
    if not work.cancelled():
        work.exception()


async def _cancellable_by_scope(call: Callable[[], _R], cancellation: Cancellation) -> _R:
    """As `_cancellable`, on an event loop other than asyncio's."""
    outcome: list[_R] = []
    failure: BaseException | None = None
    shield = anyio.CancelScope(shield=True)

    async def request_when_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            if cancellation.request():
                shield.cancel()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(request_when_cancelled)
            with shield:
                try:
                    outcome.append(await anyio.to_thread.run_sync(call, abandon_on_cancel=True))
                except Exception as error:  # noqa: BLE001  # raised below, outside of the group
                    failure = error
            group.cancel_scope.cancel()
    except anyio.get_cancelled_exc_class() as cancelled:
        _add_job(cancelled, cancellation)
        raise
    if failure is not None:
        raise failure
    return outcome[0]


def _add_job(cancelled: BaseException, cancellation: Cancellation) -> None:
    """Add the job that a cancellation came too late for, if any, to the exception."""
    job_id = cancellation.job_id
    cancelled.job_id = job_id  # type: ignore[attr-defined]  # an exception takes attributes
    if job_id is not None:
        cancelled.add_note(
            f"the cancellation came too late for job {job_id}, which is journaled and may have been "
            f"sent: `client.get_job({job_id!r})` returns it"
        )


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _unchanged(value: _R) -> _R:
    return value


def _awaited(
    source: Callable[Concatenate[_Self, _P], _R],
    result: Callable[[_R], _T],
    *,
    run: Callable[..., Coroutine[Any, Any, Any]] = _in_thread,
) -> Callable[Concatenate[Any, _P], Coroutine[Any, Any, _T]]:
    """Return the asynchronous form of a method, with its name, signature and documentation."""

    @functools.wraps(source)
    async def method(self: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        bound: Callable[_P, _R] = getattr(self._sync, source.__name__)
        return result(await run(bound, *args, **kwargs))

    method.__signature__ = inspect.signature(source)  # type: ignore[attr-defined]  # for help()
    return method


def _next(iterator: Iterator[_T]) -> _T | None:
    return next(iterator, None)


class AsyncChatStream:
    """The pieces of an answer, for `async for`. See `ChatStream`."""

    def __init__(self, stream: ChatStream) -> None:
        self._sync = stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        piece = await _in_thread(_next, self._sync)
        if piece is None:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        """End the answer at its next piece. See `ChatStream.close`."""
        self._sync.close()

    async def answer(self) -> ChatAnswer:
        """Return the whole answer once it has ended. Raises the error of the call."""
        return await _in_thread(lambda: self._sync.answer)


class AsyncModelHandle:
    """A `ModelHandle` with asynchronous methods and the same attributes."""

    def __init__(self, handle: ModelHandle) -> None:
        self._sync = handle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sync, name)

    def __repr__(self) -> str:
        return f"Async{self._sync!r}"

    @overload
    async def chat(
        self, messages: Conversation, *, stream: Literal[False] | None = False, **options: Any
    ) -> ChatAnswer: ...

    @overload
    async def chat(
        self, messages: Conversation, *, stream: Literal[True], **options: Any
    ) -> AsyncChatStream: ...

    async def chat(
        self, messages: Conversation, *, stream: bool | None = False, **options: Any
    ) -> ChatAnswer | AsyncChatStream:
        """Return the answer, or with `stream=True` its pieces. See `ModelHandle.chat`."""
        if stream:
            return AsyncChatStream(self._sync.chat(messages, stream=True, **options))
        return await _in_thread(functools.partial(self._sync.chat, messages, **options))

    @overload
    def chat_many(
        self,
        conversations: Iterable[Conversation],
        *,
        errors: Literal["raise"] = "raise",
        **options: Any,
    ) -> AsyncIterator[ChatAnswer]: ...

    @overload
    def chat_many(
        self,
        conversations: Iterable[Conversation],
        *,
        errors: Literal["return"],
        **options: Any,
    ) -> AsyncIterator[ChatAnswer | FtsdkError]: ...

    async def chat_many(
        self, conversations: Iterable[Conversation], **options: Any
    ) -> AsyncIterator[ChatAnswer | FtsdkError]:
        """Yield the answers to many conversations, in order. See `ModelHandle.chat_many`."""
        iterator = self._sync.chat_many(conversations, **options)
        try:
            while (answer := await _to_the_end(_next, iterator)) is not None:
                yield answer
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(close, iterator)

    download = _awaited(ModelHandle.download, _unchanged)
    export = _awaited(ModelHandle.export, _unchanged, run=_to_the_end)
    push = _awaited(ModelHandle.push, _unchanged, run=_to_the_end)
    check_portability = _awaited(ModelHandle.check_portability, _unchanged)
    undeploy = _awaited(ModelHandle.undeploy, _unchanged, run=_to_the_end)

    async def deploy(
        self, *, hours: float | None = None, options: Mapping[str, Any] | None = None
    ) -> AsyncModelHandle:
        """Deploy the model for `hours` and return its new handle. See `FineTuneJob.deploy`."""
        return AsyncModelHandle(
            await _until_journaled(self._sync.deploy, hours=hours, options=options)
        )

    async def wait(
        self,
        timeout: float | None = None,  # noqa: ASYNC109  # the same name as the synchronous method
    ) -> AsyncModelHandle:
        """Wait until the model can be called, and return its new handle."""
        return AsyncModelHandle(await _in_thread(self._sync.wait, timeout))


class AsyncCheckpoint:
    """A `Checkpoint` with an asynchronous `model` and the same attributes."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._sync = checkpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sync, name)

    def __repr__(self) -> str:
        return f"Async{self._sync!r}"

    @property
    def record(self) -> Checkpoint:
        """The checkpoint as data."""
        return self._sync

    model = _awaited(Checkpoint.model, AsyncModelHandle)


def _checkpoints(found: list[Checkpoint]) -> list[AsyncCheckpoint]:
    return [AsyncCheckpoint(one) for one in found]


class AsyncFineTuneJob:
    """A `FineTuneJob` with asynchronous methods."""

    def __init__(self, job: FineTuneJob) -> None:
        self._sync = job

    def __repr__(self) -> str:
        return f"<Async{repr(self._sync)[1:]}"

    def _repr_html_(self) -> str:
        return self._sync._repr_html_()

    @property
    def snapshot(self) -> JobSnapshot:
        """Everything known about the job, as one frozen record."""
        return self._sync.snapshot

    @property
    def id(self) -> str:
        """The job's id in ftsdk."""
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
        """The base model, as requested."""
        return self._sync.model

    @property
    def status(self) -> JobStatus:
        """The status at the last refresh."""
        return self._sync.status

    @property
    def raw_status(self) -> str:
        """The provider's own status."""
        return self._sync.raw_status

    @property
    def progress(self) -> Progress | None:
        """The progress of training at the last refresh."""
        return self._sync.progress

    @property
    def cost(self) -> Cost:
        """The cost as far as it is known, with its basis."""
        return self._sync.cost

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags given at creation."""
        return self._sync.tags

    @property
    def is_final(self) -> bool:
        """True when the job has ended."""
        return self._sync.is_final

    @property
    def needs_decision(self) -> bool:
        """True when the create call got no answer, and a search at the provider did not find the job."""
        return self._sync.needs_decision

    async def refresh(self) -> AsyncFineTuneJob:
        """Read the job from the provider and return this handle."""
        await _in_thread(self._sync.refresh)
        return self

    async def wait(
        self,
        timeout: float | None = None,  # noqa: ASYNC109  # the same name as the synchronous method
        on_event: Callable[[Event], object] | None = None,
        *,
        progress: bool | None = None,
    ) -> AsyncFineTuneJob:
        """Wait until the job ends; `on_event` may be a function or a coroutine function."""
        waited = self._sync._waited(timeout, on_event is not None, progress)
        while (event := await _in_thread(_next, waited)) is not None:
            if on_event is not None:
                outcome = on_event(event)
                if inspect.isawaitable(outcome):
                    await outcome
        return self

    async def stream(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # the same name as the synchronous method
        events: bool = True,
    ) -> AsyncIterator[Event]:
        """Yield the job's events until it ends. Raises like `FineTuneJob.wait`."""
        iterator = self._sync.stream(timeout=timeout, events=events)
        while (event := await _in_thread(_next, iterator)) is not None:
            yield event

    async def cancel(self) -> AsyncFineTuneJob:
        """Request cancellation and return this handle."""
        await _to_the_end(self._sync.cancel)
        return self

    async def pause(self) -> AsyncFineTuneJob:
        """Request a pause and return this handle; `resume` continues the job."""
        await _to_the_end(self._sync.pause)
        return self

    async def delete(self) -> AsyncFineTuneJob:
        """Delete the job's result at its provider; the job stays in the journal."""
        await _to_the_end(self._sync.delete)
        return self

    async def resume(self) -> AsyncFineTuneJob:
        """Resume a paused, interrupted, failed or cancelled job, and return this handle."""
        await _until_journaled(self._sync.resume)
        return self

    events = _awaited(FineTuneJob.events, _unchanged)
    metrics = _awaited(FineTuneJob.metrics, _unchanged)
    checkpoints = _awaited(FineTuneJob.checkpoints, _checkpoints)
    logs = _awaited(FineTuneJob.logs, _unchanged)
    result = _awaited(FineTuneJob.result, AsyncModelHandle)
    callable_result = _awaited(FineTuneJob.callable_result, AsyncModelHandle)
    export = _awaited(FineTuneJob.export, _unchanged, run=_to_the_end)
    push = _awaited(FineTuneJob.push, _unchanged, run=_to_the_end)
    check_portability = _awaited(FineTuneJob.check_portability, _unchanged)
    deploy = _awaited(FineTuneJob.deploy, AsyncModelHandle, run=_until_journaled)

    async def undeploy(self) -> AsyncFineTuneJob:
        """End the deployment of the model and return this handle."""
        await _to_the_end(self._sync.undeploy)
        return self


def _jobs(found: list[FineTuneJob]) -> list[AsyncFineTuneJob]:
    return JobList(AsyncFineTuneJob(job) for job in found)


class AsyncClient:
    """The asynchronous `Client`; it takes the same arguments."""

    @accepts_options(SessionOptions, checks=SESSION_CHECKS)
    def __init__(self, profile: str | None = None, **options: Unpack[SessionOptions]) -> None:
        self._sync = Client(profile, **options)
        self.session = self._sync.session

    create_job = _awaited(Client.create_job, AsyncFineTuneJob, run=_until_journaled)
    estimate = _awaited(Client.estimate, _unchanged)
    plan = _awaited(Client.plan, _unchanged)
    get_job = _awaited(Client.get_job, AsyncFineTuneJob)
    list_jobs = _awaited(Client.list_jobs, _jobs)
    adopt_job = _awaited(Client.adopt_job, AsyncFineTuneJob, run=_to_the_end)
    reconcile = _awaited(Client.reconcile, _jobs, run=_to_the_end)
    resolve = _awaited(Client.resolve, AsyncFineTuneJob, run=_until_journaled)
    inventory = _awaited(Client.inventory, _unchanged, run=_to_the_end)
    capture = _awaited(Client.capture, _unchanged, run=_to_the_end)
    evaluate = _awaited(Client.evaluate, _unchanged, run=_to_the_end)
    migrate = _awaited(Client.migrate, _unchanged, run=_to_the_end)
    validate = _awaited(Client.validate, _unchanged)
    inspect = _awaited(Client.inspect, _unchanged)

    async def close(self) -> None:
        """Close the journal and all connections; jobs continue."""
        await _in_thread(self._sync.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
