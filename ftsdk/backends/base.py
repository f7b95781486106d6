"""What a backend is: a few verbs, and one record that says what it can do.

A backend turns one provider's ways into ours and back. It never journals, never retries a create,
never prints; the floors above do what is common to all. To write one, derive from `Backend`,
fill in `capabilities`, and register the class under the entry-point group `ftsdk.backends`.
"""

from __future__ import annotations

import abc
import builtins  # inside a class with a verb called `list`, the type needs its full name
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftsdk.config import Environment
from ftsdk.dataset import Dataset
from ftsdk.errors import NotReady, Unsupported
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.events import Checkpoint, Event, MetricPoint
from ftsdk.types.job import RemoteJob
from ftsdk.types.model import ChatAnswer, ModelHandle
from ftsdk.types.plan import Plan, PlannedField
from ftsdk.types.spec import Hyperparameters, JobSpec
from ftsdk.util.clock import Clock, SystemClock

if TYPE_CHECKING:
    from ftsdk.catalogue import Catalogue

__all__ = ["Backend", "Capabilities", "Context", "FindBy", "Range", "SubmitRequest"]


class FindBy(StrEnum):
    """How a job is found again after a create whose answer was lost."""

    TOKEN = "token"  # noqa: S105  # the provider takes an idempotency token: sending again is safe
    METADATA = "metadata"
    SUFFIX = "suffix"
    INPUT = "input"
    RUN_DIRECTORY = "run_directory"
    NONE = "none"


@dataclass(frozen=True)
class Range:
    """What a hyperparameter may be here. None leaves a side open; `default` is what None becomes."""

    low: float | None = None
    high: float | None = None
    default: Any = None
    choices: tuple[Any, ...] | None = None
    sent_as: str | None = None
    source: str = ""

    def fault(self, value: Any) -> str | None:
        """Why `value` cannot be, or None."""
        if self.choices is not None:
            return None if value in self.choices else f"one of {', '.join(map(str, self.choices))}"
        if self.low is not None and value < self.low:
            return f"at least {self.low:g}"
        if self.high is not None and value > self.high:
            return f"at most {self.high:g}"
        return None


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do; on the class, readable without key or network.

    `hyperparameters` names every field it takes, with its range: a field that is not named is
    refused before anything is sent, and `instead` says what stands in its place. `adapters` are the
    kinds of training: `lora`, `nf4` (QLoRA), `full`. `can_resume` lets a paused job go on; with `resumes_ended` also one that failed or was
    cancelled.
    """

    methods: frozenset[str]
    adapters: frozenset[str]
    formats: frozenset[str]
    hyperparameters: Mapping[str, Range] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)
    find_by: FindBy = FindBy.NONE
    resend_is_safe: bool = False
    can_cancel: bool = False
    can_pause: bool = False
    can_resume: bool = False
    resumes_ended: bool = False
    can_delete: bool = False
    can_deploy: bool = False
    can_download: bool = False
    can_chat: bool = False
    has_events: bool = False
    has_metrics: bool = False
    has_checkpoints: bool = False
    has_logs: bool = False
    takes_seed: bool = True
    takes_validation: bool = True
    price: Literal["free", "catalogue", "quote", "unknown"] = "unknown"
    poll_s: float = 10.0
    min_rows: int = 1
    max_rows: int | None = None
    max_file_bytes: int | None = None
    closed_to_new_accounts_on: dt.date | None = None
    no_new_jobs_from: dt.date | None = None
    key_variables: tuple[str, ...] = ()
    extra: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Context:
    """What a backend is given when it is made."""

    home: Path
    clock: Clock = field(default_factory=SystemClock)
    options: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    base_url: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "env", Environment(self.env))


@dataclass(frozen=True)
class SubmitRequest:
    """One job to create: our id, the marks it carries, what to train, on which rows."""

    job_id: str
    tag: str
    client_token: str
    spec: JobSpec
    train: Dataset
    validation: Dataset | None = None


class Backend(abc.ABC):
    """One provider.

    Reads (`get`, `list`, `find`, `events`, `metrics`, `checkpoints`, `logs`, `model`) never
    change or cost anything. Each verb raises the errors of `ftsdk.errors`; "I could not ask" is an
    exception, never a status.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    def __init__(self, context: Context) -> None:
        self.context = context
        self.clock = context.clock
        self.base_url: str | None = context.base_url
        """Where it sends to. A job remembers it, so that it is found there whatever is configured
        later; None where there is no address, or only one."""

    # --- before ---

    def check(self, spec: JobSpec) -> None:
        """Refuse what cannot be, all of it at once, without looking at rows or network.

        Raises `Unsupported` that names every field refused.
        """
        refuse(
            refusals(self, spec),
            where=f"backend {self.name}, before anything was sent",
            hint=f"leave them out, or choose another provider; `ftsdk backends {self.name}` "
            "lists what it takes",
        )

    def plan(self, spec: JobSpec, train: Dataset | None = None) -> Plan:
        """Map what is asked to what would be sent. Raises what `check` raises; sends nothing."""
        self.check(spec)
        return Plan(
            provider=self.name,
            model=spec.model,
            method=spec.method,
            fields=tuple(planned_fields(self.capabilities, spec.hyperparameters)),
            rows=None if train is None else train.rows,
            cost=self.estimate(spec, train),
        )

    def estimate(self, spec: JobSpec, train: Dataset | None = None) -> Cost:
        """What training would cost, as far as is known without asking the provider."""
        if self.capabilities.price == "free":
            return Cost(
                basis=CostBasis.BILLED,
                low=Decimal(0),
                high=Decimal(0),
                source=f"{self.name} charges nothing",
            )
        return Cost()

    @property
    def dated_as(self) -> str | None:
        """The provider of the catalogue whose end dates hold here; None at somebody else's address.

        A gateway, a look-alike or a rehearsal has ends of its own, which nobody told us.
        """
        return self.name if self.context.base_url is None else None

    @property
    def catalogue(self) -> Catalogue:
        """Prices and end dates: the shipped ones, under the user's own `prices.toml` in the home."""
        from ftsdk.catalogue import load_catalogue

        return load_catalogue(self.context.home)

    def tokenizer_for(self, spec: JobSpec) -> Path | None:
        """The folder of the very tokenizer that the rows will meet, where it is on this machine.

        With it the rows are counted exactly and rendered before anything is sent; None leaves it
        to what the model's name says.
        """
        return None

    def max_length_for(self, spec: JobSpec) -> int | None:
        """The tokens above which a row is refused or cut: `max_length` as it would be sent."""
        sent = planned_fields(self.capabilities, spec.hyperparameters)
        return next((field.sent for field in sent if field.name == "max_length"), None)

    def speed_of(self, spec: JobSpec) -> float | None:
        """Tokens trained in a second by an earlier job like this one; None when none is known."""
        return None

    def bring(self, spec: JobSpec) -> None:  # noqa: B027  # most backends need nothing here
        """Put on this machine what the rows are checked against, a base model for instance.

        Called before rows are read, by a create alone: a plan fetches nothing.
        """

    # --- the job ---

    def prepare(self, request: SubmitRequest) -> None:  # noqa: B027  # many backends upload nothing
        """What goes before the create call and may take long: uploads, and waiting for them.

        Called while the job is still `created`, so that a crash here leaves no doubt. It is called
        again after one, and must not do twice what it did; `submit` may rely on it or not.
        """

    def quote(self, request: SubmitRequest) -> Cost | None:
        """What the provider itself says that the job will cost; None where it does not tell.

        Asked after `prepare` and before the create call; spends nothing.
        """
        return None

    @abc.abstractmethod
    def submit(self, request: SubmitRequest) -> RemoteJob:
        """Create the job, with one attempt. The only verb that may spend (with `deploy`).

        A definite refusal raises `Rejected`, `AuthError`, `ProviderClosed` or another error with
        `submitted="no"`; a failure that leaves it open raises with `submitted="maybe"`.
        """

    @abc.abstractmethod
    def find(self, request: SubmitRequest) -> list[RemoteJob]:
        """The provider's jobs that carry our mark, oldest first; empty when none is visible."""

    @abc.abstractmethod
    def get(self, provider_job_id: str) -> RemoteJob:
        """The job now. Raises `NotFound`."""

    @abc.abstractmethod
    def list(self, *, limit: int | None = None) -> Iterator[RemoteJob]:
        """The account's jobs, newest first."""

    def get_many(self, provider_job_ids: Sequence[str]) -> Iterable[RemoteJob]:
        """Several jobs at once; backends with a list call spend fewer requests here.

        Of many, some may be left out to keep the provider's pace: they are as they were known.
        """
        return (self.get(one) for one in provider_job_ids)

    @abc.abstractmethod
    def cancel(self, provider_job_id: str) -> None:
        """Ask the job to stop. It has stopped when `get` says so."""

    @abc.abstractmethod
    def model(self, provider_job_id: str) -> ModelHandle:
        """The result. Raises `NotReady` before the provider has it."""

    def events(self, provider_job_id: str, *, after: int = 0) -> builtins.list[Event]:
        """Events with `seq` above `after`, oldest first."""
        raise self.cannot("tell events")

    def metrics(self, provider_job_id: str) -> builtins.list[MetricPoint]:
        """The curve so far, by step."""
        raise self.cannot("tell metrics")

    def checkpoints(self, provider_job_id: str) -> builtins.list[Checkpoint]:
        """The kept states, oldest first."""
        raise self.cannot("tell checkpoints")

    def logs(self, provider_job_id: str, *, tail: int | None = None) -> builtins.list[str]:
        """Log lines, oldest first; the last `tail` of them if given."""
        raise self.cannot("tell logs")

    def pause(self, provider_job_id: str) -> None:
        """Ask the job to stop where it can go on."""
        raise self.cannot("pause a job")

    def resume(self, provider_job_id: str) -> RemoteJob:
        """Let a paused, failed or cancelled job go on from its last good state."""
        raise self.cannot("resume a job")

    def delete(self, provider_job_id: str) -> None:
        """Remove the job's result at the provider."""
        raise self.cannot("delete a result")

    # --- the result ---

    def chat(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        """Ask the model of `handle`."""
        raise self.cannot("chat with a result")

    def chat_base(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        """Ask the base model that `handle` was tuned from, for comparison."""
        raise self.cannot("chat with the base model")

    def download(self, handle: ModelHandle, folder: Path) -> Path:
        """Copy the weights into `folder`."""
        raise self.cannot("download a result")

    def close(self) -> None:  # noqa: B027  # without connections there is nothing to do
        """Let go of connections; they are opened again when used."""

    # --- for derived classes ---

    def cannot(self, what: str) -> Unsupported:
        """The error for a verb this provider does not have."""
        return Unsupported(
            f"{self.name} cannot {what}",
            where=f"backend {self.name}",
            hint="`ftsdk backends` shows which provider can",
        )

    def not_ready(self, status: object, job_id: str | None = None) -> NotReady:
        """The error for a result that is not there yet."""
        return NotReady(
            f"The job has no result yet: it is {status}",
            where=f"{self.name}",
            hint="wait for it: `ftsdk watch`, or job.wait()",
            job_id=job_id,
        )


def adapter_kind(spec: JobSpec) -> str:
    """`lora`, `nf4` or `full`: the word that capabilities use."""
    if spec.adapter is None:
        return "full"
    return spec.adapter.quantize or "lora"


def refuse(faults: Sequence[str], *, where: str, hint: str) -> None:
    """Raise one `Unsupported` with all of these faults, if there are any; nothing was sent."""
    if faults:
        raise Unsupported(
            faults[0] if len(faults) == 1 else f"{len(faults)} things: " + "; ".join(faults),
            where=where,
            hint=hint,
            faults=tuple(faults),
            submitted="no",
        )


def refusals(backend: Backend, spec: JobSpec) -> list[str]:
    """Everything asked that the backend's record does not have."""
    able = backend.capabilities
    faults = []
    if spec.method not in able.methods:
        faults.append(f"method {spec.method!r} (it has {', '.join(sorted(able.methods))})")
    kind = adapter_kind(spec)
    if kind not in able.adapters:
        faults.append(f"training kind {kind!r} (it has {', '.join(sorted(able.adapters))})")
    if spec.seed and not able.takes_seed:
        faults.append(f"seed={spec.seed} is not taken by {backend.name}")
    for name, value in spec.hyperparameters.given().items():
        allowed = able.hyperparameters.get(name)
        if allowed is None:
            instead = f"; it has {able.instead[name]}" if name in able.instead else ""
            faults.append(
                f"hyperparameter {name}={value!r} is not taken by {backend.name}{instead}"
            )
            continue
        fault = allowed.fault(value)
        if fault is not None:
            faults.append(f"hyperparameter {name}={value!r} must be {fault}")
    return faults


def planned_fields(able: Capabilities, asked: Hyperparameters) -> Iterator[PlannedField]:
    """Asked → sent for each hyperparameter the backend knows."""
    given = asked.given()
    for name, allowed in able.hyperparameters.items():
        value = given.get(name, allowed.default)
        if value is None and name not in given:
            continue
        yield PlannedField(
            name=name,
            asked=given.get(name),
            sent=value,
            sent_as=allowed.sent_as or name,
            note="" if name in given else "default",
        )
