"""`Client`: one method for each operation, over one session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self, Unpack

from ftsdk.backends.base import Backend
from ftsdk.backends.upload_progress import on_upload
from ftsdk.jobs.adopt import adopt
from ftsdk.jobs.job import FineTuneJob
from ftsdk.jobs.reconcile import reconcile, resolve
from ftsdk.jobs.search import find_jobs
from ftsdk.jobs.submit import check_key, submit
from ftsdk.planning.arguments import (
    DEFAULTS,
    CreateOptions,
    EstimateOptions,
    JobOptions,
    Rows,
    ValidateOptions,
)
from ftsdk.planning.estimate import estimate
from ftsdk.planning.prepare import prepare
from ftsdk.planning.report import report_for
from ftsdk.session import Session, SessionOptions
from ftsdk.store.journal import Journal
from ftsdk.types.cost import Cost
from ftsdk.types.plan import Plan
from ftsdk.types.status import JobStatus
from ftsdk.util.options import takes

if TYPE_CHECKING:
    from ftsdk.dataset import DatasetReport

__all__ = ["Client"]


class Client:
    """One configuration, one journal, all providers.

    `profile` chooses a profile of `ftsdk.toml`. `home` is where the journal is (`FTSDK_HOME`, else
    the platform's data folder). `backends` puts a backend of your own in the place of an installed
    one, by name: an object, or what makes one from its context; tests use it as they use httpx's
    transports. Making a client reads the configuration and opens nothing: no network, no provider
    SDK. Safe to use from several threads.
    """

    @takes(SessionOptions)
    def __init__(self, profile: str | None = None, **options: Unpack[SessionOptions]) -> None:
        self.session = Session(profile, **options)
        self.config, self.env = self.session.config, self.session.env
        self.home, self.clock = self.session.home, self.session.clock

    # --- jobs ---

    @takes(CreateOptions, DEFAULTS)
    def create_job(self, dataset: Rows, **options: Unpack[CreateOptions]) -> FineTuneJob:
        """Check the data, plan, and submit one job, exactly once.

        `validation` is rows, or a fraction such as `0.1` to hold out. `adapter=None` is full
        fine-tuning. `max_cost` is in US dollars. With `key`, calling again returns the same job.
        Rows with secrets or personal data (FT4xx) leave this machine only when `allow_findings`
        acknowledges them: True, or the codes that are meant; the journal keeps that with the job.
        `on_upload` is called with the bytes sent so far and the total, while rows are uploaded.

        Raises, before anything is sent: `ConfigError`, `SpecError`, `Unsupported`, `DatasetError`
        (with the whole report), `BudgetError`. While sending: a `BackendError` or `NeedsDecision`
        with `job_id` and `submitted`.
        """
        key = options.get("key")
        check_key(key)
        prepared = prepare(self.session, dataset, options, fetch=True)
        with on_upload(options.get("on_upload")):
            snapshot = submit(
                self.session,
                prepared,
                key=key,
                allow_findings=options.get("allow_findings", False),
            )
        return FineTuneJob(self.session, snapshot)

    @takes(JobOptions, DEFAULTS)
    def plan(self, dataset: Rows, **options: Unpack[JobOptions]) -> Plan:
        """What `create_job` with these arguments would send, and what it may cost. Sends nothing.

        Raises what `create_job` raises before anything is sent.
        """
        return prepare(self.session, dataset, options).plan

    @takes(EstimateOptions, DEFAULTS)
    def estimate(self, dataset: Rows, **options: Unpack[EstimateOptions]) -> Cost:
        """What training on these rows would cost, as a range with its assumptions. Sends nothing.

        Rows with faults are counted as they are. An unknown price is `unknown`, not an error;
        `ftsdk estimate --compare` shows several places at once.
        """
        return estimate(self.session, dataset, options)

    def get_job(self, job_id: str) -> FineTuneJob:
        """The job with this id, or the only one whose id begins so, from the journal.

        Raises `UnknownJob`. The provider is not asked; `refresh` does that.
        """
        return FineTuneJob(self.session, self.journal.get(job_id))

    def list_jobs(
        self,
        *,
        status: JobStatus | str | Iterable[JobStatus | str] | None = None,
        provider: str | None = None,
        tag: str | tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> list[FineTuneJob]:
        """Jobs of the journal, newest first. `tag` is a name, `name=value`, or a pair."""
        found = find_jobs(self.journal, status=status, provider=provider, tag=tag, limit=limit)
        return [FineTuneJob(self.session, snapshot) for snapshot in found]

    def adopt_job(self, provider: str, provider_job_id: str) -> FineTuneJob:
        """Add a job that was created elsewhere to the journal; the same job is added once.

        Raises `NotFound` when the provider does not know it.
        """
        return FineTuneJob(self.session, adopt(self.session, provider, provider_job_id))

    def reconcile(self, job_id: str | None = None) -> list[FineTuneJob]:
        """Look for jobs whose create call got no answer: one job, or all of them.

        Returns those that were looked for, as they are now. Nothing that costs is sent, except
        where sending again with the same token is safe.
        """
        return [FineTuneJob(self.session, one) for one in reconcile(self.session, job_id)]

    def resolve(
        self,
        job_id: str,
        *,
        adopt: str | None = None,
        send_again: bool = False,
        give_up: bool = False,
    ) -> FineTuneJob:
        """Decide a job in doubt: adopt the provider's id, send again, or give up.

        Sending again counts against the budget of the month in which that is done. Raises
        `UsageError` unless exactly one decision is given and there is something to decide.
        """
        snapshot = resolve(
            self.session, job_id, adopt=adopt, send_again=send_again, give_up=give_up
        )
        return FineTuneJob(self.session, snapshot)

    # --- data ---

    @takes(ValidateOptions)
    def validate(self, /, dataset: Rows, **options: Unpack[ValidateOptions]) -> DatasetReport:
        """Every fault of the data, with line numbers. Nothing is sent; bad rows do not raise.

        With a provider whose tokens are counted, the report also says what it would bill for.

        `tokenizer` is a model folder or the name of an OpenAI encoding; by default it is chosen by
        `model`. `on_bytes` is called with the number of bytes read. See `ftsdk.dataset.validate`.
        """
        return report_for(self.session, dataset, options)

    # --- parts ---

    @property
    def journal(self) -> Journal:
        """The journal, opened at first use."""
        return self.session.journal

    def backend(self, provider: str | None = None, *, base_url: str | None = None) -> Backend:
        """The backend called `provider`, or the configured one. Raises `UnknownBackend`.

        `base_url` is where a job was made, when that is not where the configuration points now.
        """
        return self.session.backend(provider, base_url=base_url)

    def close(self) -> None:
        """Close the journal and all connections. Jobs go on; both are opened again when used."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
