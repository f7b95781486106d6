"""`Client`: the one way to every operation, with its configuration, its journal and its backends."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import ftsdk.dataset
from ftsdk.backends.base import Backend, Context
from ftsdk.backends.registry import load_backend
from ftsdk.backends.upload_progress import Listener
from ftsdk.backends.upload_progress import on_upload as listening
from ftsdk.config import Config, Environment, default_home, load_config
from ftsdk.errors import ConfigError
from ftsdk.jobs import actions
from ftsdk.jobs.job import FineTuneJob
from ftsdk.jobs.submitter import Horizon, Submitter
from ftsdk.planning.prepare import DEFAULT, AdapterArgument, Rows, check_key, prepare, submit
from ftsdk.store import Journal
from ftsdk.types.cost import Cost
from ftsdk.types.job import JobSnapshot
from ftsdk.types.plan import Plan
from ftsdk.types.spec import Hyperparameters, Method
from ftsdk.types.status import JobStatus, statuses_of
from ftsdk.util.clock import Clock, SystemClock

if TYPE_CHECKING:
    from ftsdk.dataset import DatasetReport

__all__ = ["Client"]


class Client:
    """One configuration, one journal, all providers.

    `profile` chooses a profile of `ftsdk.toml`; `home` is where the journal lives (`FTSDK_HOME`,
    else the platform's data folder). Making a client reads configuration and opens nothing: no
    network, no provider SDK. Safe to use from several threads.
    """

    def __init__(
        self,
        profile: str | None = None,
        *,
        home: str | Path | None = None,
        config: Config | None = None,
        clock: Clock | None = None,
        env: Mapping[str, str] | None = None,
        horizon: Horizon | None = None,
    ) -> None:
        self.env = Environment(os.environ if env is None else env)
        self.config = config or load_config(profile=profile, env=self.env)
        self.home = (
            Path(home).expanduser().absolute() if home is not None else default_home(self.env)
        )
        self.clock = clock or SystemClock()
        self._backends: dict[tuple[str, str | None], Backend] = {}
        self._journal: Journal | None = None
        self._horizon = horizon or Horizon()

    # --- jobs ---

    def create_job(
        self,
        dataset: Rows,
        *,
        model: str | None = None,
        provider: str | None = None,
        validation: Rows | float | None = None,
        method: Method | None = None,
        adapter: AdapterArgument = DEFAULT,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        name: str | None = None,
        seed: int = 0,
        tags: Mapping[str, str] | None = None,
        max_cost: Decimal | str | int | None = None,
        key: str | None = None,
        provider_options: Mapping[str, Any] | None = None,
        allow_findings: bool | Collection[str] = False,
        on_upload: Listener | None = None,
    ) -> FineTuneJob:
        """Check the data, plan, and submit one job, exactly once.

        `validation` is rows, or a fraction such as `0.1` to set aside. `adapter=None` is full
        fine-tuning. `max_cost` is in US dollars. With `key`, calling again returns the same job.
        Rows with secrets or personal data (FT4xx) leave this machine only when `allow_findings`
        acknowledges them: True, or the codes that are meant; the journal keeps that with the job.
        `on_upload` is told the bytes sent so far and all bytes, while rows are uploaded.

        Raises, before anything is sent: `ConfigError`, `SpecError`, `Unsupported`, `DatasetError`
        (with the whole report), `BudgetError`. From sending: a `BackendError` or `NeedsDecision`
        with `job_id` and `submitted`.
        """
        check_key(key)
        prepared = prepare(
            self,
            dataset,
            validation,
            fetch=True,
            model=model,
            provider=provider,
            method=method,
            adapter=adapter,
            hyperparameters=hyperparameters,
            name=name,
            seed=seed,
            tags=tags,
            max_cost=max_cost,
            provider_options=provider_options,
        )
        with listening(on_upload):
            return FineTuneJob(self, submit(self, prepared, key, allow_findings))

    def plan(
        self,
        dataset: Rows,
        *,
        model: str | None = None,
        provider: str | None = None,
        validation: Rows | float | None = None,
        method: Method | None = None,
        adapter: AdapterArgument = DEFAULT,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        name: str | None = None,
        seed: int = 0,
        tags: Mapping[str, str] | None = None,
        max_cost: Decimal | str | int | None = None,
        provider_options: Mapping[str, Any] | None = None,
    ) -> Plan:
        """What `create_job` with these arguments would send, and what it may cost. Sends nothing."""
        return prepare(
            self,
            dataset,
            validation,
            model=model,
            provider=provider,
            method=method,
            adapter=adapter,
            hyperparameters=hyperparameters,
            name=name,
            seed=seed,
            tags=tags,
            max_cost=max_cost,
            provider_options=provider_options,
        ).plan

    def estimate(
        self,
        dataset: Rows,
        *,
        provider: str | None = None,
        model: str | None = None,
        method: Method | None = None,
        adapter: AdapterArgument = DEFAULT,
        epochs: float | None = None,
    ) -> Cost:
        """What training on these rows would cost, as a range with its assumptions. Sends nothing.

        Rows with faults are counted as they are. A price that nobody knows is `unknown`, not an
        error; `ftsdk estimate --compare` shows several places at once.
        """
        from ftsdk.planning.estimate import estimate

        return estimate(
            self,
            dataset,
            provider=provider,
            model=model,
            method=method,
            adapter=adapter,
            epochs=epochs,
        )

    def get_job(self, job_id: str) -> FineTuneJob:
        """The job with this id (or the only one whose id begins so), from the journal.

        Raises `UnknownJob`. It does not ask the provider; `refresh` does.
        """
        return FineTuneJob(self, self.journal.get(job_id))

    def list_jobs(
        self,
        *,
        status: JobStatus | str | Iterable[JobStatus | str] | None = None,
        provider: str | None = None,
        tag: str | tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> list[FineTuneJob]:
        """Jobs of the journal, newest first. `tag` is a name, `name=value`, or a pair."""
        wanted = None if status is None else statuses_of(status)
        found = self.journal.list(
            status=wanted, provider=provider, limit=None if tag is not None else limit
        )
        if tag is not None:
            found = [job for job in found if _has_tag(job, tag)][:limit]
        return [FineTuneJob(self, snapshot) for snapshot in found]

    def adopt_job(self, provider: str, provider_job_id: str) -> FineTuneJob:
        """Take a job that was made elsewhere into the journal; the same job is taken once.

        Raises `NotFound` when the provider does not know it.
        """
        return FineTuneJob(self, actions.adopt(self, provider, provider_job_id))

    def reconcile(self, job_id: str | None = None) -> list[FineTuneJob]:
        """Look for jobs whose create call got no answer; one job, or all of them.

        Returns those looked for, as they stand now. Nothing that costs is sent, but where sending
        again with the same token is safe.
        """
        if job_id is not None:
            targets = [self.journal.get(job_id)]
        else:
            targets = self.journal.list(
                status=frozenset({JobStatus.SUBMITTING, JobStatus.IN_DOUBT})
            )
        submitter = self._submitter()
        return [FineTuneJob(self, submitter.carry_on(one.id)) for one in targets]

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
        full = self.journal.get(job_id).id
        if send_again:
            from ftsdk.spending.reserve import hold_anew

            hold_anew(self, full)
        snapshot = self._submitter().resolve(
            full, adopt=adopt, send_again=send_again, give_up=give_up
        )
        return FineTuneJob(self, snapshot)

    # --- data ---

    def validate(
        self,
        /,
        dataset: Rows,
        *,
        provider: str | None = None,
        model: str | None = None,
        method: Method | None = None,
        validation: Rows | None = None,
        format: str | None = None,  # noqa: A002  # the public word for it
        tokenizer: Any = None,
        tokens: bool | None = None,
        near_duplicates: bool | None = None,
        max_length: int | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> DatasetReport:
        """Every fault of the data, with line numbers. Nothing is sent; bad rows do not raise.

        With a provider whose tokens are counted, the report also says what it would bill for.

        `tokenizer` is a model folder or the name of an OpenAI encoding; without one it is looked
        for by `model`. `on_bytes` is told how many bytes were read. See `ftsdk.dataset.validate`.
        """
        from ftsdk.planning.estimate import billed, counts_for_bill

        chosen = self.config.setting("provider", provider)
        base = self.config.setting("model", model)
        how = self.config.setting("method", method)
        target = None if chosen is None else str(chosen.value)
        wanted = "sft" if how is None else str(how.value)
        report = ftsdk.dataset.validate(
            dataset,
            provider=target,
            model=None if base is None else str(base.value),
            method=wanted,
            validation=validation,
            format=format,
            tokenizer=tokenizer,
            tokens=True if tokens is None and counts_for_bill(target) else tokens,
            near_duplicates=near_duplicates,
            max_length=max_length,
            on_bytes=on_bytes,
        )
        return report if report.tokens is None else billed(self, report, wanted)

    # --- parts ---

    @property
    def journal(self) -> Journal:
        """The journal, opened at first use."""
        if self._journal is None:
            self._journal = Journal(self.home)
        return self._journal

    def backend(self, provider: str | None = None, *, base_url: str | None = None) -> Backend:
        """The backend called `provider`, or the configured one. Raises `UnknownBackend`.

        `base_url` is where a job was made, when that is not where the configuration points now.
        """
        name = str(self.config.require("provider", provider).value)
        configured = self.config.setting("provider")
        if base_url is None:
            base_url = self.config.table_value("base_url") if _is(configured, name) else None
        slot = (name, base_url)
        if slot not in self._backends:
            self._backends[slot] = load_backend(name)(
                Context(
                    home=self.home,
                    clock=self.clock,
                    options=self.config.table("options"),
                    env=self.env,
                    base_url=base_url,
                )
            )
        return self._backends[slot]

    def close(self) -> None:
        """Close the journal and all connections. Jobs go on; both are opened again when used."""
        for backend in self._backends.values():
            backend.close()
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- for the other modules of this floor ---

    def _backend_for(self, snapshot: JobSnapshot) -> Backend:
        """The backend that has the job: at the address where it was made, whatever is configured."""
        made_at = snapshot.dataset.get("base_url")
        if made_at is None:
            return self.backend(snapshot.provider)
        try:
            current = self.backend(snapshot.provider)
        except ConfigError:
            current = None  # the address is not configured any more; the job remembers it
        if current is not None and current.base_url == made_at:
            return current
        return self.backend(snapshot.provider, base_url=str(made_at))

    def _address(self, provider: str) -> dict[str, str]:
        url = self.backend(provider).base_url
        return {} if url is None else {"base_url": url}

    def _submitter(self, agreed: Decimal | None = None) -> Submitter:
        from ftsdk.spending.reserve import quoted

        judge = functools.partial(quoted, self, agreed=agreed)
        return Submitter(
            self.journal, self.home, self.clock, self._backend_for, self._horizon, judge
        )


def _is(setting: Any, name: str) -> bool:
    return setting is not None and setting.value == name


def _has_tag(snapshot: JobSnapshot, tag: str | tuple[str, str]) -> bool:
    name, _, value = tag.partition("=") if isinstance(tag, str) else (tag[0], "=", tag[1])
    return name in snapshot.tags and (not value or snapshot.tags[name] == value)
