"""`Client`: every operation of the package, written once."""

from __future__ import annotations

import datetime as dt
import functools
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

from ftsdk.backends.base import Backend, Context
from ftsdk.backends.registry import load_backend
from ftsdk.budget import require_spending
from ftsdk.clock import Clock, SystemClock
from ftsdk.config import Config, Environment, default_home, load_config
from ftsdk.dataset import Dataset, DatasetReport, validate
from ftsdk.errors import (
    BudgetError,
    ConfigError,
    DatasetError,
    JournalLocked,
    Unsupported,
    UsageError,
)
from ftsdk.ids import client_token, new_job_id, submission_tag
from ftsdk.job import FineTuneJob
from ftsdk.records import Cost, JobSnapshot, JobStatus, Plan, RemoteJob
from ftsdk.spec import Hyperparameters, JobSpec, LoRA, Method
from ftsdk.store import Journal
from ftsdk.submission import Horizon, Submitter, applied

__all__ = ["Client", "Rows"]

Rows = str | Path | Dataset | Iterable[Mapping[str, Any]]
"""Where rows come from: a path, a `Dataset`, a list of rows, or any iterable of rows."""

_DEFAULT: Literal["default"] = "default"
_AdapterArgument = LoRA | Mapping[str, Any] | Literal["default"] | None


@dataclass(frozen=True)
class PreparedJob:
    """A job that is checked and planned, and not sent."""

    spec: JobSpec
    train: Dataset
    validation: Dataset | None
    report: DatasetReport
    plan: Plan

    @property
    def fingerprint(self) -> str:
        """What makes two jobs the same: see `JobSpec.fingerprint`."""
        check = None if self.validation is None else self.validation.sha256
        return self.spec.fingerprint(self.train.sha256, check)


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
        adapter: _AdapterArgument = _DEFAULT,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        name: str | None = None,
        seed: int = 0,
        tags: Mapping[str, str] | None = None,
        max_cost: Decimal | str | int | None = None,
        key: str | None = None,
        provider_options: Mapping[str, Any] | None = None,
        allow_findings: bool | Collection[str] = False,
    ) -> FineTuneJob:
        """Check the data, plan, and submit one job, exactly once.

        `validation` is rows, or a fraction such as `0.1` to set aside. `adapter=None` is full
        fine-tuning. `max_cost` is in US dollars. With `key`, calling again returns the same job.
        Rows with secrets or personal data (FT4xx) leave this machine only when `allow_findings`
        acknowledges them: True, or the codes that are meant; the journal keeps that with the job.

        Raises, before anything is sent: `ConfigError`, `SpecError`, `Unsupported`, `DatasetError`
        (with the whole report), `BudgetError`. From sending: a `BackendError` or `NeedsDecision`
        with `job_id` and `submitted`.
        """
        _check_key(key)
        prepared = self._prepare(
            dataset,
            validation,
            bring=True,
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
        return self._submit(prepared, key, allow_findings)

    def plan(
        self,
        dataset: Rows,
        *,
        model: str | None = None,
        provider: str | None = None,
        validation: Rows | float | None = None,
        method: Method | None = None,
        adapter: _AdapterArgument = _DEFAULT,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        name: str | None = None,
        seed: int = 0,
        tags: Mapping[str, str] | None = None,
        max_cost: Decimal | str | int | None = None,
        provider_options: Mapping[str, Any] | None = None,
    ) -> Plan:
        """What `create_job` with these arguments would send, and what it may cost. Sends nothing."""
        return self._prepare(
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
        adapter: _AdapterArgument = _DEFAULT,
        epochs: float | None = None,
    ) -> Cost:
        """What training on these rows would cost, as a range with its assumptions. Sends nothing.

        Rows with faults are counted as they are. A price that nobody knows is `unknown`, not an
        error; `ftsdk estimate --compare` shows several places at once.
        """
        from ftsdk.estimates import estimate

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
        wanted = None if status is None else _statuses(status)
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
        from ftsdk.money import taken_in

        known = self.journal.find_provider_job(provider, provider_job_id)
        if known is not None:
            return FineTuneJob(self, known)
        remote = self.backend(provider).get(provider_job_id)
        known = self.journal.find_provider_job(provider, remote.provider_job_id)
        if known is not None:
            return FineTuneJob(self, known)  # an earlier id of a job that was restarted
        ours = self.journal.find_tag(remote.tag) if remote.tag else None
        if ours is not None and not ours.status.is_remote:
            # It is the one whose answer was lost: it carries our mark.
            return self.resolve(ours.id, adopt=remote.provider_job_id)
        now = self.clock.now()
        job_id = new_job_id(now)
        snapshot = JobSnapshot(
            id=job_id,
            provider=provider,
            status=remote.status,
            raw_status=remote.raw_status,
            model=remote.model or "unknown",
            tag=remote.tag if remote.tag and ours is None else submission_tag(job_id),
            client_token=client_token(),
            fingerprint="adopted",
            profile=self.config.profile,
            dataset=self._address(provider),
            created_at=remote.created_at or now,
            updated_at=now,
        )
        snapshot = snapshot.model_copy(update=applied(snapshot, remote))
        self.journal.add(snapshot, taken_in(self, snapshot))
        return FineTuneJob(self, snapshot)

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

        Raises `UsageError` unless exactly one decision is given and there is something to decide.
        """
        full = self.journal.get(job_id).id
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
        from ftsdk.estimates import billed, counts_for_bill

        chosen = self.config.setting("provider", provider)
        base = self.config.setting("model", model)
        how = self.config.setting("method", method)
        target = None if chosen is None else str(chosen.value)
        wanted = "sft" if how is None else str(how.value)
        report = validate(
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

    # --- creating, in two steps: what was planned is what is sent ---

    def _prepare(
        self, dataset: Rows, validation: Rows | float | None, *, bring: bool = False, **asked: Any
    ) -> PreparedJob:
        """Read, check and plan; the rows are read once. Sends nothing.

        With `bring`, for a create, a base model that may be fetched is fetched first.
        """
        from ftsdk.estimates import counted
        from ftsdk.money import budgeted, checked

        spec = self._spec(**asked)
        backend = self.backend(spec.provider)
        backend.check(spec)
        if bring:
            backend.bring(spec)
        train, check, report = self._rows(dataset, validation, spec)
        plan = counted(backend.plan(spec, train), report, backend.speed_of(spec))
        plan = budgeted(self, checked(self, plan, spec), spec)
        _within_budget(plan, spec)
        return PreparedJob(spec, train, check, report, plan)

    def _submit(
        self,
        prepared: PreparedJob,
        key: str | None,
        allow_findings: bool | Collection[str] = False,
        agreed: Decimal | None = None,
    ) -> FineTuneJob:
        """Journal and send what was prepared; `agreed` is what a person said yes to, in dollars."""
        from ftsdk.money import hold

        spec = prepared.spec
        allowed = self._acknowledged(prepared, allow_findings)
        snapshot = self._submitter(agreed).create(
            spec,
            prepared.train,
            prepared.validation,
            key=key,
            profile=self.config.profile,
            facts={
                "notices": len(prepared.report.notices),
                **allowed,
                **self._address(spec.provider),
            },
            also=hold(self, prepared.plan, spec),
        )
        return FineTuneJob(self, snapshot)

    def _acknowledged(
        self, prepared: PreparedJob, allow_findings: bool | Collection[str]
    ) -> dict[str, Any]:
        """What the journal keeps of acknowledged findings; `DatasetError` when some are open.

        A backend that needs no key keeps the rows on this machine: nothing to acknowledge there.
        """
        report = prepared.report
        if (
            not report.findings
            or not self.backend(prepared.spec.provider).capabilities.key_variables
        ):
            return {}
        still_open = report.open_findings(allow_findings)
        if still_open:
            told = ", ".join(f"{count:,} × {code}" for code, count in still_open.items())
            codes = " ".join(f"--allow-findings {code}" for code in still_open)
            raise DatasetError(
                f"The rows hold what looks like secrets or personal data ({told})",
                where=prepared.train.name,
                mend=f"remove them; or acknowledge them: allow_findings={list(still_open)} ({codes})",
                report=report,
                submitted="no",
            )
        return {"findings_allowed": report.open_findings()}

    def _twin(self, prepared: PreparedJob, within: dt.timedelta) -> JobSnapshot | None:
        """A job made not long ago that trains the very same thing in the same place."""
        return self.journal.twin(prepared.fingerprint, self.clock.now() - within)

    # --- for jobs and the watcher ---

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
        from ftsdk.money import quoted

        judge = functools.partial(quoted, self, agreed=agreed)
        return Submitter(
            self.journal, self.home, self.clock, self._backend_for, self._horizon, judge
        )

    def _refresh(self, snapshot: JobSnapshot) -> JobSnapshot:
        return self._refresh_many([snapshot])[0]

    def _refresh_many(self, snapshots: Sequence[JobSnapshot]) -> list[JobSnapshot]:
        """The newest of each: asked where that can tell something new, else read from the journal."""
        now: dict[str, JobSnapshot] = {s.id: self.journal.get(s.id) for s in snapshots}
        by_backend: dict[Backend, list[JobSnapshot]] = {}
        for current in now.values():
            if current.status.is_final:
                continue
            if not current.status.is_remote:
                now[current.id] = self._carry_on(current)
            elif current.provider_job_id is not None:
                by_backend.setdefault(self._backend_for(current), []).append(current)
        for backend, group in by_backend.items():
            known = {str(s.provider_job_id): s for s in group}
            for remote in backend.get_many(list(known)):
                asked = (remote.provider_job_id, *remote.earlier_ids)
                old = next(known[one] for one in asked if one in known)
                now[old.id] = self._keep(old, self._followed(old, remote))
        return [now[s.id] for s in snapshots]

    def _followed(self, old: JobSnapshot, remote: RemoteJob) -> dict[str, Any]:
        """What the answer changes; the id of a restarted job, unless another job here has it."""
        fields = applied(old, remote)
        if remote.provider_job_id != old.provider_job_id:
            other = self.journal.find_provider_job(old.provider, remote.provider_job_id)
            if other is not None and other.id != old.id:
                del fields["provider_job_id"], fields["earlier_ids"]
        return fields

    def _carry_on(self, snapshot: JobSnapshot) -> JobSnapshot:
        """Look once for a job in doubt; one that was never sent stays as it is."""
        submitter = self._submitter()
        current = submitter.carry_on(snapshot.id)
        if current.status is JobStatus.IN_DOUBT and submitter.is_past_horizon(current):
            raise submitter.needs_decision(current)
        return current

    def _keep(self, old: JobSnapshot, fields: dict[str, Any]) -> JobSnapshot:
        """Write what changed; a mere step forward needs no durable write, and a busy journal no error."""
        new = old.model_copy(update=fields)
        quiet = {"progress", "updated_at", "trained_tokens", "message"}
        if new.model_dump(exclude=quiet) == old.model_dump(exclude=quiet):
            return new
        try:
            return self.journal.change(old.id, now=self.clock.now(), why="refreshed", **fields)
        except JournalLocked:
            return new  # only a copy of what the provider knows; the next refresh writes it

    def _cancel(self, snapshot: JobSnapshot) -> JobSnapshot:
        current = self.journal.get(snapshot.id)
        if current.status is JobStatus.CREATED:
            return self.journal.change(
                current.id,
                now=self.clock.now(),
                why="cancelled before it was sent",
                only_from=frozenset({JobStatus.CREATED}),
                status=JobStatus.CANCELLED,
                message="cancelled before it was sent",
                finished_at=self.clock.now(),
            )
        if not current.status.is_remote:
            current = self._carry_on(current)
        if current.status.is_final or current.provider_job_id is None:
            return current
        backend = self._backend_for(current)
        if not backend.capabilities.can_cancel:
            raise backend.cannot("cancel a job")
        backend.cancel(current.provider_job_id)
        return self._refresh(current)

    def _pause(self, snapshot: JobSnapshot) -> JobSnapshot:
        current = self._refresh(snapshot)
        backend = self._backend_for(current)
        if not backend.capabilities.can_pause:
            raise backend.cannot("pause a job")
        if current.status.is_final or current.provider_job_id is None:
            return current
        backend.pause(current.provider_job_id)
        return self._refresh(current)

    def _delete(self, snapshot: JobSnapshot) -> JobSnapshot:
        current = self._refresh(snapshot)
        backend = self._backend_for(current)
        if not backend.capabilities.can_delete:
            raise backend.cannot("delete a result")
        if not current.status.is_final or current.provider_job_id is None:
            raise UsageError(
                f"The job is {current.status}; there is no result to delete",
                where=f"job {current.id}",
                mend=f"ftsdk cancel {current.id} ends it first",
            )
        backend.delete(current.provider_job_id)
        return current

    def _resume(self, snapshot: JobSnapshot) -> JobSnapshot:
        current = self._refresh(snapshot)
        backend = self._backend_for(current)
        if not backend.capabilities.can_resume or current.provider_job_id is None:
            raise backend.cannot("resume a job")
        free = backend.capabilities.price == "free"
        require_spending("resuming a job", current.provider, free=free, env=self.env)
        if current.status not in (JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED):
            raise UsageError(
                f"The job is {current.status}; there is nothing to resume",
                where=f"job {current.id}",
                mend=f"ftsdk show {current.id}",
            )
        remote = backend.resume(current.provider_job_id)
        fields = {**applied(current, remote), "finished_at": None}
        self.journal.change(
            current.id,
            now=self.clock.now(),
            why="resumed",
            **{**fields, "status": JobStatus.QUEUED},
        )
        return self.journal.change(current.id, now=self.clock.now(), why="resumed", **fields)

    # --- arguments ---

    def _spec(self, **given: Any) -> JobSpec:
        config = self.config
        adapter = given["adapter"]
        if adapter == _DEFAULT:
            table = config.table("adapter")
            adapter = table or LoRA()
        hyperparameters = given["hyperparameters"]
        if hyperparameters is None:
            hyperparameters = config.table("hyperparameters")
        elif isinstance(hyperparameters, Hyperparameters):
            hyperparameters = {**config.table("hyperparameters"), **hyperparameters.given()}
        else:
            hyperparameters = {**config.table("hyperparameters"), **hyperparameters}
        method = config.setting("method", given["method"])
        limit = config.setting("max_cost", given["max_cost"])
        return JobSpec.build(
            provider=config.require("provider", given["provider"]).value,
            model=config.require("model", given["model"]).value,
            method="sft" if method is None else method.value,
            adapter=adapter,
            hyperparameters=hyperparameters,
            name=given["name"],
            seed=given["seed"],
            tags={**config.table("tags"), **(given["tags"] or {})},
            max_cost=None if limit is None else limit.value,
            provider_options={
                **config.table("provider_options"),
                **(given["provider_options"] or {}),
            },
        )

    def _rows(
        self, dataset: Rows, validation: Rows | float | None, spec: JobSpec
    ) -> tuple[Dataset, Dataset | None, DatasetReport]:
        """Load and check all rows; raises `DatasetError` with every fault of both files."""
        backend = self.backend(spec.provider)
        able = backend.capabilities
        train = Dataset.load(dataset)
        check: Dataset | None = None
        if isinstance(validation, bool):
            raise UsageError("validation is rows or a fraction, not true or false")
        if isinstance(validation, int | float):
            if not 0 < validation < 1:
                raise UsageError(
                    f"validation={validation} is not a fraction between 0 and 1",
                    where="the job's arguments",
                    mend="for instance validation=0.1, or a path",
                )
        elif validation is not None:
            check = Dataset.load(validation)
        if validation is not None and not able.takes_validation:
            raise Unsupported(
                f"{spec.provider} takes no validation rows",
                where=f"backend {spec.provider}",
                mend="leave validation out",
                submitted="no",
            )
        report = validate(
            train,
            provider=spec.provider,
            model=spec.model,
            method=spec.method,
            validation=check,
            capabilities=able,
            tokenizer=backend.tokenizer_for(spec),
            max_length=backend.max_length_for(spec),
        )
        if not report.ok:
            first = report.error()
            raise DatasetError(
                first.what,
                where=first.where,
                mend=f"{first.mend}; the report names every row",
                report=report,
                submitted="no",
            )
        if isinstance(validation, float | int):
            whole = train.name
            train, check = train.split(float(validation), seed=spec.seed)
            train.name = whole  # the job is of this data; what is held out stands beside it
        return train, check, report


def _is(setting: Any, name: str) -> bool:
    return setting is not None and setting.value == name


def _check_key(key: str | None) -> None:
    if key is not None and not (0 < len(key) <= 255 and key.isprintable()):
        raise UsageError(
            "A key is 1 to 255 printable characters",
            where="the argument key=",
            mend="for instance key='nightly-2026-11-25'",
        )


def _within_budget(plan: Plan, spec: JobSpec) -> None:
    limit = spec.max_cost
    if limit is None:
        return
    high = plan.cost.high
    if high is None:
        raise BudgetError(
            f"max_cost is ${limit}, and what {spec.provider} would charge is not known",
            where=f"{spec.provider}, {spec.model}",
            mend="leave max_cost out to accept an unknown price, or choose a model with a known one",
            submitted="no",
        )
    if high > limit:
        raise BudgetError(
            f"The job may cost {plan.cost}, over the limit of ${limit}",
            where=f"{spec.provider}, {spec.model}; {plan.cost.source}",
            mend="fewer rows or epochs, a cheaper model, or a higher max_cost",
            submitted="no",
        )


def _statuses(value: JobStatus | str | Iterable[JobStatus | str]) -> frozenset[JobStatus]:
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


def _has_tag(snapshot: JobSnapshot, tag: str | tuple[str, str]) -> bool:
    name, _, value = tag.partition("=") if isinstance(tag, str) else (tag[0], "=", tag[1])
    return name in snapshot.tags and (not value or snapshot.tags[name] == value)
