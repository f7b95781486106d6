"""`FineTuneJob`: one job, wherever it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ftsdk.backends.base import Backend
from ftsdk.deployments.deploy import deploy, undeploy
from ftsdk.deployments.wait import until_callable
from ftsdk.errors import JobCancelled, JobFailed, NotReady
from ftsdk.jobs import actions
from ftsdk.jobs.follow import follow, why_at_rest
from ftsdk.jobs.html import job_card
from ftsdk.jobs.spending_guard import SpendingGuard, over_cap
from ftsdk.jobs.submit import submitter_for
from ftsdk.session import Session
from ftsdk.types.cost import Cost
from ftsdk.types.events import Checkpoint, Event, MetricPoint, Progress
from ftsdk.types.job import JobSnapshot
from ftsdk.types.model import ModelHandle
from ftsdk.types.status import JobStatus

_log = logging.getLogger("ftsdk")


class FineTuneJob:
    """A handle on one job. It has a snapshot, which `refresh` and the actions replace.

    Reading never spends: only `resume` and `deploy` start what costs.
    """

    def __init__(self, session: Session, snapshot: JobSnapshot) -> None:
        self.session = session
        self._snapshot = snapshot
        self._warned_of_cap = False

    # --- what is known, without asking the provider ---

    @property
    def snapshot(self) -> JobSnapshot:
        """Everything known, as one frozen record."""
        return self._snapshot

    @property
    def id(self) -> str:
        """Our id, for instance `ftj_01KB…`."""
        return self._snapshot.id

    @property
    def name(self) -> str | None:
        """The name given at creation."""
        return self._snapshot.name

    @property
    def provider(self) -> str:
        """The backend's name."""
        return self._snapshot.provider

    @property
    def provider_job_id(self) -> str | None:
        """The provider's id; None until it accepted the job."""
        return self._snapshot.provider_job_id

    @property
    def model(self) -> str:
        """The base model, as asked."""
        return self._snapshot.model

    @property
    def status(self) -> JobStatus:
        """The status at the last refresh."""
        return self._snapshot.status

    @property
    def raw_status(self) -> str:
        """The provider's own status."""
        return self._snapshot.raw_status

    @property
    def progress(self) -> Progress | None:
        """How far training was at the last refresh."""
        return self._snapshot.progress

    @property
    def cost(self) -> Cost:
        """What is known of the cost, with its basis."""
        return self._snapshot.cost

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags given at creation."""
        return self._snapshot.tags

    @property
    def is_final(self) -> bool:
        """True when it has ended."""
        return self.status.is_final

    @property
    def needs_decision(self) -> bool:
        """True when the job is in doubt and looking longer is not expected to find it.

        `Client.resolve` decides it. Looking again (`Client.reconcile`) does no harm.
        """
        if self.status is not JobStatus.IN_DOUBT:
            return False
        return submitter_for(self.session).is_past_horizon(self._snapshot)

    # --- asking ---

    def refresh(self) -> FineTuneJob:
        """Ask the provider, keep the answer in the journal, and return this handle.

        This only reads. A job that is billed by the hour and runs on over its cap gives one warning
        in the log; `wait`, `ftsdk watch` and the next command cancel it. Raises a `BackendError`
        when the provider could not be asked; the snapshot then stays as it was.
        """
        self._snapshot = actions.refresh(self.session, self._snapshot)
        self._warn_of_cap()
        return self

    def _warn_of_cap(self) -> None:
        warning = None if self._warned_of_cap else over_cap(self.session, self._snapshot)
        if warning is not None:
            _log.warning(warning)
            self._warned_of_cap = True

    def wait(
        self,
        timeout: float | None = None,
        on_event: Callable[[Event], object] | None = None,
    ) -> FineTuneJob:
        """Wait until the job ends and return this handle; `timeout` in seconds.

        Raises `WaitTimeout` (the job goes on), `NeedsDecision` when it cannot go on until someone
        decides, and a `BackendError` when the provider cannot be reached for minutes. A failed
        job does not raise here; `result()` does.
        """
        for event in self.stream(timeout=timeout, events=on_event is not None):
            if on_event is not None:
                on_event(event)
        return self

    def stream(self, *, timeout: float | None = None, events: bool = True) -> Iterator[Event]:
        """The job's events from its beginning, as they come, until it ends. Raises like `wait`."""

        def keep(snapshot: JobSnapshot) -> None:
            self._snapshot = snapshot

        yield from follow(
            self.session,
            self._snapshot,
            timeout=timeout,
            events=events,
            on_snapshot=keep,
            between_polls=SpendingGuard(self.session, [self.id]).events,
        )
        if not self.is_final:
            raise why_at_rest(self._snapshot)

    def events(self, *, after: int = 0) -> list[Event]:
        """Everything that happened so far, oldest first. Raises `Unsupported` where there are none."""
        backend, identity = self._at_provider()
        first = self._snapshot.first_provider_id or identity
        return [] if first is None else backend.events(first, after=after)

    def metrics(self) -> list[MetricPoint]:
        """The curve so far. Raises `Unsupported` where there is none."""
        backend, identity = self._at_provider()
        return [] if identity is None else backend.metrics(identity)

    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints, oldest first. Raises `Unsupported` where there are none."""
        backend, identity = self._at_provider()
        return [] if identity is None else backend.checkpoints(identity)

    def logs(self, *, tail: int | None = None) -> list[str]:
        """The log's lines; the last `tail` if given. Raises `Unsupported` where there is none."""
        backend, identity = self._at_provider()
        first = self._snapshot.first_provider_id or identity
        return [] if first is None else backend.logs(first, tail=tail)

    def _at_provider(self) -> tuple[Backend, str | None]:
        """The backend, and the job's id there; the job is refreshed once while it has none."""
        if self.provider_job_id is None:
            self.refresh()
        return self.session.backend_for(self._snapshot), self.provider_job_id

    # --- acting ---

    def cancel(self) -> FineTuneJob:
        """Ask the job to stop, and return this handle. It has stopped once `status` is `cancelled`.

        A job that was never sent is cancelled at once; one that has ended is unchanged.
        """
        self._snapshot = actions.cancel(self.session, self._snapshot)
        return self

    def pause(self) -> FineTuneJob:
        """Ask the job to pause, and return this handle; `resume` continues it.

        A job that has ended is unchanged. Raises `Unsupported` where the backend cannot.
        """
        self._snapshot = actions.pause(self.session, self._snapshot)
        return self

    def delete(self) -> FineTuneJob:
        """Delete what the job left at its provider, for good. The journal keeps the job.

        Raises `UsageError` for a job that has not ended, `Unsupported` where the backend cannot.
        """
        self._snapshot = actions.delete(self.session, self._snapshot)
        return self

    def resume(self) -> FineTuneJob:
        """Resume a paused, interrupted, failed or cancelled job, where the backend can.

        Raises `Unsupported` elsewhere.
        """
        self._snapshot = actions.resume(self.session, self._snapshot)
        return self

    # --- the result ---

    def result(self) -> ModelHandle:
        """The model this job made.

        Raises `JobFailed`, `JobCancelled`, or `NotReady` while it has not ended.
        """
        if not self.is_final:
            self.refresh()
        snapshot = self._snapshot
        if snapshot.status is JobStatus.FAILED:
            raise self._failed()
        if snapshot.status is JobStatus.CANCELLED:
            goes_on = self.session.backend_for(snapshot).capabilities.resumes_ended
            raise JobCancelled(
                "The job was cancelled, so there is no result",
                where=f"provider {snapshot.provider}",
                hint=f"ftsdk resume {self.id}, or create it again"
                if goes_on
                else "create it again",
                job_id=self.id,
            )
        if snapshot.status is not JobStatus.SUCCEEDED or snapshot.provider_job_id is None:
            raise NotReady(
                f"The job has no result yet: it is {snapshot.status.replace('_', ' ')}",
                where=f"provider {snapshot.provider}",
                hint=f"ftsdk watch {self.id}, or job.wait()",
                job_id=self.id,
            )
        return self.session.backend_for(snapshot).model(snapshot.provider_job_id).owned_by(self)

    def deploy(
        self, *, hours: float | None = None, options: Mapping[str, Any] | None = None
    ) -> ModelHandle:
        """Deploy the model for `hours` (2, or `lease_hours` of the budget), and return its handle.

        This costs by the hour until the lease ends: the next command or watcher after that ends
        the deployment, and so does `undeploy`. `options` are for this provider alone. Deploying again
        extends the lease. Raises `BudgetError`, `Unsupported`, `NotReady`, or a refusal.
        """
        return deploy(self.session, self.id, hours=hours, options=options)[0].owned_by(self)

    def callable_result(self, timeout: float | None = None) -> ModelHandle:
        """The model once a call would be answered: waits for a deployment that is starting.

        `timeout` in seconds. Raises `WaitTimeout` (the deployment goes on, and costs), `NotReady`
        where no deployment is starting, and what `result` raises.
        """
        return until_callable(self.result, self.session.clock, timeout)

    def undeploy(self) -> FineTuneJob:
        """End the deployment of the model now, and return this handle; it costs nothing more."""
        undeploy(self.session, self.id)
        return self

    def _failed(self) -> JobFailed:
        snapshot = self._snapshot
        error = dict(snapshot.error or {})
        message = snapshot.message or error.get("message") or "the provider gave no reason"
        return JobFailed(
            f"The job failed: {message}",
            where=f"provider {snapshot.provider}"
            + (f", its job {snapshot.provider_job_id}" if snapshot.provider_job_id else ""),
            hint=str(error.get("hint") or f"ftsdk logs {self.id} shows its last lines"),
            job_id=self.id,
            log_tail=tuple(error.get("log_tail", ())),
        )

    # --- display ---

    def __repr__(self) -> str:
        return f"<FineTuneJob {self.id} {self.status} on {self.provider}>"

    def _repr_html_(self) -> str:
        """A small card with the loss curve, for notebooks; asks the provider for metrics."""
        backend = self.session.backend_for(self._snapshot)
        points = (
            backend.metrics(self.provider_job_id)
            if backend.capabilities.has_metrics and self.provider_job_id
            else []
        )
        return job_card(self._snapshot, points)
