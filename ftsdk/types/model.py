"""The model that a job made, and the answer of a chat with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self

from pydantic import Field, PrivateAttr

from ftsdk.errors import NotReady
from ftsdk.types.cost import Cost
from ftsdk.types.record import Record

__all__ = ["ChatAnswer", "ModelHandle", "ModelKind"]


class ChatAnswer(Record):
    """What a model said. `usage` counts tokens; `raw` is the provider's own answer."""

    text: str
    message: Mapping[str, Any]
    usage: Mapping[str, int] = Field(default_factory=dict)
    finish_reason: str | None = None
    raw: Mapping[str, Any] = Field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


class ModelKind(StrEnum):
    """What a result is."""

    HOSTED = "hosted"
    NEEDS_DEPLOYMENT = "needs_deployment"
    ADAPTER = "adapter"
    MERGED = "merged"


class _Gateway(Protocol):
    """The backend's side of a handle."""

    def chat(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer: ...

    def download(self, handle: ModelHandle, folder: Path) -> Path: ...


class _Owner(Protocol):
    """The job's side of a handle."""

    @property
    def id(self) -> str: ...

    def deploy(
        self, *, hours: float | None = None, options: Mapping[str, Any] | None = None
    ) -> ModelHandle: ...

    def undeploy(self) -> Any: ...

    def callable_result(self, timeout: float | None = None) -> ModelHandle: ...


class ModelHandle(Record):
    """A model that a job made: what it is, where it lies, whether it can be called now.

    Never filled early: a handle exists only once the provider has the model. `callable_now` says
    that a call would be answered, `is_starting` that a deployment is on its way. A handle from
    `job.result()` is bound to its backend and its job and can act; one read back from JSON or a
    pickle is data alone until the job is asked again.
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

    _door: _Gateway | None = PrivateAttr(default=None)
    _owner: _Owner | None = PrivateAttr(default=None)

    def bound_to(self, door: _Gateway) -> Self:
        """The same facts, able to act through `door`."""
        copy = self.model_copy()
        copy._door = door
        return copy

    def owned_by(self, owner: _Owner) -> Self:
        """The same facts with the job that made the model, able to be deployed by it."""
        copy = self.model_copy(update={"job_id": owner.id})
        copy._owner = owner
        return copy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ModelHandle):
            return NotImplemented
        return self.model_dump() == other.model_dump()  # the facts; not whether it is bound

    def __hash__(self) -> int:
        return hash((self.provider, self.id))

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        state["__pydantic_private__"] = {"_door": None, "_owner": None}
        return state

    def _open(self) -> _Gateway:
        return self._door or self._unbound()

    def _unbound(self) -> Any:
        raise NotReady(
            "This model handle is data alone; it is not bound to a backend",
            where=f"model {self.id}",
            hint=f"take it from the job: ftsdk.get_job({self.job_id or 'id'!r}).result()",
            job_id=self.job_id,
        )

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
        """Ask the model. A string is one user message.

        Raises `NotReady` when it cannot be called now, with what would make it callable.
        """
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        asked = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed, **options}
        return self._open().chat(self, messages, asked)

    def download(self, folder: str | Path) -> Path:
        """Copy the weights into `folder` (made if absent, refused if it holds other files)."""
        return self._open().download(self, Path(folder))

    def deploy(
        self, *, hours: float | None = None, options: Mapping[str, Any] | None = None
    ) -> ModelHandle:
        """Deploy the model for `hours`, and return it as it then is: `FineTuneJob.deploy`."""
        return (self._owner or self._unbound()).deploy(hours=hours, options=options)

    def wait(self, timeout: float | None = None) -> ModelHandle:
        """Wait until a call would be answered, and return the model as it then is.

        `FineTuneJob.callable_result`; `timeout` in seconds.
        """
        return (self._owner or self._unbound()).callable_result(timeout=timeout)

    def undeploy(self) -> None:
        """End the deployment now; it costs nothing more."""
        (self._owner or self._unbound()).undeploy()
