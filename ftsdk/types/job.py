"""What is known of a job: status, events, metrics, checkpoints, cost, and the model it made.

All of these are frozen snapshots that round-trip through JSON and pickle. The provider's own word
stands beside ours (`raw_status`), and fields we do not know are kept in `raw`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from ftsdk.errors import NotReady, UsageError

__all__ = [
    "ALLOWED_MOVES",
    "BudgetLine",
    "ChatAnswer",
    "Checkpoint",
    "Cost",
    "CostBasis",
    "Event",
    "JobSnapshot",
    "JobStatus",
    "MetricPoint",
    "ModelHandle",
    "ModelKind",
    "Plan",
    "PlannedField",
    "Progress",
    "RemoteJob",
    "can_move",
    "statuses_of",
]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class JobStatus(StrEnum):
    """Where a job stands. Only `succeeded`, `failed` and `cancelled` are final."""

    CREATED = "created"
    """Journaled here; nothing was sent."""
    SUBMITTING = "submitting"
    """The create call is under way."""
    IN_DOUBT = "in_doubt"
    """The create call was sent and no answer came."""
    VALIDATING = "validating"
    """The provider looks at the rows."""
    QUEUED = "queued"
    """Accepted, and waiting for its turn."""
    RUNNING = "running"
    """Training."""
    FINALIZING = "finalizing"
    """Trained; the result is not there yet."""
    PAUSED = "paused"
    """Stopped where it can go on; `resume` continues it."""
    CANCELLING = "cancelling"
    """Asked to stop, and not stopped yet."""
    SUCCEEDED = "succeeded"
    """Done, and the model handle is there."""
    FAILED = "failed"
    """Ended without a model; the snapshot's `error` says why."""
    CANCELLED = "cancelled"
    """Stopped because somebody asked."""
    UNKNOWN = "unknown"
    """The provider used a word we do not know: never final."""

    @property
    def is_final(self) -> bool:
        """True when the provider will not change it any more."""
        return self in _FINAL

    @property
    def is_remote(self) -> bool:
        """True when the provider has the job (as against `created`, `submitting`, `in_doubt`)."""
        return self not in _OURS


_FINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
_OURS = frozenset({JobStatus.CREATED, JobStatus.SUBMITTING, JobStatus.IN_DOUBT})
_REMOTE = frozenset(JobStatus) - _OURS


def statuses_of(value: JobStatus | str | Iterable[JobStatus | str]) -> frozenset[JobStatus]:
    """The statuses that somebody names: one or several, `in doubt` as well as `in_doubt`.

    Raises `UsageError` for a word that is none.
    """
    words: Iterable[JobStatus | str] = [value] if isinstance(value, str) else value
    found = set()
    for word in words:
        try:
            found.add(JobStatus(str(word).replace(" ", "_")))
        except ValueError as error:
            raise UsageError(
                f"{str(word)!r} is not a status",
                where="the argument status=",
                mend=f"one of {', '.join(JobStatus)}",
            ) from error
    return frozenset(found)


ALLOWED_MOVES: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.CREATED: frozenset({JobStatus.SUBMITTING, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.SUBMITTING: _REMOTE | {JobStatus.CREATED, JobStatus.IN_DOUBT},
    JobStatus.IN_DOUBT: _REMOTE | {JobStatus.SUBMITTING},  # never back to "nothing was sent"
    **dict.fromkeys(_REMOTE - _FINAL, _REMOTE),
    JobStatus.SUCCEEDED: frozenset(),
    # A local job that failed or was cancelled may be taken up again, by `resume` alone.
    JobStatus.FAILED: frozenset({JobStatus.QUEUED}),
    JobStatus.CANCELLED: frozenset({JobStatus.QUEUED}),
}
"""Which status may follow which. Providers do go back (a restart makes running queued again), so
all moves among their non-final states are allowed; leaving a final one needs `resume`."""


def can_move(old: JobStatus, new: JobStatus) -> bool:
    """True when `new` may follow `old` (staying is always allowed)."""
    return old is new or new in ALLOWED_MOVES[old]


class Progress(_Record):
    """How far training is. `fraction` is 0 to 1; `eta_s` seconds left; unknown is None."""

    fraction: float | None = None
    step: int | None = None
    total_steps: int | None = None
    epoch: float | None = None
    tokens_per_s: float | None = None
    eta_s: float | None = None
    trained_tokens: int | None = None


class Event(_Record):
    """One thing that happened to a job. `seq` grows; the same event has the same `id`."""

    id: str
    seq: int
    time: dt.datetime
    kind: Literal["status", "progress", "metric", "checkpoint", "log", "warning", "error"]
    message: str = ""
    data: Mapping[str, Any] = Field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.time:%H:%M:%S}  {self.kind:<10}  {self.message}"


class MetricPoint(_Record):
    """The curve at one step. Losses are means over trained tokens, in nats."""

    step: int
    epoch: float | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_s: float | None = None
    time: dt.datetime | None = None
    raw: Mapping[str, Any] = Field(default_factory=dict)


class Checkpoint(_Record):
    """A state of the weights that was kept. `path` for local ones, `model` for callable ones."""

    id: str
    step: int
    created_at: dt.datetime | None = None
    path: Path | None = None
    model: str | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    raw: Mapping[str, Any] = Field(default_factory=dict)


class CostBasis(StrEnum):
    """How sure a cost is."""

    BILLED = "billed"
    QUOTED = "quoted"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


class Cost(_Record):
    """US dollars, with what is known of their source.

    An estimate is a range (`low` to `high`); billed and quoted costs have `low == high`. None
    means that the figure is not known. Training, storage and hosting are kept apart:
    `low`/`high` are for training alone.
    """

    basis: CostBasis = CostBasis.UNKNOWN
    low: Decimal | None = None
    high: Decimal | None = None
    storage_usd: Decimal | None = None
    hosting_usd_per_hour: Decimal | None = None
    currency: Literal["USD"] = "USD"
    source: str = ""
    as_of: dt.date | None = None
    assumptions: tuple[str, ...] = ()

    @property
    def usd(self) -> Decimal | None:
        """The one figure, where there is one; the high end of an estimate."""
        return self.high

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return "unknown"
        if self.low == self.high or self.low is None:
            return f"${self.high:.2f}"
        return f"${self.low:.2f} – {self.high:.2f}"


class ChatAnswer(_Record):
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


class _Door(Protocol):
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


class ModelHandle(_Record):
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

    _door: _Door | None = PrivateAttr(default=None)
    _owner: _Owner | None = PrivateAttr(default=None)

    def bound_to(self, door: _Door) -> Self:
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

    def _open(self) -> _Door:
        return self._door or self._unbound()

    def _unbound(self) -> Any:
        raise NotReady(
            "This model handle is data alone; it is not bound to a backend",
            where=f"model {self.id}",
            mend=f"take it from the job: ftsdk.get_job({self.job_id or 'id'!r}).result()",
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


class RemoteJob(_Record):
    """A job as its provider tells it, in our words, with the provider's own beside them.

    `provider_job_id` is the id it has now; `earlier_ids` those it had before the provider restarted
    it under another, oldest first.
    """

    provider_job_id: str
    earlier_ids: tuple[str, ...] = ()
    status: JobStatus
    raw_status: str = ""
    model: str | None = None
    tag: str | None = None
    message: str = ""
    error: Mapping[str, Any] | None = None
    progress: Progress | None = None
    created_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    trained_tokens: int | None = None
    result_model: str | None = None
    cost: Cost | None = None
    raw: Mapping[str, Any] = Field(default_factory=dict)


class JobSnapshot(_Record):
    """Everything the journal knows of a job at one moment.

    `started_at` is when it began to run, by the provider's word; None where it does not tell.
    `provider_job_id` is the id that the provider's job has now; `earlier_ids` those it had before
    it was restarted there, oldest first.
    """

    id: str
    provider: str
    provider_job_id: str | None = None
    earlier_ids: tuple[str, ...] = ()
    status: JobStatus
    raw_status: str = ""
    model: str
    method: str = "sft"
    name: str | None = None
    profile: str | None = None
    key: str | None = None
    tag: str
    client_token: str
    fingerprint: str
    tags: Mapping[str, str] = Field(default_factory=dict)
    spec: Mapping[str, Any] = Field(default_factory=dict)
    dataset: Mapping[str, Any] = Field(default_factory=dict)
    message: str = ""
    error: Mapping[str, Any] | None = None
    progress: Progress | None = None
    cost: Cost = Field(default_factory=Cost)
    trained_tokens: int | None = None
    created_at: dt.datetime
    submitted_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    updated_at: dt.datetime

    @property
    def first_provider_id(self) -> str | None:
        """The id under which the provider's job began: its events begin there."""
        return self.earlier_ids[0] if self.earlier_ids else self.provider_job_id


class PlannedField(_Record):
    """One field of a plan: what was asked, what is sent, under which name, and why."""

    name: str
    asked: Any = None
    sent: Any = None
    sent_as: str | None = None
    note: str = ""


class BudgetLine(_Record):
    """One limit a job is held against, and what is left of it before the job. US dollars.

    `scope` is `job`, `month`, or `month of profile NAME`; `spent` is final, `reserved` is held for
    what still runs, and `unknown` counts earlier jobs and deployments whose cost nobody knows.
    """

    scope: str
    limit: Decimal
    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    left: Decimal
    unknown: int = 0
    fits: bool
    where: str = ""


def _short(value: Any) -> str:
    """3.0 as 3."""
    return f"{value:g}" if isinstance(value, float) else str(value)


class Plan(_Record):
    """What would happen, field by field, before anything is sent."""

    provider: str
    model: str
    method: str
    fields: tuple[PlannedField, ...] = ()
    rows: int | None = None
    tokens: int | None = None
    tokens_basis: Literal["exact", "estimated", "unknown"] = "unknown"
    duration_s: tuple[float, float] | None = None
    memory_bytes: int | None = None
    cost: Cost = Field(default_factory=Cost)
    budget: tuple[BudgetLine, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def sent(self) -> dict[str, Any]:
        """What goes out, by our field names."""
        return {field.name: field.sent for field in self.fields}

    def explain(self) -> str:
        """Asked → sent, a line for each field; then what should be known besides."""
        told = [f"{self.provider} · {self.model} · {self.method} · {self.cost}"]
        for field in self.fields:
            asked = "(not asked)" if field.asked is None else _short(field.asked)
            sent = "not sent" if field.sent is None else _short(field.sent)
            name = f" as {field.sent_as}" if field.sent_as not in (None, field.name) else ""
            note = f"   ({field.note})" if field.note else ""
            told.append(f"{field.name}: {asked} → {sent}{name}{note}")
        return "\n".join([*told, *self.notes, *(f"! {warning}" for warning in self.warnings)])
