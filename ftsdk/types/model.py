"""The model that a job produced, and the answer of a chat with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self

from pydantic import Field, PrivateAttr

from ftsdk.errors import NotReady, StoreError
from ftsdk.types.cost import Cost
from ftsdk.types.record import Record
from ftsdk.util.arguments import MAPPING, NUMBER, PATH, Check, checked, is_text

__all__ = ["ChatAnswer", "ChatChoice", "ModelHandle", "ModelKind"]


class ChatChoice(Record):
    """One of the answers to a request, as the provider gave it.

    `message` has the tool calls with their arguments as the text that the model wrote. `refusal` is
    set where the model declined to answer; `logprobs` where they were requested.
    """

    text: str
    message: Mapping[str, Any]
    finish_reason: str | None = None
    refusal: str | None = None
    logprobs: Mapping[str, Any] | None = None


class ChatAnswer(Record):
    """A model's answer: the first choice, all of them in `choices`, and the response in `raw`.

    `usage` counts tokens; a nested count has a name with a dot, such as
    `prompt_tokens_details.cached_tokens`. `model` and `fingerprint` are what the provider says
    answered. `latency_s` is the time from the request to the whole answer, in seconds.
    """

    text: str
    message: Mapping[str, Any]
    usage: Mapping[str, int] = Field(default_factory=dict)
    finish_reason: str | None = None
    refusal: str | None = None
    choices: tuple[ChatChoice, ...] = ()
    model: str | None = None
    fingerprint: str | None = None
    latency_s: float | None = None
    raw: Mapping[str, Any] = Field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


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

    def download(self, handle: ModelHandle, folder: Path) -> Path: ...


class _Job(Protocol):
    """What a handle needs from the job that made the model."""

    @property
    def id(self) -> str: ...

    def deploy(
        self, *, hours: float | None = None, options: Mapping[str, Any] | None = None
    ) -> ModelHandle: ...

    def undeploy(self) -> Any: ...

    def callable_result(self, timeout: float | None = None) -> ModelHandle: ...


_MESSAGES = Check(
    "text, or a list of messages",
    lambda v: (
        is_text(v)
        or (isinstance(v, list | tuple) and all(isinstance(message, Mapping) for message in v))
    ),
)


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

    @checked(messages=_MESSAGES)
    def chat(
        self,
        /,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        **options: Any,
    ) -> ChatAnswer:
        """Send messages to the model and return its answer. A string is one user message.

        Raises `NotReady` when the model cannot be called now; the error's hint says what to do.
        """
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        settings = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed, **options}
        return self._bound_backend().chat(self, messages, settings)

    @checked(folder=PATH)
    def download(self, folder: str | Path) -> Path:
        """Copy the weights into `folder` (created if absent, refused if it has other files).

        Raises `StoreError` when it cannot be written.
        """
        try:
            return self._bound_backend().download(self, Path(folder))
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

    def undeploy(self) -> None:
        """End the deployment now, and with it its cost."""
        (self._job or self._unbound()).undeploy()
