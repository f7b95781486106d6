"""The model that a job produced: chats with it, its weights, its deployment."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol, Self, overload

from pydantic import Field, PrivateAttr

from ftsdk.errors import FtsdkError, NotReady, StoreError, UsageError
from ftsdk.types.answer import ChatAnswer, ChatChoice
from ftsdk.types.chat import ChatOutcome, ChatRequest
from ftsdk.types.chat_stream import ChatStream
from ftsdk.types.cost import Cost
from ftsdk.types.export import Export, ExportTarget
from ftsdk.types.portability import Portability
from ftsdk.types.pushed import Pushed
from ftsdk.types.record import Record
from ftsdk.util import card
from ftsdk.util.arguments import FLAG, FUNCTION, MAPPING, NUMBER, PATH, Check, checked, is_text
from ftsdk.util.iterators import closed_after

__all__ = ["ChatAnswer", "ChatChoice", "Conversation", "ModelHandle", "ModelKind"]


class ModelKind(StrEnum):
    """The form of a result."""

    HOSTED = "hosted"
    NEEDS_DEPLOYMENT = "needs_deployment"
    ADAPTER = "adapter"
    MERGED = "merged"


class _Backend(Protocol):
    """What a handle needs from its backend."""

    def chat(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer: ...

    def chat_many(
        self,
        handle: ModelHandle,
        requests: Iterable[ChatRequest],
        *,
        concurrency: int = 8,
        on_outcome: Callable[[ChatOutcome], None] | None = None,
    ) -> Iterator[ChatOutcome]: ...

    def download(self, handle: ModelHandle, folder: Path) -> Path: ...

    def download_merged(self, handle: ModelHandle, folder: Path) -> Path: ...


class _Job(Protocol):
    """What a handle needs from the job that made the model."""

    @property
    def id(self) -> str: ...

    def deploy(
        self, *, hours: float | None = None, options: Mapping[str, Any] | None = None
    ) -> ModelHandle: ...

    def undeploy(self) -> Any: ...

    @property
    def export(self) -> Callable[..., Export]: ...

    @property
    def push(self) -> Callable[..., Pushed]: ...

    def check_portability(self, *, base_id: str | None = None) -> tuple[Portability, ...]: ...

    def callable_result(self, timeout: float | None = None) -> ModelHandle: ...


def _is_conversation(value: Any) -> bool:
    return is_text(value) or (
        isinstance(value, list | tuple) and all(isinstance(one, Mapping) for one in value)
    )


_MESSAGES = Check("text, or a list of messages", _is_conversation)


Conversation = str | Sequence[Mapping[str, Any]]
"""A text, which is one message of the user, or the messages of a conversation."""

_CONVERSATIONS = Check(
    "conversations: texts, or lists of messages",
    lambda v: isinstance(v, Iterable) and not isinstance(v, str | bytes | Mapping),
)
_AT_LEAST_ONE = Check(
    "a number of 1 or more",
    lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 1,
)
_ERRORS = Check('"raise" or "return"', lambda v: v in ("raise", "return"))


class ModelHandle(Record):
    """A model that a job produced: its form, its location, and whether it can be called now.

    A handle exists only once the provider has the model. `callable_now` means that a call would be
    answered, `is_starting` that a deployment is starting. A handle from `job.result()` is bound to
    its backend and its job, so its methods work; one read from JSON or a pickle is only data.
    """

    kind: ModelKind
    provider: str
    id: str
    base_model: str
    base_revision: str | None = None
    chat_template_sha256: str | None = None
    adapter: Mapping[str, Any] | None = None
    path: Path | None = None
    size_bytes: int | None = None
    callable_now: bool = False
    is_starting: bool = False
    running_cost: Cost = Field(default_factory=Cost)
    retires_on: dt.date | None = None
    job_id: str | None = None
    parent_job_id: str | None = None
    raw: Mapping[str, Any] = Field(default_factory=dict)

    _backend: _Backend | None = PrivateAttr(default=None)
    _job: _Job | None = PrivateAttr(default=None)

    def bound_to(self, backend: _Backend) -> Self:
        """Return a copy whose `chat` and `download` use `backend`."""
        copy = self.model_copy()
        copy._backend = backend
        return copy

    def made_by(self, job: _Job) -> Self:
        """Return a copy with the job that made the model, which `deploy` and `wait` use."""
        copy = self.model_copy(update={"job_id": job.id})
        copy._job = job
        return copy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ModelHandle):
            return NotImplemented
        return self.model_dump() == other.model_dump()  # the data, not the binding

    def __hash__(self) -> int:
        return hash((self.provider, self.id))

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        state["__pydantic_private__"] = {"_backend": None, "_job": None}
        return state

    def _bound_backend(self) -> _Backend:
        return self._backend or self._unbound()

    def _unbound(self) -> Any:
        raise NotReady(
            "This model handle is not bound to a backend; it is only data",
            where=f"model {self.id}",
            hint=f"get it from the job: ftsdk.get_job({self.job_id or 'id'!r}).result()",
            job_id=self.job_id,
        )

    @overload
    def chat(
        self,
        /,
        messages: Conversation,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        stream: Literal[False] | None = False,
        on_text: Callable[[str], object] | None = None,
        **options: Any,
    ) -> ChatAnswer: ...

    @overload
    def chat(
        self,
        /,
        messages: Conversation,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        stream: Literal[True],
        on_text: None = None,
        **options: Any,
    ) -> ChatStream: ...

    @checked(messages=_MESSAGES, on_text=FUNCTION, stream=FLAG)
    def chat(
        self,
        /,
        messages: Conversation,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        stream: bool | None = False,
        on_text: Callable[[str], object] | None = None,
        **options: Any,
    ) -> ChatAnswer | ChatStream:
        """Send messages to the model and return its answer. A string is one user message.

        `on_text` is called with each piece of the text as it comes. With `stream=True` an iterator
        over the pieces is returned at once; its `answer` is the whole one. A provider that does not
        stream gives one piece.

        Raises `NotReady` when the model cannot be called now; the error's hint says what to do.
        """
        backend, asked = self._bound_backend(), _messages(messages)
        settings = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed, **options}
        if stream:
            if on_text is not None:
                raise UsageError(
                    "stream=True and on_text= exclude each other",
                    where="chat",
                    hint="iterate over the stream, or give on_text alone",
                    submitted="no",
                )
            return ChatStream(lambda put: backend.chat(self, asked, {**settings, "on_text": put}))
        if on_text is not None:
            settings["on_text"] = on_text
        return backend.chat(self, asked, settings)

    @overload
    def chat_many(
        self,
        conversations: Iterable[Conversation],
        *,
        concurrency: int = 8,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        errors: Literal["raise"] = "raise",
        **options: Any,
    ) -> Iterator[ChatAnswer]: ...

    @overload
    def chat_many(
        self,
        conversations: Iterable[Conversation],
        *,
        concurrency: int = 8,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        errors: Literal["return"],
        **options: Any,
    ) -> Iterator[ChatAnswer | FtsdkError]: ...

    @checked(conversations=_CONVERSATIONS, concurrency=_AT_LEAST_ONE, errors=_ERRORS)
    def chat_many(
        self,
        conversations: Iterable[Conversation],
        *,
        concurrency: int = 8,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        errors: Literal["raise", "return"] = "raise",
        **options: Any,
    ) -> Iterator[ChatAnswer | FtsdkError]:
        """Answer many conversations, up to `concurrency` at once, and yield the answers in order.

        A conversation is a text or a list of messages; it is taken from the iterable when its turn
        comes. The rate limits of the provider are respected. A request that was refused for its rate or
        got no answer is sent again (`attempts` counts), one that was answered never. With
        `errors="return"` you get the error of a conversation in its place; with `"raise"` the first error
        is raised after the answers before it. An error that all would get, such as a wrong key, is always
        raised. Requests under way are finished first.
        """
        settings = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed, **options}
        outcomes = self._bound_backend().chat_many(
            self, _requests(conversations, settings), concurrency=concurrency
        )
        return _in_order(outcomes, errors)

    @checked(folder=PATH, merged=FLAG)
    def download(self, folder: str | Path, *, merged: bool = False) -> Path:
        """Copy the weights into `folder` (created if absent, refused if it has other files).

        With `merged` the provider merges the adapter into its base first, where it can. A download that
        was interrupted goes on when it is called again.

        Raises `StoreError` when it cannot be written, `Unsupported` where the provider does not merge.
        """
        backend = self._bound_backend()
        try:
            return (backend.download_merged if merged else backend.download)(self, Path(folder))
        except OSError as error:
            raise StoreError(
                f"The weights cannot be written: {error.strerror or error}",
                where=str(folder),
                hint="give a folder that can be written and has space",
                job_id=self.job_id,
            ) from error

    @checked(hours=NUMBER, options=MAPPING)
    def deploy(
        self, *, hours: float | None = None, options: Mapping[str, Any] | None = None
    ) -> ModelHandle:
        """Deploy the model for `hours` and return its new handle. See `FineTuneJob.deploy`."""
        return (self._job or self._unbound()).deploy(hours=hours, options=options)

    @checked(timeout=NUMBER)
    def wait(self, timeout: float | None = None) -> ModelHandle:
        """Wait until the model can be called and return its new handle; `timeout` in seconds.

        See `FineTuneJob.callable_result`.
        """
        return (self._job or self._unbound()).callable_result(timeout=timeout)

    def export(self, /, target: ExportTarget, folder: str | Path, **options: Any) -> Export:
        """Write the model in another form, load it again and compare. See `FineTuneJob.export`."""
        return (self._job or self._unbound()).export(target, folder, **options)

    def push(self, /, repo: str, **options: Any) -> Pushed:
        """Export the model and push it to a repository of the hub. See `FineTuneJob.push`."""
        return (self._job or self._unbound()).push(repo, **options)

    def check_portability(self, *, base_id: str | None = None) -> tuple[Portability, ...]:
        """Where the model can be used. See `FineTuneJob.check_portability`."""
        return (self._job or self._unbound()).check_portability(base_id=base_id)

    def undeploy(self) -> None:
        """End the deployment now, and with it its cost."""
        (self._job or self._unbound()).undeploy()

    def _repr_html_(self) -> str:
        """Return a card for notebooks: what the model is, whether it answers now, when it ends."""
        state = "ready" if self.callable_now else "starting" if self.is_starting else "not callable"
        adapter = ", ".join(f"{k} {v}" for k, v in (self.adapter or {}).items() if v is not None)
        facts = [
            ("base", self.base_model),
            ("adapter", adapter),
            ("folder", self.path or ""),
            ("ends on", self.retires_on or ""),
            ("costs now", self.running_cost if self.running_cost.high is not None else ""),
            ("use", 'model.chat("…")' if self.callable_now else "model.deploy()"),
        ]
        return card.card(
            card.head(f"{self.kind.value.replace('_', ' ')} model at {self.provider}", state),
            card.table(("", ""), [fact for fact in facts if fact[1] != ""]),
            card.line([self.id], "id"),
        )


def _messages(conversation: Conversation) -> Sequence[Mapping[str, Any]]:
    if isinstance(conversation, str):
        return [{"role": "user", "content": conversation}]
    return conversation


def _requests(
    conversations: Iterable[Conversation], options: Mapping[str, Any]
) -> Iterator[ChatRequest]:
    """Yield a request for each conversation, with its position as the id."""
    for number, conversation in enumerate(conversations):
        if not _is_conversation(conversation):
            raise UsageError(
                f"Conversation {number + 1} is neither a text nor a list of messages",
                where="chat_many",
                hint='give "hello", or [{"role": "user", "content": "hello"}]',
            )
        yield ChatRequest(str(number), tuple(_messages(conversation)), options)


def _in_order(outcomes: Iterator[ChatOutcome], errors: str) -> Iterator[ChatAnswer | FtsdkError]:
    """Yield answers in the order of their requests; one that comes early is kept until its turn."""
    early: dict[int, ChatOutcome] = {}
    due = 0
    with closed_after(outcomes):
        for outcome in outcomes:
            early[int(outcome.id)] = outcome
            while (next_one := early.pop(due, None)) is not None:
                due += 1
                if next_one.answer is not None:
                    yield next_one.answer
                elif next_one.error is not None and errors == "return":
                    yield next_one.error
                elif next_one.error is not None:
                    raise next_one.error
