"""The contract of a backend: one abstract class with every method a backend may implement.

A backend translates between one provider's API and the types of `ftsdk.types`. It does not journal,
does not retry a create call and does not print. To write one, derive from `Backend`, set
`capabilities`, and register the class under the entry-point group `ftsdk.backends`.

`submit`, `find`, `get`, `list`, `cancel` and `model` are required. Every other method has a default:
those named by a flag of `Capabilities` raise `Unsupported`, the others return None or do nothing.
"""

from __future__ import annotations

import abc
import builtins  # inside a class with a method called `list`, the type needs its full name
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ftsdk.backends.capabilities import Capabilities
from ftsdk.backends.context import Context, SubmitRequest
from ftsdk.backends.refusals import (
    generic_hint,
    planned_fields,
    refusals,
    refuse,
    refuse_other_account,
)
from ftsdk.catalogue.load import load_catalogue, load_last_catalogue
from ftsdk.catalogue.schema import Catalogue
from ftsdk.dataset.provider_limits import Limits, limits_of_formats, with_capabilities
from ftsdk.errors import NotReady, Unsupported
from ftsdk.types.account import named_account
from ftsdk.types.chat import Batch, ChatOutcome, ChatRequest, StoredChat
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.events import Checkpoint, Event, MetricPoint
from ftsdk.types.job import FileRole, RemoteJob
from ftsdk.types.model import ChatAnswer, ModelHandle
from ftsdk.types.plan import Plan
from ftsdk.types.spec import JobSpec

if TYPE_CHECKING:
    from ftsdk.dataset import Dataset
    from ftsdk.dataset.findings.token_summary import RowLengths

__all__ = ["Backend", "Context", "Messages", "SubmitRequest"]

Messages = Sequence[Mapping[str, Any]]
"""A conversation: messages with `role` and `content`, as the chat format has them."""


class Backend(abc.ABC):
    """One provider.

    Reads (`get`, `list`, `find`, `events`, `metrics`, `checkpoints`, `logs`, `model`,
    `account_models`, `model_ends`, `read_file`, `find_batches`, `get_batch`, `batch_outcomes`,
    `stored_chats`) never change or cost anything.
    Methods raise the errors of `ftsdk.errors`. A provider that cannot be reached is an exception,
    never a status.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    limits: ClassVar[Limits | None] = None
    """Which rows the provider accepts, with the source of each number."""
    reads_key_variable: ClassVar[bool] = False
    """Whether the key is read from `Context.key_variable` where a profile names it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.clock = context.clock
        self.base_url: str | None = context.base_url
        """Where requests go. A job remembers it, so that later reads go to the same place whatever
        is configured by then. None where there is no address, or only one."""

    @property
    def has_moved(self) -> bool:
        """Whether the environment names another address by now. Such a backend is replaced."""
        return False

    # --- before a job ---

    def check(self, spec: JobSpec) -> None:
        """Check `spec`, without rows or network. Raises `Unsupported` with every field refused."""
        refuse(
            refusals(self.name, self.capabilities, spec),
            where=f"backend {self.name}, before anything was sent",
            hint=generic_hint(self.name),
        )

    def complete(self, spec: JobSpec) -> JobSpec:
        """Return the spec with what it names on this machine read into it, such as a file."""
        return spec

    def needs_validation(self, spec: JobSpec) -> str | None:
        """Return what of the job has no meaning without validation rows; None when nothing has."""
        return None

    def check_model(self, spec: JobSpec) -> None:  # noqa: B027  # many have no list to ask
        """Ask the provider for a model that the catalogue does not have; nothing is journaled yet.

        Raises `UnknownModel` with the nearest names. Backends that have no list do nothing.
        """

    sets_adapter: bool = False
    """Whether the service chooses rank and alpha of an adapter itself."""

    def plan(self, spec: JobSpec, train: Dataset | None = None) -> Plan:
        """Return what would be sent, and its cost. Sends nothing. Raises what `check` raises."""
        self.check(spec)
        return Plan(
            provider=self.name,
            model=spec.model,
            method=spec.method,
            fields=tuple(planned_fields(self.capabilities, spec.hyperparameters)),
            rows=None if train is None else train.rows,
            cost=self.estimate(spec, train),
            notes=tuple(self._account_notes()),
        )

    def _account_notes(self) -> Iterator[str]:
        """Yield which account pays, where the configuration says so."""
        if self.context.account is not None:
            yield f"for the account {self.context.account}"
        elif self.context.key_variable is not None:
            yield f"for the account of the key in {self.context.key_variable}"

    def estimate(self, spec: JobSpec, train: Dataset | None = None) -> Cost:
        """Return what training would cost in US dollars, as a range.

        The provider is not asked. The basis is `unknown` where no price is known.
        """
        if self.capabilities.price == "free":
            return Cost(
                basis=CostBasis.BILLED,
                low=Decimal(0),
                high=Decimal(0),
                source=f"{self.name} charges nothing",
            )
        return Cost()

    def training_usd_per_hour(self, spec: JobSpec) -> Decimal | None:
        """Return the price of one hour of this job in US dollars; None where it is not known.

        For providers that bill training by time: a job with a cap is cancelled by it.
        """
        return None

    @property
    def dated_as(self) -> str | None:
        """The provider of the catalogue whose end dates apply here.

        None at an address that is not the provider's own: a gateway, a compatible service or a
        rehearsal has end dates that the catalogue does not know.
        """
        return self.name if self.context.base_url is None else None

    @property
    def catalogue(self) -> Catalogue:
        """The prices and end dates shipped with ftsdk, overlaid by `prices.toml` of the home."""
        return load_catalogue(self.context.home)

    @property
    def last_catalogue(self) -> Catalogue:
        """The catalogue to read jobs that exist with; see `load_last_catalogue`."""
        return load_last_catalogue(self.context.home)

    def tokenizer_for(self, spec: JobSpec) -> Path | None:
        """Return the folder of the training's tokenizer; None where only the model's name is known."""
        return None

    def max_length_for(self, spec: JobSpec) -> int | None:
        """Return `max_length` as it would be sent: longer rows are refused or cut, in tokens."""
        sent = planned_fields(self.capabilities, spec.hyperparameters)
        return next((field.sent for field in sent if field.name == "max_length"), None)

    def truncates(self, spec: JobSpec) -> bool:
        """Return whether this machine cuts rows that are longer than `max_length`, as asked."""
        return False

    def speed_of(self, spec: JobSpec) -> float | None:
        """Return tokens trained per second by an earlier, similar job; None where none is known."""
        return None

    def with_memory(self, plan: Plan, spec: JobSpec, lengths: RowLengths | None) -> Plan:
        """Add the memory of a job here, on rows of these lengths. Raises `Unsupported`."""
        return plan

    @classmethod
    def limits_for(cls, model: str | None = None) -> Limits:  # noqa: ARG003  # some depend on it
        """Return which rows the provider accepts for one base model (`limits`, or `capabilities`)."""
        if cls.limits is not None:
            return cls.limits
        limits = limits_of_formats(cls.name, cls.capabilities.formats)
        return with_capabilities(limits, cls.capabilities) or limits

    def fetch_base_model(self, spec: JobSpec) -> None:  # noqa: B027  # most backends need nothing
        """Download what the rows are checked against, when a job is created; planning does not."""

    # --- a job ---

    def prepare(self, request: SubmitRequest) -> None:  # noqa: B027  # many backends upload nothing
        """Do what precedes the create call and may take long: uploads, and waiting for them.

        The job is still `created` meanwhile. It may be called again after a crash, and must not
        repeat what was done then. `submit` also works without it.
        """

    def quote(self, request: SubmitRequest) -> Cost | None:
        """Return the provider's own quote; None where it gives none.

        Called after `prepare` and before the create call. Spends nothing.
        """
        return None

    @abc.abstractmethod
    def submit(self, request: SubmitRequest) -> RemoteJob:
        """Create the job, in one attempt. Only this method and `deploy` may spend.

        A definite refusal raises `Rejected`, `AuthError`, `ProviderClosed` or another error with
        `submitted="no"`. Where it is not known whether the job was created, the error has
        `submitted="maybe"`.
        """

    @abc.abstractmethod
    def find(self, request: SubmitRequest) -> list[RemoteJob]:
        """Return the provider's jobs that carry `request.tag`, oldest first; often none."""

    @abc.abstractmethod
    def get(self, provider_job_id: str) -> RemoteJob:
        """Return the job as it is now. Raises `NotFound`."""

    @abc.abstractmethod
    def list(self, *, limit: int | None = None) -> Iterator[RemoteJob]:
        """Yield the account's jobs, newest first."""

    def get_many(self, provider_job_ids: Sequence[str]) -> Iterable[RemoteJob]:
        """Yield several jobs, in any order; backends with a list call use fewer requests.

        Some may be left out to keep to the provider's rate limit: they are read next time.
        """
        return (self.get(one) for one in provider_job_ids)

    @abc.abstractmethod
    def cancel(self, provider_job_id: str) -> None:
        """Request that the job stops. It has stopped once `get` says so."""

    @abc.abstractmethod
    def model(self, provider_job_id: str) -> ModelHandle:
        """Return the trained model. Raises `NotReady` while the provider does not have it."""

    def events(self, provider_job_id: str, *, after: int = 0) -> builtins.list[Event]:
        """Return the events with `seq` above `after`, oldest first. Needs `has_events`."""
        raise self.cannot("report events")

    def metrics(self, provider_job_id: str) -> builtins.list[MetricPoint]:
        """Return the training curve so far, by step. Needs `has_metrics`."""
        raise self.cannot("report metrics")

    def checkpoints(self, provider_job_id: str) -> builtins.list[Checkpoint]:
        """Return the checkpoints that are kept, oldest first. Needs `has_checkpoints`."""
        raise self.cannot("report checkpoints")

    def checkpoint_model(
        self, provider_job_id: str, checkpoint: Checkpoint
    ) -> ModelHandle:  # of others
        """Return the model as it was at one of the job's checkpoints."""
        raise self.cannot(f"give the model of a checkpoint (step {checkpoint.step})")

    def logs(self, provider_job_id: str, *, tail: int | None = None) -> builtins.list[str]:
        """Return log lines, oldest first; the last `tail` of them if given. Needs `has_logs`."""
        raise self.cannot("report logs")

    def pause(self, provider_job_id: str) -> None:
        """Request that the job stops where `resume` can continue it. Needs `can_pause`."""
        raise self.cannot("pause a job")

    def resume(self, provider_job_id: str) -> RemoteJob:
        """Continue a paused job from its last state, and return it. Needs `can_resume`.

        With `resumes_ended`, a failed or cancelled job as well.
        """
        raise self.cannot("resume a job")

    def delete(self, provider_job_id: str) -> None:
        """Delete the job's result at the provider. Needs `can_delete`."""
        raise self.cannot("delete a result")

    # --- a result ---

    def chat(
        self, handle: ModelHandle, messages: Messages, options: Mapping[str, Any]
    ) -> ChatAnswer:
        """Return the model's answer. Needs `can_chat`.

        `options` are sampling options such as `max_tokens`; `on_text` gets the text as it comes
        (see `chat_outcomes.in_one_piece`). Raises `NotReady` where the model must be deployed.
        """
        raise self.cannot("chat with a result")

    def chat_base(
        self, handle: ModelHandle, messages: Messages, options: Mapping[str, Any]
    ) -> ChatAnswer:
        """Return the answer of the base model that `handle` was tuned from, for comparison."""
        raise self.cannot("chat with the base model")

    def chat_many(
        self,
        handle: ModelHandle,
        requests: Iterable[ChatRequest],
        *,
        concurrency: int = 8,
        on_outcome: Callable[[ChatOutcome], None] | None = None,
    ) -> Iterator[ChatOutcome]:
        """Ask all requests and yield each outcome as it comes. Needs `can_chat_many`.

        At most `concurrency` requests are under way, fewer where the provider's rate limits say so.
        `requests` is read as it is needed. `on_outcome` is called in the thread that asked, before
        this thread asks the next: there an answer is made durable. An error of one request is its
        outcome; an error that every request would get, or one that `on_outcome` raises, ends the
        call after the requests under way are answered.
        """
        raise self.cannot("answer many conversations at once")

    def batch(self, handle: ModelHandle, requests: Iterable[ChatRequest], *, tag: str) -> Batch:
        """Submit the requests as one batch. Needs `can_batch`.

        `tag` finds the batch again. It spends, so the create call is made once, and errors have
        `submitted` as those of `submit`.
        """
        raise self.cannot("run a batch")

    def find_batches(self, tag: str) -> builtins.list[Batch]:
        """Return the account's batches with this tag, the oldest first. Needs `can_batch`."""
        raise self.cannot("find a batch")

    def get_batch(self, batch_id: str) -> Batch:
        """Return the batch as it is now. Needs `can_batch`."""
        raise self.cannot("read a batch")

    def batch_outcomes(self, batch_id: str) -> Iterator[ChatOutcome]:
        """Yield what became of the requests of an ended batch, in any order. Needs `can_batch`.

        A request that an expired or cancelled batch did not reach is left out.
        """
        raise self.cannot("read the answers of a batch")

    def cancel_batch(self, batch_id: str) -> None:
        """Ask to end a batch; what is done is billed, and stays readable. Needs `can_batch`."""
        raise self.cannot("cancel a batch")

    def download(self, handle: ModelHandle, folder: Path) -> Path:
        """Copy the weights into `folder` and return the folder. Needs `can_download`."""
        raise self.cannot("download a result")

    def download_merged(self, handle: ModelHandle, folder: Path) -> Path:
        """Like `download`, with the adapter merged into its base by the provider."""
        raise self.cannot("merge an adapter; ftsdk export JOB merged FOLDER does it here")

    def deploy(self, handle: ModelHandle, **options: Any) -> ModelHandle:
        """Start serving the model, or find the deployment that exists. Needs `can_deploy`.

        Returns the handle as it is then: `callable_now`, or `is_starting` while the deployment is
        on its way. It bills until `undeploy`. `options` are the provider's own. Raises
        `Unsupported` for an unknown option; errors have `submitted` as those of `submit`.
        """
        raise self.cannot("deploy a model")

    def undeploy(self, handle: ModelHandle) -> ModelHandle:
        """Stop serving the model and return the handle as it is then. Needs `can_deploy`.

        Billing ends with it. Raises `NotFound` where the provider does not know the model.
        """
        raise self.cannot("undeploy a model")

    def deployment_usd_per_hour(self, handle: ModelHandle, **options: Any) -> Decimal | None:
        """Return the most that `deploy` with these options costs per hour, in US dollars.

        All replicas together; None where it is not known. Only reads.
        """
        return handle.running_cost.hosting_usd_per_hour

    # --- the account ---

    def account(self) -> str | None:
        """Return the account that calls are made for now, as `ftsdk.types.account` describes it.

        None where a provider has only one, such as this machine. The key is read, and nothing is
        sent. Raises `ConfigError` where there is no key.
        """
        return None if self.context.account is None else named_account(self.context.account)

    def require_account(self, account: str | None = None) -> None:
        """Raise `WrongAccount` where calls would be made for none of `context.accounts`.

        A backend with accounts calls it before each request, with the account of the key that it
        read for this request.
        """
        found = self.account() if account is None else account
        refuse_other_account(found, self.context.accounts, provider=self.name)

    def account_models(self) -> Mapping[str, str | None]:
        """Return the account's fine-tunes: model id to base model. Needs `lists_models`.

        The base is None where the provider does not name it.
        """
        raise self.cannot("list the models of an account")

    def model_ends(self) -> Mapping[str, dt.date]:
        """Return the day on which each model shuts down: model id to day. Needs
        `reports_model_ends`.

        Models without such a day are left out.
        """
        raise self.cannot("report when models end")

    def read_file(self, file_id: str) -> Iterator[bytes]:
        """Yield the content of a file of the account, in blocks. Needs `can_read_files`.

        Raises `NotFound` for a file that was deleted or may not be read.
        """
        raise self.cannot("read a file of the account")

    def job_files(self, job: RemoteJob) -> Mapping[str, FileRole]:
        """Return the files that a job names: file id to `training`, `validation` or `result`.

        Read from `job`, without a request. Needs `can_read_files`.
        """
        raise self.cannot("name the files of a job")

    def stored_chats(
        self,
        *,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredChat]:
        """Yield the chat completions that the account stored, newest first. Needs
        `has_stored_chats`.

        With `model` or `metadata`, only those of that model, or with these entries.
        """
        raise self.cannot("read stored chats")

    def close(self) -> None:  # noqa: B027  # without connections there is nothing to do
        """Close connections; the next call opens them again."""

    # --- for derived classes ---

    def implements(self, method: str) -> bool:
        """Return True when this backend has its own `method`, such as `deploy`."""
        return getattr(type(self), method) is not getattr(Backend, method)

    def cannot(self, what: str) -> Unsupported:
        """Return the error for a method that this provider does not have."""
        hint = "`ftsdk backends` shows which provider can"
        return Unsupported(f"{self.name} cannot {what}", where=f"backend {self.name}", hint=hint)

    def not_ready(self, status: object, job_id: str | None = None) -> NotReady:
        """Return the error for a result that does not exist yet."""
        what = f"The job has no result yet: it is {status}"
        hint = "wait for it: `ftsdk watch`, or job.wait()"
        return NotReady(what, where=self.name, hint=hint, job_id=job_id)
