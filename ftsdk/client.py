"""`Client`: the synchronous API, with one method for each operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from ftsdk.backends.base import Backend
from ftsdk.backends.upload_progress import on_upload
from ftsdk.evaluation.arguments import (
    EVALUATION_CHECKS,
    EVALUATION_DEFAULTS,
    EvaluationArguments,
)
from ftsdk.jobs.adopt import adopt
from ftsdk.jobs.html import JobList
from ftsdk.jobs.job import FineTuneJob
from ftsdk.jobs.reconcile import reconcile, resolve
from ftsdk.jobs.search import TAG, Tag, find_jobs
from ftsdk.jobs.submit import check_key, submit
from ftsdk.migration.arguments import (
    CAPTURE_CHECKS,
    CAPTURE_DEFAULTS,
    MIGRATION_CHECKS,
    MIGRATION_DEFAULTS,
    CaptureArguments,
    MigrationArguments,
)
from ftsdk.planning.arguments import (
    CHECKS,
    DEFAULTS,
    CreateOptions,
    EstimateOptions,
    InspectOptions,
    JobOptions,
    Rows,
    ValidateOptions,
)
from ftsdk.planning.estimate import estimate
from ftsdk.planning.prepare import prepare
from ftsdk.planning.report import inspection_of, report_for
from ftsdk.session import SESSION_CHECKS, Session, SessionOptions
from ftsdk.store.journal import Journal
from ftsdk.types.cost import Cost
from ftsdk.types.plan import Plan
from ftsdk.types.status import JobStatus
from ftsdk.util.arguments import COUNT, FLAG, TEXT, checked
from ftsdk.util.options import accepts_options

if TYPE_CHECKING:
    from ftsdk.dataset import DatasetReport, InspectionReport
    from ftsdk.evaluation.report import EvaluationReport
    from ftsdk.types.capture import Capture
    from ftsdk.types.inventory import Inventory
    from ftsdk.types.migration import Migration
    from ftsdk.types.model import ModelHandle

__all__ = ["Client"]


class Client:
    """A client for all providers, with one configuration and one journal.

    `profile` selects a profile of `ftsdk.toml`. `home` is the folder of the journal (default
    `FTSDK_HOME`, else the platform's data folder). `backends` replaces installed backends by name,
    for instance in tests: each value is a backend, or a callable that creates one from its context.
    Creating a client only reads the configuration: no network, no provider SDK. Safe to use from
    several threads.
    """

    @checked(profile=TEXT)
    @accepts_options(SessionOptions, checks=SESSION_CHECKS)
    def __init__(self, profile: str | None = None, **options: Unpack[SessionOptions]) -> None:
        self.session = Session(profile, **options)
        self.config, self.env = self.session.config, self.session.env
        self.home, self.clock = self.session.home, self.session.clock

    # --- jobs ---

    @accepts_options(CreateOptions, DEFAULTS, CHECKS)
    def create_job(self, dataset: Rows, **options: Unpack[CreateOptions]) -> FineTuneJob:
        """Check the data, plan the job, and submit it exactly once.

        `validation` is rows, or a fraction such as `0.1` to hold out. `adapter=None` is full
        fine-tuning. `max_cost` is in US dollars. With `key`, calling again returns the same job.
        Without a key, a job that may cost something is not created twice by accident: if you created
        the same job (rows, settings, account) in the last ten minutes, or its outcome is still unknown,
        you get that one and a warning. Failed and cancelled jobs do not count. `again=True` creates
        another one.
        Rows with secrets or personal data (FT4xx) leave this machine only when `allow_findings`
        acknowledges them: True, or a list of codes; the journal records this with the job.
        `on_upload` is called with the bytes sent so far and the total, while rows are uploaded.

        When the provider answers that there are too many requests (HTTP 429), the call waits as long
        as the provider asks, up to five minutes, and tries again where the refused request is known to
        have created nothing.

        Before anything is sent, raises `ConfigError`, `SpecError`, `Unsupported`, `DatasetError`
        (with the whole report) or `BudgetError`. While sending, raises a `BackendError` or
        `NeedsDecision` with `job_id` and `submitted`.
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
                again=options.get("again", False),
            )
        return FineTuneJob(self.session, snapshot)

    @accepts_options(JobOptions, DEFAULTS, CHECKS)
    def plan(self, dataset: Rows, **options: Unpack[JobOptions]) -> Plan:
        """Return what `create_job` would send, and what it may cost. Sends nothing.

        Raises what `create_job` raises before anything is sent.
        """
        return prepare(self.session, dataset, options).plan

    @accepts_options(EstimateOptions, DEFAULTS, CHECKS)
    def estimate(self, dataset: Rows, **options: Unpack[EstimateOptions]) -> Cost:
        """Estimate the cost of training on these rows, as a range with assumptions. Sends nothing.

        Faulty rows are counted too. An unknown price has basis `unknown` and is not an error.
        `ftsdk estimate --compare` compares several providers.
        """
        return estimate(self.session, dataset, options)

    @checked(job_id=TEXT)
    def get_job(self, job_id: str) -> FineTuneJob:
        """Return the job with this id, or the only one whose id starts with it, from the journal.

        Raises `UnknownJob`. This sends no request; `refresh` does.
        """
        return FineTuneJob(self.session, self.journal.get(job_id))

    @checked(provider=TEXT, tag=TAG, after=TEXT, limit=COUNT)
    def list_jobs(
        self,
        *,
        status: JobStatus | str | Iterable[JobStatus | str] | None = None,
        provider: str | None = None,
        tag: Tag | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[FineTuneJob]:
        """Return jobs from the journal, newest first.

        `tag` is a name, `name=value`, a pair, or a mapping of names to values that must all fit. For
        the next page give the id of the last job as `after`. Raises `UnknownJob` for another id.
        """
        found = find_jobs(
            self.journal, status=status, provider=provider, tag=tag, after=after, limit=limit
        )
        return JobList(FineTuneJob(self.session, snapshot) for snapshot in found)

    @checked(provider=TEXT, provider_job_id=TEXT)
    def adopt_job(self, provider: str, provider_job_id: str) -> FineTuneJob:
        """Add a job that was created outside of ftsdk to the journal; it is added only once.

        Raises `NotFound` when the provider does not know it.
        """
        return FineTuneJob(self.session, adopt(self.session, provider, provider_job_id))

    @checked(job_id=TEXT)
    def reconcile(self, job_id: str | None = None) -> list[FineTuneJob]:
        """Search for jobs whose create call got no answer: one job, or all of them.

        Returns these jobs as they are now. It only reads at the provider, with one exception: a backend
        that recognises a repeated request, such as `local`, is sent the same request again.
        """
        return [FineTuneJob(self.session, job) for job in reconcile(self.session, job_id)]

    @checked(job_id=TEXT, adopt=TEXT, send_again=FLAG, give_up=FLAG)
    def resolve(
        self,
        job_id: str,
        *,
        adopt: str | None = None,
        send_again: bool = False,
        give_up: bool = False,
    ) -> FineTuneJob:
        """Decide a job in doubt: adopt the provider's id, send again, or give up.

        Sending again counts against the budget of the current month. Raises `UsageError` unless
        exactly one decision is given and the job is undecided.
        """
        snapshot = resolve(
            self.session, job_id, adopt=adopt, send_again=send_again, give_up=give_up
        )
        return FineTuneJob(self.session, snapshot)

    def inventory(
        self,
        provider: str,
        folder: str | Path | None = None,
        *,
        on_progress: Callable[[str], None] | None = None,
    ) -> Inventory:
        """Fetch an account's jobs, models and files into a bundle, and add its jobs to the journal.

        Use it before a provider closes. `folder` is where the bundle is written, by default in
        `FTSDK_HOME`; it holds your training data, readable by you alone. Nothing changes at the
        provider. The result names what could not be fetched; calling again fetches the rest.
        `on_progress` is called with the name of what is read next.

        Raises `Unsupported` for a provider whose files cannot be read.
        """
        from ftsdk.migration.inventory import take_inventory

        return take_inventory(self.session, provider, folder, on_progress=on_progress)

    @accepts_options(CaptureArguments, CAPTURE_DEFAULTS, CAPTURE_CHECKS)
    def capture(
        self,
        model: str | ModelHandle,
        data: Rows | None = None,
        /,
        **options: Unpack[CaptureArguments],
    ) -> Capture:
        """Keep a model's answers to your rows in a sealed bundle, for evaluation after it is gone.

        `model` is a handle, a job's id, or a name at the provider. `data` are rows in any format; their
        last answers are references. Without rows, the validation file of the model's job is used. Rows
        that are in its training file are left out. The bundle holds private data, readable by you
        alone.

        Interrupted anywhere, the same call continues, and no stored answer is asked again. Raises
        `BudgetError` before anything is asked, `UsageError` where there is nothing to ask, and the
        error that every request would get; other errors are counted in the result.
        """
        from ftsdk.migration.capture import capture

        return capture(self.session, model, data, options)

    @accepts_options(MigrationArguments, MIGRATION_DEFAULTS, MIGRATION_CHECKS)
    def migrate(
        self, provider: str, data: Rows | None = None, /, **options: Unpack[MigrationArguments]
    ) -> Migration:
        """Replace the fine-tunes of a provider, and show whether the new models are as good.

        Fetches the account, keeps the old models' answers, trains at the targets in `to`, compares the new
        models and a plain prompt with what was kept, and writes a report. `data` are the rows to compare on;
        without them, the validation file of each old job. The folder of the migration has a receipt for
        each step, and private data that you alone can read.

        Interrupted anywhere, the same call continues: each job is created once, each answer paid once, and
        deployments that were left running are ended first. Raises `BudgetError` before anything is spent,
        and `UsageError` when nothing can be compared, when `rights` does not say where the training answers
        came from, or when you call it with other inputs than before. Also raises what `create_job` raises.
        """
        from ftsdk.migration.migrate import migrate

        return migrate(self.session, provider, data, options)

    @accepts_options(EvaluationArguments, EVALUATION_DEFAULTS, EVALUATION_CHECKS)
    def evaluate(
        self,
        data: Rows,
        /,
        models: Sequence[str | ModelHandle | Any],
        **options: Unpack[EvaluationArguments],
    ) -> EvaluationReport:
        """Ask models the same rows, and compare each with the reference by paired statistics.

        `data` are rows whose last message is the right answer. `models` are handles, job ids, names,
        `base` (the untuned base of the first model that has one), `ftsdk.Prompt`, `ftsdk.Captured`, or
        functions from messages to a text. Rows that a model was trained on are left out.

        Every answer is stored before the next is asked: interrupted, the same call continues, and a
        second evaluation of the same rows is free. Raises `BudgetError` before anything is asked, and
        `UsageError` for fewer than ten rows. A request that fails does not raise: it is counted as an
        error of its model. With more than 1 % of errors on one side, the report gives no verdict.
        """
        from ftsdk.evaluation.evaluate import evaluate

        return evaluate(self.session, data, models, options)

    # --- data ---

    @accepts_options(ValidateOptions, checks=CHECKS)
    def validate(self, /, dataset: Rows, **options: Unpack[ValidateOptions]) -> DatasetReport:
        """Return a report of all faults in the data. Sends nothing; faulty rows do not raise.

        For a provider that bills by the token, the report also has the billed tokens.

        `tokenizer` is a model folder or the name of an OpenAI encoding; by default it is chosen by
        `model`. `on_bytes` is called with the number of bytes read. See `ftsdk.dataset.validate`.
        """
        return report_for(self.session, dataset, options)

    @accepts_options(InspectOptions, {"rows": 200}, CHECKS)
    def inspect(self, /, dataset: Rows, **options: Unpack[InspectOptions]) -> InspectionReport:
        """Return the rows as the model sees them: text, tokens, loss mask. Sends nothing.

        Provider and model come from the configuration if not given; the tokenizer is that of the
        model, where it is on this machine. A notebook shows the report as a page;
        `report.to_html()` returns it. See `ftsdk.dataset.inspect`.
        """
        return inspection_of(self.session, dataset, options)

    # --- parts ---

    @property
    def journal(self) -> Journal:
        """The journal, opened at first use."""
        return self.session.journal

    @checked(provider=TEXT, base_url=TEXT)
    def backend(self, provider: str | None = None, *, base_url: str | None = None) -> Backend:
        """Return the backend named `provider`, or the configured one. Raises `UnknownBackend`.

        `base_url` is the address at which a job was created, if it differs from the configured one.
        """
        return self.session.backend(provider, base_url=base_url)

    def close(self) -> None:
        """Close the journal and all connections. Jobs continue; using the client opens them again."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
